"""What a header states is followed, or is an error that names the statement; what is read can be written."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid, Orientation
from heartmend.io.dataset import discover_cohort
from heartmend.io.hounsfield import hu_warnings
from heartmend.io.label_maps import read_labels
from heartmend.io.label_meaning import own_meaning
from heartmend.io.label_writing import check_writable, write_labels_like
from heartmend.io.volume import read_image
from heartmend.metrics.evaluation import EvaluationSettings
from heartmend.pipelines.evaluate import evaluate_folders
from heartmend.quality.check import check_data_set
from support.bad_files import header_changed
from support.grids import grids
from support.volumes import save_itk, save_nifti, some_labels

HEART = load_anatomy("heart")
OWN = own_meaning(HEART)
AFFINE = np.diag([0.5, 0.75, 2.0, 1.0])


class TestUnits:
    """Units of length."""

    @pytest.mark.parametrize(("code", "mm"), [(1, 1000.0), (2, 1.0), (3, 0.001), (0, 1.0)])
    def test_a_unit_of_nifti_is_followed(self, tmp_path: Path, code: int, mm: float) -> None:
        image = nib.Nifti1Image(some_labels(), np.diag([0.5 / mm, 0.75 / mm, 2 / mm, 1]))
        image.header.set_xyzt_units(code)
        nib.save(image, tmp_path / "1.nii.gz")
        volume = read_labels(tmp_path / "1.nii.gz", HEART)
        assert np.allclose(volume.grid.affine, AFFINE)
        assert [("converted to mm" in text) for text in volume.warnings] == [True] * (mm != 1)
        write_labels_like(volume.labels, tmp_path / "1.nii.gz", tmp_path / "out.nii.gz", OWN)
        assert nib.load(tmp_path / "out.nii.gz").header == image.header

    def test_a_unit_that_nifti_does_not_define_is_a_warning(self, tmp_path: Path) -> None:
        # 13 = 8 + 5: seconds, and no unit of length.
        (warning,) = read_labels(header_changed(tmp_path / "1.nii.gz", xyzt_units=13), HEART).warnings
        assert "its code for the unit of length, 5 (xyzt_units)" in warning

    @pytest.mark.parametrize(("code", "unit"), [(1, "metres"), (3, "micrometres")])
    def test_a_unit_that_makes_the_spacing_impossible_is_named(self, tmp_path: Path, code: int, unit: str) -> None:
        path = header_changed(tmp_path / "1.nii.gz", xyzt_units=code)
        with pytest.raises(BadInputError, match=rf"its unit of length is {unit} \(xyzt_units\), so its voxels have"):
            read_labels(path, HEART)

    @pytest.mark.parametrize(
        ("text", "mm"),
        [('"mm" "mm" "mm"', 1.0), ('"um" "um" "um"', 0.001), ('"µm" "µm" "µm"', 0.001), ('"m" "m" "m"', 1000.0),
         ('"" "" ""', 1.0)],
    )  # fmt: skip
    def test_a_unit_of_nrrd_is_followed(self, tmp_path: Path, text: str, mm: float) -> None:
        head = (
            "NRRD0005\ntype: uint8\ndimension: 3\nsizes: 7 6 5\nencoding: raw\nspace: right-anterior-superior\n"
            f"space directions: ({0.5 / mm},0,0) (0,{0.75 / mm},0) (0,0,{2 / mm})\nspace units: {text}\n"
            "space origin: (0,0,0)\n\n"
        )
        (tmp_path / "1.nrrd").write_bytes(head.encode() + some_labels().ravel(order="F").tobytes())
        volume = read_labels(tmp_path / "1.nrrd", HEART)
        assert np.allclose(volume.grid.affine, AFFINE) and np.array_equal(volume.labels, some_labels())

    def test_an_unknown_unit_is_named(self, tmp_path: Path) -> None:
        path = save_itk(tmp_path / "1.nrrd", some_labels(), packed=False)
        content = path.read_bytes().replace(b"\nkinds:", b'\nspace units: "inch" "inch" "inch"\nkinds:', 1)
        path.write_bytes(content)
        with pytest.raises(BadInputError, match=r"its unit of length is inch \(space units\)"):
            read_labels(path, HEART)


class TestWritable:
    """Reader and writer have the same tolerances."""

    def test_a_slope_of_ten_through_32767_is_read_and_written(self, tmp_path: Path) -> None:
        """As of a converter that uses the whole range of int16: 1 is stored as 3277, which is 1.00009."""
        labels, slope = some_labels(), 10 / 32767
        path = save_nifti(tmp_path / "1.nii", np.rint(labels / slope), np.int16)
        raw = bytearray(path.read_bytes())
        raw[112:120] = np.array([slope, 0.0], "<f4").tobytes()
        path.write_bytes(raw)
        volume = read_labels(path, HEART)
        assert np.array_equal(volume.labels, labels)
        check_writable(volume)
        changed = np.where(labels == 3, 9, labels).astype(np.uint8)
        write_labels_like(changed, path, tmp_path / "out.nii", OWN)
        assert np.array_equal(read_labels(tmp_path / "out.nii", HEART).labels, changed)
        assert (tmp_path / "out.nii").read_bytes()[:352] == bytes(raw[:352])

    def test_check_reports_a_file_that_cannot_be_written_back(self, tmp_path: Path) -> None:
        """A slope of 0.4 reads 2.8, which is no whole number: 3 cannot be stored, though 2 and 4 can."""
        labels = np.where(some_labels() > 5, 4, 2)
        path = save_nifti(tmp_path / "1.nii", labels / 0.4, np.int16)
        raw = bytearray(path.read_bytes())
        raw[112:120] = np.array([0.4, 0.0], "<f4").tobytes()
        path.write_bytes(raw)
        volume = read_labels(path, HEART)
        check_writable(volume)
        with pytest.raises(BadInputError, match=r"slope 0\.4 cannot store the values 3"):
            write_labels_like(np.full_like(volume.labels, 3), path, tmp_path / "out.nii", OWN)

    def test_voxels_that_do_not_change_keep_their_bits(self, tmp_path: Path) -> None:
        values = some_labels().astype(np.float32)
        values[values == 3] = 2.9997
        path = save_nifti(tmp_path / "1.nii", values, np.float32)
        volume = read_labels(path, HEART)
        assert np.array_equal(volume.labels, some_labels())
        write_labels_like(volume.labels, path, tmp_path / "out.nii", OWN)
        assert (tmp_path / "out.nii").read_bytes() == path.read_bytes()

    def test_a_stale_extent_is_computed_again(self, tmp_path: Path) -> None:
        """3D Slicer displays nothing outside of it."""
        labels = np.zeros((7, 6, 5), dtype=np.uint8)
        labels[2:4, 2:4, 2:4] = 2
        image = sitk.GetImageFromArray(labels.T)
        for key, value in {"Name": "LA", "LabelValue": "2", "Layer": "0", "Extent": "2 3 2 3 2 3"}.items():
            image.SetMetaData(f"Segment0_{key}", value)
        sitk.WriteImage(image, str(tmp_path / "1.seg.nrrd"))
        volume = read_labels(tmp_path / "1.seg.nrrd", HEART)
        for added, extent in (((3, 3, 3), "2 3 2 3 2 3"), ((6, 0, 4), "2 6 0 3 2 4")):
            repaired = volume.labels.copy()
            repaired[added] = 2
            write_labels_like(repaired, tmp_path / "1.seg.nrrd", tmp_path / "out.seg.nrrd", volume.meaning)
            assert sitk.ReadImage(str(tmp_path / "out.seg.nrrd")).GetMetaData("Segment0_Extent") == extent

    @pytest.mark.parametrize(("degrees", "is_warned"), [(0.001, False), (0.4, True)])
    def test_a_shear_that_itk_does_not_read_is_a_warning(self, tmp_path: Path, degrees: float, is_warned: bool) -> None:
        affine = np.diag([2.0, 2, 2, 1])
        affine[0, 1] = 2 * np.sin(np.radians(degrees))
        image = nib.Nifti1Image(some_labels(), affine)
        image.header.set_qform(None, code=0)
        nib.save(image, tmp_path / "1.nii")
        found = read_labels(tmp_path / "1.nii", HEART).warnings
        assert any("do not read it by its sform" in text for text in found) == is_warned
        try:
            sitk.ReadImage(str(tmp_path / "1.nii"))
        except RuntimeError:
            assert is_warned
        else:
            assert not is_warned


class TestOrientation:
    """Axes in another order and other directions."""

    @given(grids(), st.permutations([0, 1, 2]), st.tuples(st.booleans(), st.booleans(), st.booleans()))
    def test_every_voxel_stays_at_its_position(self, grid: Grid, axes: list[int], flipped: tuple[bool, ...]) -> None:
        orientation = Orientation((axes[0], axes[1], axes[2]), (flipped[0], flipped[1], flipped[2]))
        turned = orientation.apply_to_grid(grid)
        labels = some_labels(grid.shape)
        found = grid.orientation_to(turned)
        assert found is not None and np.array_equal(found.apply(labels), orientation.apply(labels))
        back = turned.orientation_to(grid)
        assert back is not None and np.array_equal(back.apply(orientation.apply(labels)), labels)
        place = turned.index_to_world((0, 0, 0))
        index = np.rint(grid.world_to_index(place)).astype(int)
        assert orientation.apply(labels)[0, 0, 0] == labels[tuple(index)]

    def test_grids_with_other_voxels_have_none(self) -> None:
        grid = Grid((4, 5, 6), np.eye(4))
        assert grid.orientation_to(Grid((4, 5, 5), np.eye(4))) is None
        assert grid.orientation_to(Grid((4, 5, 6), np.diag([1.1, 1, 1, 1]))) is None

    def test_evaluate_compares_maps_that_differ_in_the_order_of_axes(self, tmp_path: Path) -> None:
        image = nib.Nifti1Image(some_labels((12, 10, 8)), AFFINE)
        for folder, turned in (("a", image), ("b", nib.as_closest_canonical(image)), ("c", None)):
            (tmp_path / folder).mkdir()
            if turned is None:
                codes = nib.orientations.axcodes2ornt(("P", "S", "L"))
                turned = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(AFFINE), codes))
            nib.save(turned, tmp_path / folder / "1.nii.gz")
        found = evaluate_folders(
            tmp_path / "a", tmp_path / "c", HEART, tmp_path / "b", EvaluationSettings(metrics=["dice"], workers=1)
        )
        assert not found.skipped
        assert {value for row in found.rows for key, value in row.values.items() if key.startswith("dice")} == {1.0}

    def test_a_ct_with_other_axes_is_not_resampled(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        values = np.random.default_rng(0).integers(-1000, 900, (6, 5, 4)).astype(np.int16)
        image = nib.Nifti1Image(values, AFFINE)
        codes = nib.orientations.axcodes2ornt(("I", "L", "A"))
        turned = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(AFFINE), codes))
        nib.save(turned, tmp_path / "ct.nii.gz")
        read = read_image(tmp_path / "ct.nii.gz", Grid((6, 5, 4), AFFINE))
        assert np.array_equal(read.values, values) and not caplog.text


class TestNnunet:
    """nnU-Net and the Decathlon."""

    def data_set(self, folder: Path, labels: object, names: tuple[str, ...] = ("1.nii.gz",)) -> Path:
        for name in names:
            save_nifti(folder / "labelsTr" / name, some_labels() % 4, affine=AFFINE)
        (folder / "imagesTr").mkdir()
        table = {"labels": labels, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}}
        (folder / "dataset.json").write_text(json.dumps(table))
        return folder

    def test_a_name_that_ends_with_0000_is_that_of_a_case(self, tmp_path: Path) -> None:
        folder = self.data_set(tmp_path, {"background": 0, "LA": 1, "LV": 2, "RA": 3}, ("a_0000.nii.gz", "a.nii.gz"))
        save_nifti(folder / "imagesTr" / "a_0000_0000.nii.gz", np.zeros((7, 6, 5)), np.int16, AFFINE)
        for given_folder in (folder, folder / "labelsTr"):
            cohort = discover_cohort(given_folder, folder / "imagesTr", anatomy=HEART)
            assert [case.id for case in cohort] == ["a", "a_0000"]
            assert cohort["a_0000"].image_path == folder / "imagesTr" / "a_0000_0000.nii.gz"
            assert cohort["a"].image_path is None

    def test_endings_in_upper_case_belong_to_the_set(self, tmp_path: Path) -> None:
        folder = self.data_set(tmp_path, {"background": 0, "LA": 1, "LV": 2, "RA": 3}, ("1.NII.GZ", "2.nii.gz"))
        assert [case.id for case in discover_cohort(folder, anatomy=HEART)] == ["1", "2"]

    def test_the_table_of_the_decathlon(self, tmp_path: Path) -> None:
        folder = self.data_set(tmp_path, {"0": "background", "1": "left ventricle", "2": "LA", "3": "myocardium"})
        cohort = discover_cohort(folder, anatomy=HEART)
        labels = cohort.read_labels(cohort["1"]).labels
        assert np.array_equal(labels, np.array([0, 3, 2, 1])[some_labels() % 4])

    def test_a_region_is_repaired_as_its_parts(self, tmp_path: Path) -> None:
        labels = {"background": 0, "heart": [1, 2, 3], "LA": 1, "LV": [2], "RA": 3}
        cohort = discover_cohort(self.data_set(tmp_path, labels), anatomy=HEART)
        found = cohort.read_labels(cohort["1"]).labels
        assert np.array_equal(found, np.array([0, 2, 3, 4])[some_labels() % 4])

    def test_a_region_with_an_id_without_a_name_is_an_error_until_it_has_one(self, tmp_path: Path) -> None:
        folder = self.data_set(tmp_path, {"background": 0, "left heart": [1, 2], "RA": 3, "LA": 1})
        with pytest.raises(BadInputError, match=r"'left heart' is a region of ids \[1, 2\], of which \[2\]"):
            discover_cohort(folder, anatomy=HEART)
        cohort = discover_cohort(folder, anatomy=HEART, ids={1: "LA", 2: "LV", 3: "RA"})
        assert np.array_equal(cohort.read_labels(cohort["1"]).labels, np.array([0, 2, 3, 4])[some_labels() % 4])

    def test_the_label_ignore_stays_and_is_named(self, tmp_path: Path) -> None:
        cohort = discover_cohort(
            self.data_set(tmp_path, {"background": 0, "LA": 1, "LV": 2, "ignore": 3}), anatomy=HEART
        )
        volume = cohort.read_labels(cohort["1"])
        assert any("value 3 is the label 'ignore'" in text for text in volume.warnings)
        cohort.write_labels(cohort["1"], volume.labels * 0 + 2, tmp_path / "out.nii.gz", volume.unknown)
        written = np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj)
        assert np.array_equal(written, np.where(some_labels() % 4 == 3, 3, 1))

    def test_an_empty_folder_of_images_is_no_images(self, tmp_path: Path) -> None:
        cohort = discover_cohort(self.data_set(tmp_path, {"background": 0, "LA": 1, "LV": 2, "RA": 3}), anatomy=HEART)
        assert cohort["1"].image_path is None


class TestHounsfield:
    """The offset of a CT."""

    HEART_BOX = (slice(4, 8), slice(4, 8), slice(4, 8))

    def ct(self) -> np.ndarray:
        """Air around a body of soft tissue with contrast medium in the middle."""
        rng = np.random.default_rng(0)
        hu = np.full((12, 12, 12), -1000.0)
        hu[2:10, 2:10, :] = 50
        hu[self.HEART_BOX] = 350
        return hu + rng.normal(0, 15, hu.shape)

    def test_the_offset_is_missing_with_and_without_a_label_map(self) -> None:
        inside = np.zeros((12, 12, 12), dtype=bool)
        inside[self.HEART_BOX] = True
        for mask in (inside, None):
            assert hu_warnings(self.ct(), mask) == []
            (text,) = hu_warnings(self.ct() + 1024, mask)
            assert "offset of -1024 is missing" in text

    def test_a_part_of_a_ct_without_air_and_one_of_bone_are_accepted(self) -> None:
        inside = np.ones((4, 4, 4), dtype=bool)
        assert hu_warnings(self.ct()[self.HEART_BOX], inside) == []
        assert hu_warnings(np.full((4, 4, 4), 1200)) == []

    def test_check_tells_it(self, tmp_path: Path) -> None:
        labels = np.zeros((12, 12, 12), dtype=np.uint8)
        labels[self.HEART_BOX] = 3
        for id, offset in (("1", 0), ("2", 1024)):
            save_nifti(tmp_path / "l" / f"{id}.nii.gz", labels, affine=AFFINE)
            save_nifti(tmp_path / "i" / f"{id}.nii.gz", self.ct() + offset, np.int16, AFFINE)
        report = check_data_set(tmp_path / "l", tmp_path / "i", HEART, workers=1)
        warned = {case.id for case in report.cases for finding in case.findings if "-1024 is missing" in finding.text}
        assert warned == {"2"}
