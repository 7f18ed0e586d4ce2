"""Label maps that are read, and errors."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.io.label_maps import read_labels
from heartmend.io.label_meaning import LabelTable, own_meaning
from heartmend.io.label_writing import write_labels_like
from heartmend.io.volume import read_image
from support.volumes import save_nifti, some_labels

HEART = load_anatomy("heart")
OWN = own_meaning(HEART)
NIFTI = [".nii", ".nii.gz"]


def decompressed(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


@pytest.mark.parametrize("shape", [(7, 6), (7, 6, 5, 2), (7, 6, 5, 1, 2)])
@pytest.mark.parametrize("ending", NIFTI)
def test_other_numbers_of_axes_are_an_error(tmp_path: Path, shape: tuple[int, ...], ending: str) -> None:
    path = save_nifti(tmp_path / f"in{ending}", np.zeros(shape))
    with pytest.raises(BadInputError, match=r"in\.nii.*axes"):
        read_labels(path, HEART)


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (2.5, np.float32, "not whole, such as 2.5"),
        (np.nan, np.float32, "NaN or infinity in 1 voxel"),
        (-np.inf, np.float64, "NaN or infinity"),
        (-1, np.int16, "negative ids, down to -1"),
        (-3.0, np.float32, "negative ids, down to -3"),
        (70000, np.int32, "ids up to 70000"),
        (1e30, np.float64, "ids up to 1"),
        (11, np.uint8, r"does not have: 11 \(1 voxel\); it has 1 Myocardium"),
        (300, np.uint16, r"300 \(1 voxel\)"),
        (256 + 3, np.int16, r"259 \(1 voxel\)"),
    ],
)
def test_a_value_that_is_no_id_is_an_error(tmp_path: Path, value: float, dtype: type, message: str) -> None:
    values = some_labels().astype(np.float64)
    values[1, 2, 3] = value
    path = save_nifti(tmp_path / "patient 7.nii.gz", values, dtype)
    with pytest.raises(BadInputError, match=message) as error:
        read_labels(path, HEART)
    assert "patient 7.nii.gz" in str(error.value)


def test_unknown_ids_can_stay_unchanged(tmp_path: Path) -> None:
    values = some_labels().astype(np.int16)
    values[0, 0, 0], values[1, 1, 1], values[2, 2, 2] = 77, 300, 255
    path = save_nifti(tmp_path / "in.nii.gz", values, np.int16)
    volume = read_labels(path, HEART, unknown_labels="keep")
    assert volume.unknown is not None
    assert np.argwhere(volume.unknown).tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
    assert (volume.labels[volume.unknown] == 0).all()
    write_labels_like(np.full_like(volume.labels, 9), path, tmp_path / "out.nii.gz", OWN, unknown=volume.unknown)
    assert (np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj) == np.where(volume.unknown, values, 9)).all()


def test_a_data_set_can_have_its_own_ids(tmp_path: Path) -> None:
    values = np.array([0, 1, 2, 40] * 2, dtype=np.uint8).reshape(2, 2, 2)
    path = save_nifti(tmp_path / "in.nii.gz", values)
    tables = [LabelTable("ids.toml", {1: "Coronary", 2: "LV", 40: "LA"})]
    volume = read_labels(path, HEART, tables=tables)
    assert volume.labels.ravel().tolist() == [0, 9, 3, 2] * 2
    write_labels_like(volume.labels, path, tmp_path / "out.nii.gz", volume.meaning)
    assert decompressed(tmp_path / "out.nii.gz") == decompressed(path)
    with pytest.raises(BadInputError, match=r"has no value for the ids \[4\]"):
        write_labels_like(np.full_like(volume.labels, 4), path, tmp_path / "out.nii.gz", volume.meaning)
    values[0, 0, 0] = 3
    save_nifti(path, values)
    with pytest.raises(BadInputError, match=r"does not have: 3 \(1 voxel\); it has 1 Coronary, 2 LV, 40 LA"):
        read_labels(path, HEART, tables=tables)


def test_an_image_on_another_grid_is_resampled_to_that_of_its_labels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fine = Grid((10, 10, 10), np.diag([1.0, 1, 1, 1]))
    ramp = np.broadcast_to(np.arange(5.0)[:, None, None] * 100, (5, 5, 5))
    coarse = np.diag([2.0, 2, 2, 1])
    path = tmp_path / "ct.nii.gz"
    nib.save(nib.Nifti1Image(ramp.astype(np.int16), coarse), path)
    image = read_image(path, fine)
    assert image.grid == fine
    assert image.values[:9, 0, 0].tolist() == [0, 50, 100, 150, 200, 250, 300, 350, 400]
    assert image.values[9, 0, 0] == -1024
    assert "resampled" in caplog.text
    with pytest.raises(BadInputError, match=r"ct\.nii\.gz: image and label map do not overlap"):
        read_image(path, Grid((10, 10, 10), [[1, 0, 0, 500], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    own = read_image(path, read_image(path).grid)
    assert own.values.dtype == np.int16
