"""Opening of a DICOM label map together with its series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heartmend.errors import BadInputError
from heartmend.io.dicom.files import dicom_errors, read_dataset
from heartmend.io.dicom.segmentation import DicomSegmentation
from heartmend.io.dicom.series import Series, find_series
from heartmend.io.dicom.structure_set import StructureSet
from heartmend.io.forms.base import StoredMap


def open_dicom(path: Path, folders: Sequence[Path]) -> StoredMap:
    """Open a DICOM segmentation or structure set.

    Args:
        path: the file.
        folders: folders in which its series can be.

    Returns:
        The label map.

    Raises:
        BadInputError: if it is neither, or cannot be read.
    """
    dataset = read_dataset(path, with_pixels=False)
    with dicom_errors(path):
        modality = str(dataset.get("Modality", ""))
        uid = _referenced_series(dataset)
    series = next((found for folder in folders if (found := _series_in(folder, uid)) is not None), None)
    if modality == "SEG":
        return DicomSegmentation(path, series)
    if modality == "RTSTRUCT":
        return StructureSet(path, series)
    raise BadInputError(f"{path}: is a DICOM file with modality {modality[:16]!r}, no SEG and no RTSTRUCT; remove it")


def _series_in(folder: Path, uid: str) -> Series | None:
    return find_series(folder, uid) if folder.is_dir() else None


def _referenced_series(dataset: object) -> str:
    """UID of the series that was segmented; empty if none is named."""
    get = dataset.get  # type: ignore[attr-defined]
    for series in get("ReferencedSeriesSequence", ()):
        return str(series.SeriesInstanceUID)
    for frame in get("ReferencedFrameOfReferenceSequence", ()):
        for study in frame.get("RTReferencedStudySequence", ()):
            for series in study.get("RTReferencedSeriesSequence", ()):
                return str(series.SeriesInstanceUID)
    return ""
