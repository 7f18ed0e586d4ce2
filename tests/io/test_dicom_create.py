"""New DICOM segmentations and structure sets, read with highdicom, pydicom and our own reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
hd = pytest.importorskip("highdicom", reason="the extra dicom is not installed")

from heartmend.anatomy.load import load_anatomy  # noqa: E402
from heartmend.errors import BadInputError  # noqa: E402
from heartmend.io.dicom.create import NewSegment, create_segmentation, create_structure_set  # noqa: E402
from heartmend.io.dicom.series import Series, find_series  # noqa: E402
from heartmend.io.label_maps import read_labels  # noqa: E402
from support.dicom import NORMAL, ORIENTATION, ORIGIN, SPACING_MM, read_seg, write_series  # noqa: E402

HEART = load_anatomy("heart")
SHAPE = (12, 10, 7)


@pytest.fixture
def masks() -> dict[str, np.ndarray]:
    lv, la, rv = np.zeros((3, *SHAPE), dtype=bool)
    lv[2:7, 2:8, 1:5] = True
    # A hole that reaches the outside nowhere in its slice.
    lv[4, 4, 2] = False
    la[8:11, 1:4, 3:6] = True
    return {"LV": lv, "LA": la, "RV": rv}


@pytest.fixture
def series(tmp_path: Path) -> Series:
    write_series(tmp_path / "ct", np.zeros(SHAPE))
    found = find_series(tmp_path / "ct")
    assert found is not None
    return found


def segments(masks: dict[str, np.ndarray]) -> list[NewSegment]:
    structures = [HEART.by_name(name) for name in masks]
    return [NewSegment(s.name, s.terminology, s.colour, masks[s.name]) for s in structures]


def test_a_new_segmentation(tmp_path: Path, series: Series, masks: dict[str, np.ndarray]) -> None:
    path = tmp_path / "ct" / "seg.dcm"
    create_segmentation(path, series, segments(masks))
    found = read_seg(path, SHAPE)
    # The RV has no voxel.
    assert found.keys() == {"LV", "LA"}
    assert all(np.array_equal(found[name], masks[name]) for name in found)
    dataset = hd.seg.segread(path)
    description = dataset.get_segment_description(1)
    assert description.segmented_property_type == hd.sr.CodedConcept("87878005", "SCT", "Left ventricle")
    assert description.segmented_property_category.value == "123037004"
    assert (description.algorithm_type.value, description.algorithm_identification.name) == (
        "SEMIAUTOMATIC",
        "Heartmend",
    )
    assert dataset.PatientID == "7" and dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == series.uid
    # Our own reader.
    volume = read_labels(path, HEART, series=tmp_path / "ct")
    assert volume.grid.is_close(series.grid)
    assert np.array_equal(volume.labels, np.where(masks["LV"], 3, np.where(masks["LA"], 2, 0)))
    # The same masks are the same object; others are another one.
    again = tmp_path / "again.dcm"
    create_segmentation(again, series, segments(masks))
    assert pydicom.dcmread(again).SOPInstanceUID == dataset.SOPInstanceUID
    create_segmentation(again, series, segments({**masks, "RV": masks["LA"] & False, "LA": np.roll(masks["LA"], 1)}))
    assert pydicom.dcmread(again).SOPInstanceUID != dataset.SOPInstanceUID


def test_a_new_structure_set(tmp_path: Path, series: Series, masks: dict[str, np.ndarray]) -> None:
    path = tmp_path / "ct" / "rs.dcm"
    create_structure_set(path, series, segments(masks))
    dataset = pydicom.dcmread(path)
    assert dataset.Modality == "RTSTRUCT" and dataset.PatientID == "7"
    assert [(roi.ROINumber, roi.ROIName) for roi in dataset.StructureSetROISequence] == [(1, "LV"), (2, "LA")]
    assert list(dataset.ROIContourSequence[0].ROIDisplayColor) == [166, 12, 10]
    code = dataset.RTROIObservationsSequence[1].RTROIIdentificationCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("82471001", "SCT")
    (study,) = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence
    assert len(study.RTReferencedSeriesSequence[0].ContourImageSequence) == SHAPE[2]
    # Each contour is on the plane of the image that it refers to, and around the voxels of the mask.
    places = {
        str(i.SOPInstanceUID): np.array(i.ImagePositionPatient, float) for i in map(pydicom.dcmread, series.paths)
    }
    axes = np.array([np.array(ORIENTATION[:3]) / SPACING_MM[0], np.array(ORIENTATION[3:]) / SPACING_MM[1]])
    area = np.zeros(SHAPE[2])
    for contour in dataset.ROIContourSequence[0].ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        position = places[str(contour.ContourImageSequence[0].ReferencedSOPInstanceUID)]
        assert np.abs((points - position) @ NORMAL).max() < 2e-3
        at = round(float((position - ORIGIN) @ NORMAL / SPACING_MM[2]))
        x, y = axes @ (points - position).T
        size = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        area[at] += -size if size < 1 else size
    # An outline half-way between the voxels cuts the corners: 4 triangles of 1/8 voxel; the hole is a diamond of 1/2.
    assert area == pytest.approx([0, 29.5, 29.0, 29.5, 29.5, 0, 0], abs=0.02)
    volume = read_labels(path, HEART, series=tmp_path / "ct")
    assert np.array_equal(volume.labels, np.where(masks["LV"], 3, np.where(masks["LA"], 2, 0)))


def test_nothing_to_write_is_an_error(tmp_path: Path, series: Series, masks: dict[str, np.ndarray]) -> None:
    for create in (create_segmentation, create_structure_set):
        with pytest.raises(BadInputError, match="no structure has a voxel"):
            create(tmp_path / "x.dcm", series, segments({"RV": masks["RV"]}))
        assert not (tmp_path / "x.dcm").exists()
