"""New DICOM segmentations (SEG) and structure sets (RTSTRUCT) of an image series."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.color import rgb2lab

from heartmend.errors import BadInputError
from heartmend.io.atomic import atomic_write
from heartmend.io.dicom.files import dicom_errors, import_pydicom, read_dataset
from heartmend.io.dicom.series import Series
from heartmend.io.dicom.structure_set import contour_data, outlines
from heartmend.io.dicom.writing import write_dataset
from heartmend.types import Mask
from heartmend.version import __version__

if TYPE_CHECKING:
    from pydicom import Dataset

    from heartmend.anatomy.schema import Term

_CATEGORY = ("123037004", "SCT", "Anatomical Structure")
# Of the modules Patient, General Study and Frame of Reference, which are the same for all objects of a study.
_OF_THE_STUDY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "StudyID", "AccessionNumber", "FrameOfReferenceUID", "PositionReferenceIndicator",
)  # fmt: skip
_DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"
_SERIES_NUMBER = 900


@dataclass(frozen=True, eq=False)
class NewSegment:
    """A structure that is written as a segment.

    Attributes:
        name: its label.
        term: its code; None: that of any anatomical structure.
        colour: red, green, blue, 0 to 255.
        mask: (x, y, z) bool, on the voxels of the series.
    """

    name: str
    term: Term | None
    colour: tuple[int, int, int]
    mask: Mask


def create_segmentation(path: Path, series: Series, segments: Sequence[NewSegment]) -> None:
    """Write masks that do not overlap atomically as a DICOM segmentation (SEG, binary), one segment for each.

    The same series and masks give the same UIDs.

    Args:
        path: the file (.dcm).
        series: the series that was segmented.
        segments: the segments; those without voxels are left out.

    Raises:
        BadInputError: if highdicom is not installed, no segment has a voxel, or the series lacks an attribute.
        OutputError: if the system cannot write it.
    """
    highdicom = _import_highdicom()
    segments = _with_voxels(segments, series)
    images = [read_dataset(p, with_pixels=False) for p in series.paths]
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="Heartmend", version=__version__,
        family=highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
    )  # fmt: skip
    values = np.zeros(series.grid.shape, dtype=np.uint8)
    descriptions = []
    for number, segment in enumerate(segments, start=1):
        values[segment.mask] = number
        code = _CATEGORY if segment.term is None else (segment.term.code, segment.term.scheme, segment.term.meaning)
        lightness, a, b = rgb2lab(np.array(segment.colour, dtype=np.float64)[None] / 255)[0].tolist()
        descriptions.append(
            highdicom.seg.SegmentDescription(
                number, segment.name, highdicom.sr.CodedConcept(*_CATEGORY), highdicom.sr.CodedConcept(*code),
                algorithm_type="SEMIAUTOMATIC", algorithm_identification=algorithm,
                display_color=highdicom.color.CIELabColor(lightness, a, b),
            )
        )  # fmt: skip
    series_uid, instance_uid = _uids("SEG", series, segments)
    with dicom_errors(series.paths[0]):
        dataset = highdicom.seg.Segmentation(
            images, np.ascontiguousarray(values.T), "BINARY", descriptions, series_uid, _SERIES_NUMBER, instance_uid, 1,
            "Heartmend", "Heartmend", __version__, "0", content_label="HEART",
            content_description="Label map that was repaired with Heartmend",
        )  # fmt: skip
    with atomic_write(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


def create_structure_set(path: Path, series: Series, segments: Sequence[NewSegment]) -> None:
    """Write masks atomically as a DICOM structure set (RTSTRUCT), one structure for each.

    The outlines pass half-way between the voxels inside and those outside. The same series and masks give the same
    UIDs.

    Args:
        path: the file (.dcm).
        series: the series on whose slices the outlines are.
        segments: the structures; those without voxels are left out.

    Raises:
        BadInputError: if pydicom is not installed, no structure has a voxel, or the series lacks an attribute.
        OutputError: if the system cannot write it.
    """
    pydicom = import_pydicom()
    segments = _with_voxels(segments, series)
    image = read_dataset(series.paths[0], with_pixels=False)
    dataset = pydicom.Dataset()
    for keyword in _OF_THE_STUDY:
        setattr(dataset, keyword, image.get(keyword, ""))
    dataset.SeriesInstanceUID, dataset.SOPInstanceUID = _uids("RTSTRUCT", series, segments)
    dataset.SOPClassUID, dataset.Modality = pydicom.uid.RTStructureSetStorage, "RTSTRUCT"
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.OperatorsName = _SERIES_NUMBER + 1, 1, ""
    dataset.Manufacturer = dataset.ManufacturerModelName = "Heartmend"
    dataset.SoftwareVersions, dataset.ApprovalStatus = __version__, "UNAPPROVED"
    dataset.StructureSetLabel, dataset.StructureSetDate, dataset.StructureSetTime = "HEART", "", ""
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.ReferencedFrameOfReferenceSequence = _sequence(_frame_of_reference(image, series))
    numbered = list(enumerate(segments, start=1))
    dataset.StructureSetROISequence = _sequence(
        *(
            _item(ROINumber=number, ReferencedFrameOfReferenceUID=image.get("FrameOfReferenceUID", ""),
                  ROIName=segment.name, ROIGenerationAlgorithm="SEMIAUTOMATIC")
            for number, segment in numbered
        )
    )  # fmt: skip
    dataset.ROIContourSequence = _sequence(
        *(
            _item(ReferencedROINumber=number, ROIDisplayColor=list(segment.colour),
                  ContourSequence=_sequence(*_contours(segment.mask, series)))
            for number, segment in numbered
        )
    )  # fmt: skip
    dataset.RTROIObservationsSequence = _sequence(*(_observation(number, segment) for number, segment in numbered))
    write_dataset(path, dataset)


def _with_voxels(segments: Sequence[NewSegment], series: Series) -> list[NewSegment]:
    found = [segment for segment in segments if segment.mask.any()]
    if not found:
        raise BadInputError(f"{series.paths[0].parent}: no structure has a voxel, and DICOM needs at least one segment")
    return found


def _uids(kind: str, series: Series, segments: Sequence[NewSegment]) -> tuple[str, str]:
    """UID of the series and of the object."""
    pydicom, digest = import_pydicom(), hashlib.blake2b(digest_size=16)
    for segment in segments:
        digest.update(segment.name.encode() + np.packbits(segment.mask).tobytes())
    sources = [series.uid, kind, digest.hexdigest()]
    first, second = (str(pydicom.uid.generate_uid(entropy_srcs=[*sources, of])) for of in ("series", "instance"))
    return first, second


def _frame_of_reference(image: Dataset, series: Series) -> Dataset:
    images = [_item(ReferencedSOPClassUID=c, ReferencedSOPInstanceUID=i) for c, i in series.sop_instances]
    of_series = _item(SeriesInstanceUID=series.uid, ContourImageSequence=_sequence(*images))
    of_study = _item(
        ReferencedSOPClassUID=_DETACHED_STUDY, ReferencedSOPInstanceUID=image.get("StudyInstanceUID", ""),
        RTReferencedSeriesSequence=_sequence(of_series),
    )  # fmt: skip
    return _item(
        FrameOfReferenceUID=image.get("FrameOfReferenceUID", ""), RTReferencedStudySequence=_sequence(of_study)
    )


def _contours(mask: Mask, series: Series) -> list[Dataset]:
    found = []
    for at, (sop_class, instance) in enumerate(series.sop_instances):
        for points in outlines(mask[..., at]):
            image = _item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=instance)
            found.append(
                _item(
                    ContourImageSequence=_sequence(image), ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(points), ContourData=contour_data(points, at, series.grid),
                )
            )  # fmt: skip
    return found


def _observation(number: int, segment: NewSegment) -> Dataset:
    item = _item(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="ORGAN", ROIInterpreter="")
    if segment.term is not None:
        code = _item(
            CodeValue=segment.term.code, CodingSchemeDesignator=segment.term.scheme, CodeMeaning=segment.term.meaning
        )
        item.RTROIIdentificationCodeSequence = _sequence(code)
    return item


def _item(**attributes: Any) -> Dataset:
    item: Dataset = import_pydicom().Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _sequence(*items: Dataset) -> Any:
    return import_pydicom().Sequence(items)


def _import_highdicom() -> Any:
    try:
        import highdicom
    except ImportError as error:
        raise BadInputError("DICOM SEG needs highdicom: pip install 'heartmend[dicom]'") from error
    return highdicom
