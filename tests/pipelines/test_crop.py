"""Volumes cut to the heart and resampled: where they lie, and what they hold."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import RunError
from heartmend.pipelines.crop import CropRequest, crop_cohort
from support.hearts import ellipsoid
from support.volumes import save_nifti

HEART = load_anatomy("heart")
AFFINE = np.diag([-2.0, -2.0, 3.0, 1.0])
SHAPE = (40, 36, 24)


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    labels = np.where(ellipsoid(SHAPE, (14, 20, 10), (6, 7, 5)), 3, 0)
    hu = np.where(labels == 3, 350, -60)
    for n in (1, 2):
        save_nifti(tmp_path / "labels" / f"{n}.nii.gz", labels, np.uint8, AFFINE)
    save_nifti(tmp_path / "images" / "1.nii.gz", hu, np.int16, AFFINE)
    return tmp_path


def test_labels_and_ct_on_one_grid_in_the_place_of_the_heart(cohort: Path) -> None:
    outcomes = dict(crop_cohort(CropRequest(cohort / "labels", cohort / "out", HEART, 48, cohort / "images", 1)))
    assert outcomes == {"1": None, "2": None}
    assert [p.name for p in (cohort / "out" / "images").iterdir()] == ["1.nii.gz"]
    labels, ct = (nib.load(cohort / "out" / kind / "1.nii.gz") for kind in ("labels", "images"))
    assert labels.shape == ct.shape == (48, 48, 48)
    assert (labels.get_data_dtype(), ct.get_data_dtype()) == (np.uint8, np.int16)
    assert np.allclose(labels.affine, ct.affine)
    assert nib.aff2axcodes(labels.affine) == ("R", "A", "S")
    cells, hu = np.asarray(labels.dataobj), np.asarray(ct.dataobj)
    middle = labels.affine @ [*np.argwhere(cells == 3).mean(axis=0), 1]
    assert middle == pytest.approx(AFFINE @ [14, 20, 10, 1], abs=1)
    volume = (cells == 3).sum() * abs(np.linalg.det(labels.affine[:3, :3]))
    source = np.asarray(nib.load(cohort / "labels" / "1.nii.gz").dataobj)
    assert volume == pytest.approx((source == 3).sum() * 12, rel=0.05)
    assert set(np.unique(cells)) == {0, 3}
    assert np.median(hu[cells == 3]) == pytest.approx(350, abs=1)
    # Below the scan there is nothing: ten voxels of margin reach beyond it.
    assert hu.min() == -1024


def test_a_bad_file_never_stops_the_others(cohort: Path) -> None:
    (cohort / "labels" / "3.nii.gz").write_bytes(b"no volume")
    outcomes = dict(crop_cohort(CropRequest(cohort / "labels", cohort / "out", HEART, 32, workers=1)))
    assert outcomes["1"] is None
    assert "3.nii.gz" in str(outcomes["3"])


@pytest.mark.parametrize("out", [".", "labels", "labels/small"])
def test_the_input_is_never_written_to(cohort: Path, out: str) -> None:
    before = (cohort / "labels" / "1.nii.gz").read_bytes()
    with pytest.raises(RunError, match="input folder"):
        list(crop_cohort(CropRequest(cohort / "labels", cohort / out, HEART, 32, workers=1)))
    assert (cohort / "labels" / "1.nii.gz").read_bytes() == before


def test_the_label_maps_of_a_run_are_not_replaced(cohort: Path) -> None:
    (cohort / "out" / "run").mkdir(parents=True)
    (cohort / "out" / "run" / "run.json").write_text("{}")
    with pytest.raises(RunError, match="contains a run, whose label maps must not be replaced"):
        list(crop_cohort(CropRequest(cohort / "labels", cohort / "out", HEART, 48, workers=1)))


def test_nothing_is_written_through_a_link(cohort: Path) -> None:
    (cohort / "elsewhere").mkdir()
    (cohort / "out").mkdir()
    (cohort / "out" / "labels").symlink_to(cohort / "elsewhere", target_is_directory=True)
    with pytest.raises(RunError, match="labels: is a link"):
        list(crop_cohort(CropRequest(cohort / "labels", cohort / "out", HEART, 32, workers=1)))
    assert not list((cohort / "elsewhere").iterdir())


def test_maps_of_another_numbering_become_ids_of_the_anatomy(cohort: Path) -> None:
    for path in (cohort / "labels").iterdir():
        save_nifti(path, np.where(np.asarray(nib.load(path).dataobj) == 3, 500, 0), np.int16, AFFINE)
    request = CropRequest(cohort / "labels", cohort / "out", HEART, 32, workers=1, preset_ids="mmwhs")
    assert dict(crop_cohort(request)) == {"1": None, "2": None}
    assert set(np.unique(nib.load(cohort / "out" / "labels" / "1.nii.gz").dataobj)) == {0, 3}
