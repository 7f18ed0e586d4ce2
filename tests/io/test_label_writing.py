"""A written label map differs from its reference only in the voxels."""

import gzip
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.io.itk import read_itk_header
from heartmend.io.label_maps import read_labels
from heartmend.io.label_meaning import own_meaning
from heartmend.io.label_writing import write_labels_like
from support.grids import grids
from support.volumes import OBLIQUE, save_itk, save_nifti, some_labels

HEART = load_anatomy("heart")
OWN = own_meaning(HEART)
NIFTI = [".nii", ".nii.gz"]
ITK = [".nrrd", ".mha"]


def decompressed(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def _itk_4d(folder: Path, ending: str, labels: np.ndarray) -> Path:
    path = folder / f"in{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(labels.T[None], isVector=False), str(path))
    return path


@pytest.mark.parametrize("ending", NIFTI)
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", ">i2", "u2", "i4", "i8", "f4", ">f4", "f8"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_nifti_keeps_every_byte_but_the_voxels(tmp_path: Path, ending: str, dtype: str, kind: type) -> None:
    labels = some_labels()
    path = save_nifti(tmp_path / f"in{ending}", labels, dtype, kind=kind)
    volume = read_labels(path, HEART)
    assert volume.labels.dtype == np.uint8
    assert (volume.labels == labels).all()
    assert volume.grid == Grid(labels.shape, nib.load(path).affine)
    assert np.allclose(volume.grid.affine, OBLIQUE, atol=1e-5)

    same = tmp_path / "out" / f"in{ending}"
    write_labels_like(volume.labels, path, same, OWN)
    assert decompressed(same) == decompressed(path)

    repaired = np.where(labels == 3, 9, labels).astype(np.uint8)
    write_labels_like(repaired, path, same, OWN)
    image, original = nib.load(same), nib.load(path)
    assert image.header == original.header
    assert image.header.extensions == original.header.extensions
    assert (np.asarray(image.dataobj) == repaired).all()


@settings(max_examples=25, deadline=None)
@given(grids())
def test_nifti_is_written_unchanged_on_any_grid(tmp_path_factory: pytest.TempPathFactory, grid: Grid) -> None:
    folder = tmp_path_factory.mktemp("grid")
    labels = some_labels(grid.shape)
    path = save_nifti(folder / "in.nii.gz", labels, affine=grid.affine)
    volume = read_labels(path, HEART)
    assert volume.grid.is_close(grid)
    write_labels_like(volume.labels, path, folder / "out.nii.gz", OWN)
    assert decompressed(folder / "out.nii.gz") == decompressed(path)


@pytest.mark.parametrize("ending", ITK)
@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_itk_formats_keep_their_header(tmp_path: Path, ending: str, compressed: bool, dtype: type) -> None:
    labels = some_labels()
    path = save_itk(tmp_path / f"in{ending}", labels.astype(dtype), packed=compressed)
    volume = read_labels(path, HEART)
    assert (volume.labels == labels).all()
    # LPS direction times spacing, with its first two rows negated.
    assert volume.grid.affine.tolist() == [[0, 0.75, 0, -10], [-0.5, 0, 0, 20], [0, 0, 2, 30.5], [0, 0, 0, 1]]

    out = tmp_path / "out" / f"in{ending}"
    write_labels_like(volume.labels, path, out, OWN)
    # The compressed size is a field of MetaImage, and ITK compresses more than Heartmend does.
    same, size = path.read_bytes(), re.compile(rb"CompressedDataSize = \d+")
    head = read_itk_header(path).head
    assert size.sub(b"", read_itk_header(out).head) == size.sub(b"", head)
    assert compressed or out.read_bytes() == same
    repaired = np.where(labels == 3, 9, labels).astype(np.uint8)
    write_labels_like(repaired, path, out, OWN)
    image = sitk.ReadImage(str(out))
    assert np.array_equal(sitk.GetArrayFromImage(image).T, repaired)
    assert image.GetMetaData("Segment0_Name") == "Left atrium"


@pytest.mark.parametrize("ending", [*NIFTI, *ITK])
def test_a_trailing_axis_of_length_one_is_dropped_and_restored(tmp_path: Path, ending: str) -> None:
    labels = some_labels()
    save = save_nifti if ending in NIFTI else save_itk
    path = save(tmp_path / f"in{ending}", labels[..., None]) if ending in NIFTI else _itk_4d(tmp_path, ending, labels)
    volume = read_labels(path, HEART)
    assert (volume.labels == labels).all()
    out = tmp_path / f"out{ending}"
    write_labels_like(volume.labels, path, out, OWN)
    assert decompressed(out) == decompressed(path)


def test_a_slope_is_inverted_when_written(tmp_path: Path) -> None:
    labels = some_labels()
    path = save_nifti(tmp_path / "in.nii", labels.astype(int) * 10 - 30, np.int16)
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([0.1, 3.0], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(raw)
    volume = read_labels(path, HEART)
    assert (volume.labels == labels).all()
    write_labels_like(volume.labels, path, tmp_path / "out.nii", OWN)
    assert (tmp_path / "out.nii").read_bytes() == bytes(raw)


def test_a_slope_that_cannot_store_an_id_is_an_error(tmp_path: Path) -> None:
    labels = some_labels() // 3 * 3
    path = save_nifti(tmp_path / "in.nii", labels // 3)
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([3.0, 0.0], "<f4").tobytes()
    path.write_bytes(raw)
    with pytest.raises(BadInputError, match=r"in\.nii: its type uint8 and slope"):
        write_labels_like(np.full_like(labels, 4), path, tmp_path / "out.nii", OWN)


def test_equal_labels_give_equal_bytes_at_any_time_under_any_name(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "in.nii.gz", some_labels())
    for name in ("a.nii.gz", "b.nii.gz"):
        write_labels_like(some_labels(), path, tmp_path / name, OWN)
    data = (tmp_path / "a.nii.gz").read_bytes()
    assert data == (tmp_path / "b.nii.gz").read_bytes()
    assert data[3] & 8 == 0  # no file name
    assert data[4:8] == bytes(4)  # no time


def test_the_input_is_never_overwritten(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "in.nii.gz", some_labels())
    (tmp_path / "link.nii.gz").symlink_to(path)
    for out in (path, tmp_path / "link.nii.gz"):
        with pytest.raises(BadInputError, match="never written to"):
            write_labels_like(some_labels(), path, out, OWN)


def test_labels_that_do_not_fit_the_reference_are_an_error(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "in.nii.gz", some_labels())
    with pytest.raises(BadInputError, match="do not fit"):
        write_labels_like(some_labels((7, 6, 4)), path, tmp_path / "out.nii.gz", OWN)
    with pytest.raises(BadInputError, match="another format"):
        write_labels_like(some_labels(), path, tmp_path / "out.nrrd", OWN)
    with pytest.raises(TypeError, match="uint8"):
        write_labels_like(some_labels().astype(int), path, tmp_path / "out.nii.gz", OWN)  # type: ignore[arg-type]
