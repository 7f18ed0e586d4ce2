"""Export of a reviewed run as DICOM objects of the CT series, read with highdicom and pydicom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
hd = pytest.importorskip("highdicom", reason="the extra dicom is not installed")

from heartmend.anatomy.load import load_anatomy  # noqa: E402
from heartmend.io.dataset import discover_cohort  # noqa: E402
from heartmend.io.dicom.series import find_series  # noqa: E402
from heartmend.release.export import export_release  # noqa: E402
from heartmend.release.layouts import Layout  # noqa: E402
from heartmend.repair.change_log import ChangeLog  # noqa: E402
from heartmend.review.case_cache import make_ready  # noqa: E402
from heartmend.run_folder.finished import FinishedRun  # noqa: E402
from heartmend.run_folder.folder import RunFolder  # noqa: E402
from support.cohorts import SHAPE, small_map  # noqa: E402
from support.dicom import read_seg, write_series  # noqa: E402
from support.runs import repaired  # noqa: E402
from support.volumes import save_nifti  # noqa: E402

BOTH: frozenset[Layout] = frozenset({"dicom-seg", "rtstruct"})
NAMES = {"LA": 2, "LV": 3, "RA": 4, "RV": 5}


@pytest.fixture
def finished(tmp_path: Path) -> FinishedRun:
    """Two NIfTI label maps; the first has a series, on whose voxels it is with its rows in the other direction."""
    labels, images, out, anatomy = tmp_path / "labels", tmp_path / "images", tmp_path / "out", load_anatomy("heart")
    write_series(images / "1", np.where(small_map(1) > 0, 300, -80))
    series = find_series(images / "1")
    assert series is not None
    flip = np.diag([1.0, -1.0, 1.0, 1.0])
    flip[1, 3] = SHAPE[1] - 1
    for number in (1, 2):
        save_nifti(labels / f"{number}.nii.gz", small_map(number)[:, ::-1], np.uint8, series.grid.affine @ flip)
    cohort = discover_cohort(labels, images, anatomy=anatomy)
    with RunFolder.open(out, labels) as run:
        run.write_settings({"request": {"images": str(images)}})
        run.write_cohort(cohort)
        run.write_anatomy(anatomy)
        run.write_skipped({})
        for case in cohort:
            run.write_fused(cohort, case, repaired(small_map(int(case.id)))[:, ::-1], ChangeLog(case.id))
    found = FinishedRun.open(out)
    assert make_ready(found, workers=1) == {}
    return found


def test_dicom_objects_of_the_series(finished: FinishedRun, tmp_path: Path) -> None:
    to = tmp_path / "release"
    plan = export_release(finished, to, BOTH, "accept", workers=1)
    assert [p.case.id for p in plan.release] == ["1"]
    assert plan.left_out.keys() == {"2"}
    assert "case 2: DICOM SEG and RTSTRUCT need its CT as a DICOM series, and there is none" in plan.left_out["2"]
    labels = repaired(small_map(1))
    masks = read_seg(to / "dicom-seg" / "1.dcm", SHAPE)
    assert masks.keys() == NAMES.keys()
    assert all(np.array_equal(masks[name], labels == id) for name, id in NAMES.items())
    structures = pydicom.dcmread(to / "rtstruct" / "1.dcm")
    assert [str(roi.ROIName) for roi in structures.StructureSetROISequence] == list(NAMES)
    series = find_series(tmp_path / "images" / "1")
    assert series is not None
    referenced = {
        str(contour.ContourImageSequence[0].ReferencedSOPInstanceUID)
        for contour in structures.ROIContourSequence[1].ContourSequence
    }
    slices = np.flatnonzero((labels == 3).any(axis=(0, 1)))
    assert referenced == {series.sop_instances[at][1] for at in slices}


def test_a_series_on_other_voxels_is_an_error(finished: FinishedRun, tmp_path: Path) -> None:
    for path in (tmp_path / "images" / "1").iterdir():
        path.unlink()
    write_series(tmp_path / "images" / "1", np.zeros((20, 20, 10)))
    plan = export_release(finished, tmp_path / "release", frozenset({"dicom-seg", "nnunet"}), "accept", workers=1)
    assert "case 1: its label map is not on the voxels of the series" in plan.left_out["1"] and not plan.release
