"""Label maps: reading, errors, and that a written file differs from its reference only in the voxels."""

import gzip
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.io.itk import read_itk_header
from heartmend.io.label_maps import read_labels, write_labels_like
from heartmend.io.label_meaning import LabelTable, own_meaning
from heartmend.io.volume import read_image
from support.grids import grids
from support.volumes import OBLIQUE, save_itk, save_nifti, some_labels

HEART = load_anatomy("heart")
OWN = own_meaning(HEART)
NIFTI = [".nii", ".nii.gz"]
ITK = [".nrrd", ".mha"]


def decompressed(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


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


def _itk_4d(folder: Path, ending: str, labels: np.ndarray) -> Path:
    path = folder / f"in{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(labels.T[None], isVector=False), str(path))
    return path


@pytest.mark.parametrize("shape", [(7, 6), (7, 6, 5, 2), (7, 6, 5, 1, 2)])
@pytest.mark.parametrize("ending", NIFTI)
def test_other_numbers_of_axes_are_an_error(tmp_path: Path, shape: tuple[int, ...], ending: str) -> None:
    path = save_nifti(tmp_path / f"in{ending}", np.zeros(shape))
    with pytest.raises(BadInputError, match=r"in\.nii.*axes"):
        read_labels(path, HEART)


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
    with pytest.raises(BadInputError, match=r"no number for the ids \[4\]"):
        write_labels_like(np.full_like(volume.labels, 4), path, tmp_path / "out.nii.gz", volume.meaning)
    values[0, 0, 0] = 3
    save_nifti(path, values)
    with pytest.raises(BadInputError, match=r"does not have: 3 \(1 voxel\); it has 1 Coronary, 2 LV, 40 LA"):
        read_labels(path, HEART, tables=tables)


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


class TestBrokenFiles:
    """Each is a BadInputError with the name of the file."""

    @pytest.mark.parametrize("ending", NIFTI)
    @pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
    def test_a_truncated_file(self, tmp_path: Path, ending: str, share: float) -> None:
        path = save_nifti(tmp_path / f"in{ending}", some_labels((30, 30, 30)))
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(BadInputError, match=r"in\.nii"):
            read_labels(path, HEART)

    @pytest.mark.parametrize("ending", [*NIFTI, *ITK])
    @pytest.mark.parametrize("content", [b"", b"\0" * 2000, b"hello " * 100, b"\x1f\x8b" + b"\0" * 500])
    def test_a_file_of_another_format(self, tmp_path: Path, ending: str, content: bytes) -> None:
        path = tmp_path / f"in{ending}"
        path.write_bytes(content)
        with pytest.raises(BadInputError, match=r"in\."):
            read_labels(path, HEART)

    def test_a_flipped_bit(self, tmp_path: Path) -> None:
        path = save_nifti(tmp_path / "in.nii.gz", some_labels((30, 30, 30)))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x10
        path.write_bytes(data)
        with pytest.raises(BadInputError, match=r"in\.nii\.gz"):
            read_labels(path, HEART)

    def test_a_wrong_checksum(self, tmp_path: Path) -> None:
        path = save_nifti(tmp_path / "in.nii.gz", some_labels((30, 30, 30)))
        data = bytearray(path.read_bytes())
        data[-7] ^= 1
        path.write_bytes(data)
        with pytest.raises(BadInputError, match=r"in\.nii\.gz"):
            read_labels(path, HEART)

    @pytest.mark.parametrize("ending", [*NIFTI, *ITK])
    def test_a_folder_and_a_broken_link(self, tmp_path: Path, ending: str) -> None:
        (tmp_path / f"a{ending}").mkdir()
        (tmp_path / f"b{ending}").symlink_to(tmp_path / "nowhere")
        for name in "ab":
            with pytest.raises(BadInputError, match=name):
                read_labels(tmp_path / f"{name}{ending}", HEART)

    def test_a_header_with_a_shape_too_large_for_the_file(self, tmp_path: Path) -> None:
        path = save_nifti(tmp_path / "in.nii.gz", some_labels())
        raw = bytearray(decompressed(path))
        raw[42:48] = np.array([1200] * 3, "<i2").tobytes()
        path.write_bytes(gzip.compress(raw))
        with pytest.raises(BadInputError, match="too short for its shape"):
            read_labels(path, HEART)

    def test_a_pair_of_files_and_an_unknown_ending(self, tmp_path: Path) -> None:
        raw = bytearray(decompressed(save_nifti(tmp_path / "in.nii", some_labels())))
        raw[344:348] = b"ni1\0"
        (tmp_path / "in.nii").write_bytes(raw)
        with pytest.raises(BadInputError, match=r"join \.hdr and \.img"):
            read_labels(tmp_path / "in.nii", HEART)
        with pytest.raises(BadInputError, match="known endings"):
            read_labels(tmp_path / "in.png", HEART)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=6))
    def test_any_damaged_header(self, tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]) -> None:
        path = save_nifti(tmp_path_factory.mktemp("fuzz") / "in.nii", some_labels())
        raw = bytearray(path.read_bytes())
        for position, value in changes:
            raw[position] = value
        path.write_bytes(raw)
        message = "in.nii"
        try:
            read_labels(path, HEART, unknown_labels="keep")
        except BadInputError as error:
            message = str(error)
        assert "in.nii" in message


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
