"""Bad input: an error that names the file, the fault and the remedy, or a warning."""

import gzip
import resource
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import BadInputError
from heartmend.io.dataset import discover_cohort
from heartmend.io.label_maps import read_labels
from heartmend.io.volume import read_image
from support.bad_files import BAD, SPACING, Bad, header_changed
from support.volumes import save_itk, save_nifti, some_labels

HEART = load_anatomy("heart")


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_the_error_names_the_file_the_fault_and_the_remedy(tmp_path: Path, bad: Bad) -> None:
    path = tmp_path / "patient 7.nii.gz"
    bad.make(path)
    with pytest.raises(BadInputError) as error:
        read_labels(path, HEART)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert all(part in message for part in bad.message), message
    assert "Jane" not in message


def test_trailing_axes_and_whole_numbers_as_floats_are_accepted(tmp_path: Path) -> None:
    labels = some_labels((12, 12, 12))
    for name, values, dtype in (("a", labels[..., None, None], np.uint8), ("b", labels, np.float32)):
        path = save_nifti(tmp_path / f"{name}.nii.gz", values, dtype, SPACING)
        assert (read_labels(path, HEART).labels == labels).all()


def test_an_absent_structure_and_one_of_a_single_voxel_are_accepted(tmp_path: Path) -> None:
    labels = np.zeros((12, 12, 12), dtype=np.uint8)
    labels[3:9, 3:9, 3:9], labels[2, 2, 2] = 3, 8
    volume = read_labels(save_nifti(tmp_path / "a.nii.gz", labels, affine=SPACING), HEART)
    assert (volume.labels == labels).all()


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({"qoffset_x": 30}, "its positions by sform and qform are up to 30.0 mm apart; the sform is used"),
        ({"quatern_b": 5}, "its qform is invalid"),
        (
            {"pixdim": [1, 2, 2, 3, 0, 0, 0, 0], "qform_code": 0},
            "the spacing is 2 x 2 x 3 mm in pixdim, 2 x 2 x 2 mm in the sform",
        ),
        ({"qform_code": 0, "sform_code": 0}, "neither sform nor qform"),
        ({"srow_x": [0] * 4, "srow_y": [0] * 4, "srow_z": [0] * 4}, "its sform contains zeros only; the qform is used"),
    ],
)
def test_a_contradiction_in_a_header_is_a_warning(tmp_path: Path, fields: dict, warning: str) -> None:
    volume = read_labels(header_changed(tmp_path / "a.nii.gz", **fields), HEART)
    assert volume.grid.spacing_mm == (2.0, 2.0, 2.0)
    assert len(volume.warnings) == 1 and warning in volume.warnings[0]


def test_a_qfac_of_zero_counts_as_one(tmp_path: Path) -> None:
    path = header_changed(tmp_path / "a.nii.gz", pixdim=[0, 2, 2, 2, 0, 0, 0, 0], sform_code=0)
    assert read_labels(path, HEART).grid.affine.tolist() == SPACING.tolist()


def test_a_volume_of_2000_slices_is_read_in_bounded_memory(tmp_path: Path) -> None:
    labels = np.zeros((64, 64, 2000), dtype=np.uint8)
    labels[20:40, 20:40, 900:960] = 3
    path = save_nifti(tmp_path / "a.nii.gz", labels, affine=SPACING)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (read_labels(path, HEART).labels == labels).all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB; the map has 8,000


def test_a_small_file_that_decompresses_to_gigabytes_is_an_error(tmp_path: Path) -> None:
    path = header_changed(tmp_path / "a.nii.gz")
    with gzip.open(path, "ab", 9) as file:
        for _ in range(200):
            file.write(bytes(1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadInputError, match="has more than the 1728 bytes"):
        read_labels(path, HEART)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


class TestItk:
    """NRRD and MetaImage files."""

    @pytest.mark.parametrize("ending", [".nrrd", ".mha"])
    @pytest.mark.parametrize("compressed", [True, False])
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
    def test_a_truncated_file_is_an_error(self, tmp_path: Path, ending: str, compressed: bool, share: float) -> None:
        path = save_itk(tmp_path / f"in{ending}", some_labels((30, 30, 30)), packed=compressed)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(BadInputError, match=r"in\.(nrrd|mha): .*export it"):
            read_labels(path, HEART)

    @pytest.mark.parametrize("ending", [".nrrd", ".mha"])
    def test_a_flipped_bit_in_compressed_voxels_is_an_error(self, tmp_path: Path, ending: str) -> None:
        path = save_itk(tmp_path / f"in{ending}", some_labels((30, 30, 30)))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x10
        path.write_bytes(data)
        with pytest.raises(BadInputError, match=r"in\.(nrrd|mha)"):
            read_labels(path, HEART)

    @pytest.mark.parametrize(
        ("name", "head"),
        [
            ("in.nrrd", "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 1 1 3\nencoding: raw\n{} {}\n\n"),
            ("in.mha", "ObjectType = Image\nNDims = 3\nDimSize = 1 1 3\nElementType = MET_UCHAR\n{} = {}\n"),
        ],
    )
    def test_a_header_that_names_another_file_does_not_give_access_to_it(
        self, tmp_path: Path, name: str, head: str
    ) -> None:
        secret = tmp_path / "secret"
        secret.write_bytes(b"\1\2\3")
        for key in ("data file:", "DATAFILE:") if name == "in.nrrd" else ("ElementDataFile", " elementdatafile"):
            (tmp_path / name).write_text(head.format(key, secret))
            with pytest.raises(BadInputError, match=r"in\.(nrrd|mha): names another file"):
                read_labels(tmp_path / name, HEART)

    def test_a_header_that_names_a_patient_is_not_quoted(self, tmp_path: Path) -> None:
        path = tmp_path / "in.nrrd"
        path.write_text("NRRD0004\ntype: uint8\ndimension: 3\nsizes: 1 1 3\nencoding: raw\nname Jane Doe\n\nabc")
        with pytest.raises(BadInputError, match=r"its header cannot be read") as error:
            read_labels(path, HEART)
        assert "Jane" not in str(error.value)

    @pytest.mark.parametrize(
        ("matrix", "message"), [("1 0 0 0.5 1 0 0 0 1", "sheared"), ("1 0 0 1 0 0 0 0 1", "damaged|singular")]
    )
    def test_sheared_or_parallel_axes_are_an_error(self, tmp_path: Path, matrix: str, message: str) -> None:
        path = save_itk(tmp_path / "in.mha", some_labels(), packed=False)
        head, _, body = path.read_bytes().partition(b"ElementDataFile")
        lines = [b"TransformMatrix = " + matrix.encode() if b"TransformMatrix" in line else line
                 for line in head.splitlines()]  # fmt: skip
        path.write_bytes(b"\n".join([*lines, b"ElementDataFile" + body]))
        with pytest.raises(BadInputError, match=message):
            read_labels(path, HEART)

    def test_several_layers_are_an_error(self, tmp_path: Path) -> None:
        stack = np.stack([some_labels() > 3, some_labels() > 5], axis=-1).astype(np.uint8)
        sitk.WriteImage(sitk.GetImageFromArray(stack, isVector=True), str(tmp_path / "in.nrrd"))
        with pytest.raises(BadInputError, match=r"2 values per voxel.*join the layers"):
            read_labels(tmp_path / "in.nrrd", HEART)

    @pytest.mark.parametrize("size", ["Size", "Size = 9", "Siz\xa1 = 60"])
    def test_compressed_voxels_of_a_wrong_size_are_an_error(self, tmp_path: Path, size: str) -> None:
        """MetaIO itself reads them, as noise."""
        path = save_itk(tmp_path / "in.mha", some_labels((30, 30, 30)))
        lines = path.read_bytes().split(b"\n")
        at = next(i for i, line in enumerate(lines) if line.startswith(b"CompressedDataSize"))
        lines[at] = b"CompressedData" + size.encode("latin-1")
        path.write_bytes(b"\n".join(lines))
        with pytest.raises(BadInputError, match=r"in\.mha: .*compressed voxels"):
            read_labels(path, HEART)

    @settings(max_examples=150, deadline=None)
    @given(st.sampled_from([".nrrd", ".mha"]), st.booleans(), st.data())
    def test_any_damage_is_read_or_a_bad_input_error(
        self, tmp_path_factory: pytest.TempPathFactory, ending: str, compressed: bool, data: st.DataObject
    ) -> None:
        path = save_itk(tmp_path_factory.mktemp("fuzz") / f"in{ending}", some_labels(), packed=compressed)
        raw = bytearray(path.read_bytes())
        for at, value in data.draw(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=5)):
            raw[at % len(raw)] = value
        path.write_bytes(raw[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))])
        message = str(path)
        try:
            read_labels(path, HEART, unknown_labels="keep")
        except BadInputError as error:
            message = str(error)
        assert str(path) in message


class TestCohorts:
    """Folders: names, pairs, images."""

    def test_only_a_case_with_two_files_is_skipped(self, tmp_path: Path) -> None:
        for name in ("1.nii.gz", "2.nii.gz", "2.nrrd", "Müller Æ 3.nii.gz", "a\nb.nii.gz"):
            (tmp_path / name).touch()
        cohort = discover_cohort(tmp_path, anatomy=HEART)
        assert [case.id for case in cohort] == ["1", "Müller Æ 3"]
        assert sorted(cohort.skipped) == ["2", "a\\nb.nii.gz"]
        assert "rename the file" in cohort.skipped["a\\nb.nii.gz"]

    def test_the_error_names_both_files(self, tmp_path: Path) -> None:
        for name in ("1.nii.gz", "2.nii.gz", "2.nii", "2.mha"):
            (tmp_path / name).touch()
        cohort = discover_cohort(tmp_path, anatomy=HEART)
        assert [case.id for case in cohort] == ["1"]
        assert "2.mha and 2.nii and 2.nii.gz; keep one of them" in cohort.skipped["2"]
        with pytest.raises(BadInputError, match=r"2\.mha and 2\.nii"):
            _ = cohort["2"]

    def test_a_case_with_two_images_is_skipped(self, tmp_path: Path) -> None:
        for name in ("l/1.nii.gz", "l/2.nii.gz", "i/1.nii.gz", "i/2.nii.gz", "i/2.nii", "i/3.nii", "i/3.mha"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        cohort = discover_cohort(tmp_path / "l", tmp_path / "i", anatomy=HEART)
        assert [case.id for case in cohort] == ["1"]
        assert list(cohort.skipped) == ["2"] and "more than one image" in cohort.skipped["2"]

    def test_a_name_that_is_not_utf8_or_too_long_is_skipped(self, tmp_path: Path) -> None:
        (tmp_path / "1.nii.gz").touch()
        (tmp_path / ("x" * 245 + ".nii.gz")).touch()
        try:
            (tmp_path / "b\udcff.nii.gz").touch()
        except OSError:
            pytest.skip("the file system does not allow such a name")
        skipped = discover_cohort(tmp_path, anatomy=HEART).skipped
        assert set(skipped) == {"b\\udcff.nii.gz", "x" * 245 + ".nii.gz"}
        assert all("rename the file" in why for why in skipped.values())
        "".join(skipped.values()).encode()

    def test_an_image_on_another_grid_is_a_warning_and_one_elsewhere_an_error(self, tmp_path: Path) -> None:
        save_nifti(tmp_path / "l" / "1.nii.gz", some_labels((12, 12, 12)), affine=SPACING)
        shifted, away = SPACING.copy(), SPACING.copy()
        shifted[0, 3], away[0, 3] = 6, 600
        image = tmp_path / "i" / "1.nii.gz"
        save_nifti(image, some_labels((12, 12, 12)), np.int16, shifted)
        cohort = discover_cohort(tmp_path / "l", tmp_path / "i", anatomy=HEART)
        case = cohort["1"]
        grid = cohort.read_labels(case).grid
        # Of 12 voxels along x the last 9 are inside the image.
        assert "resampled to it (75% covered)" in "".join(cohort.check_image(case, grid))
        save_nifti(image, some_labels((12, 12, 12)), np.int16, away)
        for read in (lambda: cohort.check_image(case, grid), lambda: read_image(image, grid)):
            with pytest.raises(BadInputError, match=r"i/1\.nii\.gz: image and label map do not overlap.*check that"):
                read()

    def test_a_malicious_table_of_labels_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "labelsTr").mkdir()
        (tmp_path / "labelsTr" / "1.nii.gz").touch()
        for content in ("[" * 100_000, '{"labels": {"LA": ' + "9" * 5000 + "}}", "\ufeff", '{"labels": 3}'):
            (tmp_path / "dataset.json").write_text(content)
            with pytest.raises(BadInputError, match=r"dataset\.json"):
                discover_cohort(tmp_path, anatomy=HEART)
        (tmp_path / "dataset.json").write_text('{"labels": {"LA": 1}, "file_ending": "/../../x.nii.gz"}')
        with pytest.raises(BadInputError, match="no label map"):
            discover_cohort(tmp_path, anatomy=HEART)
