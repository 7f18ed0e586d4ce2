"""Estimate of the time and the disk space of a run, compared with a run that was measured."""

from pathlib import Path

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.io.dataset import Case, Cohort, discover_cohort
from heartmend.pipelines.config import load_config
from heartmend.pipelines.estimate import RUN_BYTES, run_bytes, run_seconds
from support.cohorts import write_cohort
from support.volumes import save_nifti

ANATOMY, MEND = load_anatomy("heart"), load_config("mend")


def cohort_of(count: int, path: Path) -> Cohort:
    return Cohort(tuple(Case(str(n), path) for n in range(count)), ANATOMY)


@pytest.fixture
def heart(tmp_path: Path) -> Path:
    """A label map whose header is that of the hearts that were measured; its voxels are not read."""
    save_nifti(tmp_path / "1.nii.gz", np.zeros((188, 191, 207), np.uint8), np.uint8, np.diag([0.9, 0.9, 0.9, 1.0]))
    return tmp_path / "1.nii.gz"


def test_the_run_that_was_measured_has_its_time(heart: Path) -> None:
    cohort = cohort_of(20, heart)
    # docs/results/performance.md: 75 s up to fuse, 419 s of unify; other days took up to 1.6 times.
    assert run_seconds(cohort, MEND, "prepare", "cpu", 2) == pytest.approx(12, rel=0.25)
    assert run_seconds(cohort, MEND, "fuse", "cpu", 2) == pytest.approx(75, rel=0.15)
    assert run_seconds(cohort, MEND, "unify", "cpu", 2) == pytest.approx(75 + 419, rel=0.15)


def test_the_thousand_hearts_that_were_measured_have_their_time(heart: Path) -> None:
    assert run_seconds(cohort_of(998, heart), MEND, "fuse", "cpu", 2) == pytest.approx(2884, rel=0.15)


def test_the_time_grows_with_cases_and_voxels_and_falls_with_cores(heart: Path, tmp_path: Path) -> None:
    save_nifti(tmp_path / "2.nii.gz", np.zeros((94, 95, 103), np.uint8), np.uint8, np.diag([1.8, 1.8, 1.8, 1.0]))
    seconds = run_seconds(cohort_of(20, heart), MEND, "prepare", "cpu", 2)
    assert seconds is not None
    assert run_seconds(cohort_of(40, heart), MEND, "prepare", "cpu", 4) == pytest.approx(seconds)
    coarse = run_seconds(cohort_of(20, tmp_path / "2.nii.gz"), MEND, "prepare", "cpu", 2)
    assert coarse == pytest.approx(seconds / 8, rel=0.05)
    fast = run_seconds(cohort_of(20, heart), load_config("fast"), "fuse", "cpu", 2)
    assert fast is not None and fast < run_seconds(cohort_of(20, heart), MEND, "fuse", "cpu", 2)  # type: ignore[operator]


def test_a_fit_on_a_gpu_is_not_estimated(heart: Path) -> None:
    assert run_seconds(cohort_of(20, heart), MEND, "fuse", "cuda", 2) is None
    assert run_seconds(cohort_of(20, heart), MEND, "prepare", "cuda", 2) is not None


def test_a_damaged_file_does_not_stop_the_estimate(tmp_path: Path) -> None:
    cohort = discover_cohort(write_cohort(tmp_path, count=2), anatomy=ANATOMY)
    (tmp_path / "labels" / "1.nii.gz").write_bytes(b"no volume")
    (tmp_path / "labels" / "2.nii.gz").unlink()
    assert run_seconds(cohort, MEND, "prepare", "cpu", 1) > 0 and run_bytes(cohort) > RUN_BYTES  # type: ignore[operator]
