"""Tests of the screening of a data set."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heartmend.pipelines.config import load_config
from heartmend.pipelines.run import Request
from heartmend.quality.screen import screen_in_temporary_folder, screen_labels, screen_run
from support.cohorts import small_map, write_cohort
from support.volumes import save_nifti


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Write six small hearts; a third of the LV of the fifth is missing."""
    write_cohort(tmp_path, count=6)
    labels = small_map(5)
    labels[(labels == 3) & (np.indices(labels.shape)[2] > 12)] = 0
    save_nifti(tmp_path / "labels" / "5.nii.gz", labels, np.uint8, np.diag([-2.0, -2.0, 2.0, 1.0]))
    return tmp_path


def request(cohort: Path) -> Request:
    return Request(cohort / "labels", cohort / "out", device="cpu", workers=1)


def test_the_case_with_an_incomplete_structure_is_ranked_first(cohort: Path) -> None:
    config = load_config("mend", cohort / "small.toml")
    before = {p.name: p.read_bytes() for p in (cohort / "labels").iterdir()}
    ranking = screen_labels(request(cohort), config)
    assert ranking.with_shapes and not ranking.skipped
    found = [f for f in ranking.structures if f.structure == "LV"]
    assert found[0].case == "5" and found[0].relative_expected_error > 1.5
    assert any("to the fitted shape" in r or "unusually small" in r for r in found[0].reasons)
    # The second case has no RA, the others have one.
    lacking = next(f for f in ranking.structures if (f.case, f.structure) == ("2", "RA"))
    assert lacking.expected_error == pytest.approx(5 / 6) and "5 of 6" in lacking.reasons[0]
    assert {p.name: p.read_bytes() for p in (cohort / "labels").iterdir()} == before
    # The fit is kept, and an existing run gives the same ranking.
    again = screen_run(cohort / "out", workers=1)
    assert again == ranking
    assert not any((cohort / "out" / "labels").iterdir())


def test_a_quick_screening_in_a_temporary_folder_leaves_no_files(cohort: Path) -> None:
    (cohort / "labels" / "3.nii.gz").write_bytes(b"no volume")
    entries = sorted(cohort.rglob("*"))
    ranking = screen_in_temporary_folder(request(cohort), load_config("mend", cohort / "small.toml"), quick=True)
    assert not ranking.with_shapes
    assert list(ranking.skipped) == ["3"] and {c.case for c in ranking.cases} == {"1", "2", "4", "5", "6"}
    assert all(f.indicators.shape_error is None for f in ranking.structures)
    assert sorted(cohort.rglob("*")) == entries


def test_few_cases_are_not_compared_with_shapes(cohort: Path) -> None:
    for n in (4, 5, 6):
        (cohort / "labels" / f"{n}.nii.gz").unlink()
    config = load_config("mend", cohort / "small.toml")
    assert not screen_labels(replace(request(cohort)), config, quick=True).with_shapes
