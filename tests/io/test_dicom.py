"""DICOM: a CT series, SEG and RTSTRUCT, read and written back, and opened by highdicom, pydicom and SimpleITK."""

from __future__ import annotations

import os
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import BadInputError
from heartmend.io.dataset import discover_cohort
from heartmend.io.dicom.files import is_dicom, read_dicom_folder
from heartmend.io.itk import LPS_TO_RAS
from heartmend.io.volume import read_image
from support.dicom import (
    NORMAL,
    ORIENTATION,
    ORIGIN,
    SPACING_MM,
    pydicom,
    read_seg,
    write_rtstruct,
    write_seg,
    write_series,
)

HEART = load_anatomy("heart")
SHAPE = (12, 9, 6)
LA, LV, LAA = 2, 3, 8


def hu() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 400, SHAPE).astype(np.int16)


def masks() -> dict[str, np.ndarray]:
    """LA and LAA overlap in 8 voxels; the first and the last slice are empty."""
    atrium, appendage, spleen = (np.zeros(SHAPE, dtype=bool) for _ in range(3))
    atrium[1:6, 1:5, 1:4], appendage[4:8, 3:7, 2:4], spleen[10:, 6:, 4] = True, True, True
    return {"left atrium": atrium, "LAA": appendage, "spleen": spleen}


def expected() -> np.ndarray:
    found = masks()
    return np.where(found["LAA"], LAA, np.where(found["left atrium"], LA, 0))


class TestSeries:
    """CT as a DICOM series."""

    def test_positions_give_the_grid_and_the_rescale_gives_hu(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path / "ct", hu())
        image = read_image(tmp_path / "ct")
        assert np.array_equal(image.values, hu()) and image.values.dtype == np.int16
        assert np.allclose(image.grid.spacing_mm, SPACING_MM, atol=1e-5)
        row, column = np.array(ORIENTATION[:3]), np.array(ORIENTATION[3:])
        place = ORIGIN + 3 * SPACING_MM[0] * row + 2 * SPACING_MM[1] * column + 4 * SPACING_MM[2] * NORMAL
        assert np.allclose(image.grid.index_to_world((3, 2, 4)), LPS_TO_RAS @ place, atol=1e-4)
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames([str(paths[number]) for number in range(SHAPE[2])])
        other = reader.Execute()
        assert np.array_equal(sitk.GetArrayFromImage(other).T, image.values)
        assert np.allclose(
            LPS_TO_RAS @ other.TransformIndexToPhysicalPoint((3, 2, 4)), image.grid.index_to_world((3, 2, 4))
        )

    def test_a_missing_slice_and_one_that_is_there_twice_are_errors(self, tmp_path: Path) -> None:
        write_series(tmp_path / "gap", hu(), skipped=(3,))
        with pytest.raises(BadInputError, match=r"gap: its slices are 2\.000 mm apart, but 4\.000 mm after.*missing"):
            read_image(tmp_path / "gap")
        path = write_series(tmp_path / "twice", hu())[2]
        (tmp_path / "twice" / "copy").write_bytes(path.read_bytes())
        with pytest.raises(BadInputError, match="two images at the position"):
            read_image(tmp_path / "twice")

    def test_a_series_belongs_to_a_case_by_the_name_of_its_folder(self, tmp_path: Path) -> None:
        from support.volumes import save_nifti

        write_series(tmp_path / "cts" / "7", hu())
        affine = read_image(tmp_path / "cts" / "7").grid.affine
        save_nifti(tmp_path / "labels" / "7.nii.gz", expected(), affine=affine)
        cohort = discover_cohort(tmp_path / "labels", tmp_path / "cts", anatomy=HEART)
        volume = cohort.read_labels(cohort["7"])
        image = cohort.read_image(cohort["7"], volume.grid)
        assert image is not None and np.array_equal(image.values, hu())
        assert cohort.check_image(cohort["7"], volume.grid) == ()

    def test_a_damaged_file_is_an_error_that_names_no_patient(self, tmp_path: Path) -> None:
        path = write_series(tmp_path / "ct", hu())[1]
        path.write_bytes(path.read_bytes()[:700])
        with pytest.raises(BadInputError) as error:
            read_image(tmp_path / "ct")
        assert "Jane" not in str(error.value) and str(tmp_path) in str(error.value)


class TestSegmentation:
    """DICOM SEG."""

    @pytest.mark.parametrize("with_series", [True, False])
    def test_it_comes_back_as_seg_with_the_same_references(self, tmp_path: Path, with_series: bool) -> None:
        series = write_series((tmp_path / "in" / "7" / "ct") if with_series else tmp_path / "elsewhere", hu())
        path = tmp_path / "in" / "7" / "seg.dcm"
        write_seg(path, masks(), series)
        cohort = discover_cohort(tmp_path / "in", anatomy=HEART)
        case = cohort["7"]
        volume = cohort.read_labels(case)
        # Without the series the grid ends where the structures do.
        part = slice(None) if with_series else slice(1, 5)
        assert np.array_equal(volume.labels, expected()[..., part])
        assert any("8 voxels are in the masks of LAA and LA" in text for text in volume.warnings)
        cohort.check_writable(volume)

        labels = volume.labels.copy()
        labels[0, 0, 0] = labels[11, 8, -1] = LA
        labels[5, 4, 2] = LA
        cohort.write_labels(case, labels, tmp_path / "out" / "7")
        result = tmp_path / "out" / "7" / "seg.dcm"
        assert [p.name for p in (tmp_path / "out" / "7").iterdir()] == ["seg.dcm"]
        found = read_seg(result, SHAPE)
        assert np.array_equal(found["left atrium"][..., part], labels == LA)
        assert np.array_equal(found["LAA"][..., part], labels == LAA)
        assert np.array_equal(found["spleen"], masks()["spleen"])
        before, after = pydicom.dcmread(path), pydicom.dcmread(result)
        differing = {element.keyword for element in before if element != after.get(element.tag)}
        assert differing <= {"SOPInstanceUID", "SeriesInstanceUID", "NumberOfFrames", "PixelData",
                             "PerFrameFunctionalGroupsSequence"}  # fmt: skip
        assert np.array_equal(cohort.read_other_labels(case, tmp_path / "out" / "7").labels, labels)
        if with_series:
            images = {str(pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID) for p in series}
            for frame in after.PerFrameFunctionalGroupsSequence:
                source = frame.DerivationImageSequence[0].SourceImageSequence[0]
                assert str(source.ReferencedSOPInstanceUID) in images

    def test_an_unchanged_one_is_the_same_file(self, tmp_path: Path) -> None:
        path = tmp_path / "in" / "7" / "seg.dcm"
        disjoint = {"LA": masks()["left atrium"], "spleen": masks()["spleen"]}
        write_seg(path, disjoint, write_series(tmp_path / "in" / "7" / "ct", hu()))
        cohort = discover_cohort(tmp_path / "in", anatomy=HEART)
        cohort.write_labels(cohort["7"], cohort.read_labels(cohort["7"]).labels, tmp_path / "out" / "7")
        assert (tmp_path / "out" / "7" / "seg.dcm").read_bytes() == path.read_bytes()

    def test_a_folder_of_files_is_a_cohort(self, tmp_path: Path) -> None:
        series = write_series(tmp_path / "elsewhere", hu())
        for id in ("1", "2"):
            write_seg(tmp_path / "in" / f"{id}.dcm", masks(), series)
        cohort = discover_cohort(tmp_path / "in", anatomy=HEART)
        assert [case.id for case in cohort] == ["1", "2"]
        assert np.array_equal(cohort.read_labels(cohort["2"]).labels, expected()[..., 1:5])

    def test_a_label_map_segmentation(self, tmp_path: Path) -> None:
        series = write_series(tmp_path / "in" / "7" / "ct", hu())
        disjoint = {"LA": masks()["left atrium"] & ~masks()["LAA"], "LAA": masks()["LAA"]}
        write_seg(tmp_path / "in" / "7" / "seg.dcm", disjoint, series, "LABELMAP")
        cohort = discover_cohort(tmp_path / "in", anatomy=HEART)
        labels = cohort.read_labels(cohort["7"]).labels.copy()
        assert np.array_equal(labels, expected())
        labels[0, 0, 2] = LAA
        cohort.write_labels(cohort["7"], labels, tmp_path / "out" / "7")
        assert np.array_equal(cohort.read_other_labels(cohort["7"], tmp_path / "out" / "7").labels, labels)


class TestStructureSet:
    """RTSTRUCT."""

    CONTOURS = {  # noqa: RUF012
        # Columns 2 to 5 and rows 1 to 3 of slice 2, with a hole at column 3, row 2; a triangle in slice 3.
        "Left Atrium": [
            (2, [(1.5, 0.5), (5.5, 0.5), (5.5, 3.5), (1.5, 3.5)]),
            (2, [(2.5, 1.5), (3.5, 1.5), (3.5, 2.5), (2.5, 2.5)]),
            (3, [(0.5, 0.5), (4.9, 0.5), (0.5, 4.9)]),
        ],
        "Spleen": [(4, [(8.5, 5.5), (11.4, 5.5), (11.4, 7.5)])],
    }

    def truth(self) -> np.ndarray:
        labels = np.zeros(SHAPE, dtype=np.uint8)
        labels[2:6, 1:4, 2], labels[3, 2, 2] = LA, 0
        for x in range(1, 5):
            labels[x, 1 : 6 - x, 3] = LA  # x + y < 5.4
        return labels

    def test_contours_are_read_by_the_centres_of_the_voxels_and_come_back(self, tmp_path: Path) -> None:
        series = write_series(tmp_path / "in" / "7" / "ct", hu())
        path = tmp_path / "in" / "7" / "rs.dcm"
        write_rtstruct(path, self.CONTOURS, series)
        cohort = discover_cohort(tmp_path / "in", anatomy=HEART)
        case = cohort["7"]
        labels = cohort.read_labels(case).labels.copy()
        assert np.array_equal(labels, self.truth())

        labels[3, 2, 2], labels[9, 7, 5], labels[4, 3, 2] = LA, LA, 0
        cohort.write_labels(case, labels, tmp_path / "out" / "7")
        result = tmp_path / "out" / "7" / "rs.dcm"
        assert np.array_equal(cohort.read_other_labels(case, tmp_path / "out" / "7").labels, labels)
        before, after = pydicom.dcmread(path), pydicom.dcmread(result)
        assert {element.keyword for element in before if element != after.get(element.tag)} == {
            "SOPInstanceUID", "SeriesInstanceUID", "ROIContourSequence",
        }  # fmt: skip
        atrium, spleen = after.ROIContourSequence
        assert spleen == before.ROIContourSequence[1]
        # The contour of the slice that did not change.
        assert before.ROIContourSequence[0].ContourSequence[2] in list(atrium.ContourSequence)
        images = {str(pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID) for p in series}
        assert {str(c.ContourImageSequence[0].ReferencedSOPInstanceUID) for c in atrium.ContourSequence} <= images

    def test_a_contour_of_more_than_64_kib_is_read(self, tmp_path: Path) -> None:
        folder = tmp_path / "in" / "7"
        angles = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
        circle = [(5.5 + 3 * np.cos(a), 4.5 + 3 * np.sin(a)) for a in angles]
        write_rtstruct(folder / "rs.dcm", {"left atrium": [(2, circle)]}, write_series(folder / "ct", hu()))
        cohort = discover_cohort(tmp_path / "in", anatomy=HEART)
        found = cohort.read_labels(cohort["7"]).labels == LA
        x, y, z = np.indices(SHAPE)
        assert np.array_equal(found, ((x - 5.5) ** 2 + (y - 4.5) ** 2 < 9) & (z == 2))

    def test_without_its_series_it_is_an_error(self, tmp_path: Path) -> None:
        write_rtstruct(tmp_path / "in" / "7" / "rs.dcm", self.CONTOURS, write_series(tmp_path / "elsewhere", hu()))
        cohort = discover_cohort(tmp_path / "in", anatomy=HEART)
        with pytest.raises(BadInputError, match=r"rs\.dcm: its series of images is missing"):
            cohort.read_labels(cohort["7"])

    def test_the_series_can_be_in_the_folder_of_images(self, tmp_path: Path) -> None:
        write_rtstruct(tmp_path / "in" / "7" / "rs.dcm", self.CONTOURS, write_series(tmp_path / "cts" / "7", hu()))
        cohort = discover_cohort(tmp_path / "in", tmp_path / "cts", anatomy=HEART)
        assert np.array_equal(cohort.read_labels(cohort["7"]).labels, self.truth())


class TestLies:
    """Files that describe what they do not contain, or give two things one number."""

    def seg(self, folder: Path) -> Path:
        write_seg(folder / "in" / "7.dcm", masks(), write_series(folder / "ct", hu()))
        return folder / "in" / "7.dcm"

    def refuse(self, path: Path, match: str) -> None:
        with pytest.raises(BadInputError, match=match) as found:
            cohort = discover_cohort(path.parent, anatomy=HEART, unknown_labels="keep")
            cohort.check_writable(cohort.read_labels(cohort["7"]))
        assert "Jane" not in str(found.value)

    def test_a_file_that_inflates_to_gigabytes(self, tmp_path: Path) -> None:
        path = self.seg(tmp_path)
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        dataset.save_as(path)
        length = pydicom.filereader.read_file_meta_info(path).FileMetaInformationGroupLength
        head = path.read_bytes()[: 144 + length]
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
        path.write_bytes(head + block * 3000 + packer.flush())
        tracemalloc.start()
        self.refuse(path, r"7\.dcm: its compressed content has more than 256 MiB")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 50e6

    def test_a_deflated_file_is_read(self, tmp_path: Path) -> None:
        path = self.seg(tmp_path)
        before = discover_cohort(path.parent, anatomy=HEART, unknown_labels="keep")
        labels = before.read_labels(before["7"]).labels
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        dataset.save_as(path)
        after = discover_cohort(path.parent, anatomy=HEART, unknown_labels="keep")
        assert np.array_equal(after.read_labels(after["7"]).labels, labels)

    @pytest.mark.parametrize("frames", [10**6, 3])
    def test_another_number_of_frames(self, tmp_path: Path, frames: int) -> None:
        path = self.seg(tmp_path)
        dataset = pydicom.dcmread(path)
        dataset.NumberOfFrames = frames
        dataset.save_as(path)
        self.refuse(path, rf"7\.dcm: states {frames} frames and describes")

    @pytest.mark.parametrize(("number", "match"), [(1, "two segments with one number"), (0, "with the number 0")])
    def test_segments_without_a_number_of_their_own(self, tmp_path: Path, number: int, match: str) -> None:
        path = self.seg(tmp_path)
        dataset = pydicom.dcmread(path)
        dataset.SegmentSequence[0].SegmentNumber = dataset.SegmentSequence[1].SegmentNumber = number
        dataset.save_as(path)
        self.refuse(path, match)

    def test_frames_that_are_very_far_apart(self, tmp_path: Path) -> None:
        path = self.seg(tmp_path)
        dataset = pydicom.dcmread(path)
        measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SpacingBetweenSlices = measures.SliceThickness = 0.0005
        dataset.save_as(path)
        self.refuse(path, r"span \d+ slices, the limit is 5000")

    @pytest.mark.parametrize("number", [2**31 - 1, 70_000, 0, -5])
    def test_structures_with_impossible_numbers(self, tmp_path: Path, number: int) -> None:
        path = tmp_path / "in" / "7" / "rs.dcm"
        write_rtstruct(path, TestStructureSet.CONTOURS, write_series(path.parent / "ct", hu()))
        dataset = pydicom.dcmread(path)
        dataset.StructureSetROISequence[0].ROINumber = dataset.ROIContourSequence[0].ReferencedROINumber = number
        dataset.save_as(path)
        self.refuse(path.parent, f"a structure with the number {number}")

    @pytest.mark.parametrize(
        ("points", "match"), [(["1e30"] * 12, "nowhere in space"), (["1"] * 90_000, "30000 points")]
    )
    def test_contours_that_are_nowhere_or_endless(self, tmp_path: Path, points: list[str], match: str) -> None:
        path = tmp_path / "in" / "7" / "rs.dcm"
        write_rtstruct(path, TestStructureSet.CONTOURS, write_series(path.parent / "ct", hu()))
        dataset = pydicom.dcmread(path)
        dataset.ROIContourSequence[0].ContourSequence[0].ContourData = points
        dataset.save_as(path)
        self.refuse(path.parent, match)


def test_a_folder_with_more_files_than_a_study_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heartmend.io.dicom.files._MAX_FILES", 20)
    for n in range(21):
        (tmp_path / "in" / str(n // 4)).mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / str(n // 4) / f"{n}.bin").touch()
    with pytest.raises(BadInputError, match="in: has more than 20 files or 2000 folders"):
        read_dicom_folder(tmp_path / "in")
    assert read_dicom_folder(tmp_path / "in", deep=False).series == {}


def test_what_is_no_file_is_no_dicom_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    assert not any(map(is_dicom, (tmp_path, tmp_path / "pipe", tmp_path / "link", Path("/dev/zero"))))
    path = write_series(tmp_path / "ct", hu())[0]
    (tmp_path / "linked").symlink_to(path)
    assert is_dicom(path) and is_dicom(tmp_path / "linked")


def test_an_image_alone_is_no_label_map(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "7", hu())
    with pytest.raises(BadInputError, match=r"no label map itself; 7/ below has images"):
        discover_cohort(tmp_path / "in", anatomy=HEART)


@pytest.mark.parametrize("name", ["seg.dcm", "rs.dcm", "ct"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_damage_is_read_or_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    series = write_series(folder / "7" / "ct", hu())
    if name == "rs.dcm":
        write_rtstruct(folder / "7" / name, TestStructureSet.CONTOURS, series)
    else:
        write_seg(folder / "7" / "seg.dcm", masks(), series)
    path = series[2] if name == "ct" else folder / "7" / name
    raw = bytearray(path.read_bytes())
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(0, 255)), max_size=5)):
        raw[at % len(raw)] = value
    share = data.draw(st.just(1.0) | st.floats(0, 1))
    path.write_bytes(raw[: int(share * len(raw))])
    message = ""
    try:
        cohort = discover_cohort(folder, anatomy=HEART, unknown_labels="keep")
        volume = cohort.read_labels(cohort["7"])
        cohort.read_image(cohort["7"], volume.grid)
        cohort.check_writable(volume)
        cohort.write_labels(cohort["7"], volume.labels, folder / "out" / "7", volume.unknown)
    except BadInputError as error:
        message = str(error)
    assert "Jane" not in message
