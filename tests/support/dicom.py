"""DICOM series, segmentations and structure sets, written by other programs than Heartmend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
hd = pytest.importorskip("highdicom", reason="the extra dicom is not installed")

ORIENTATION = [1.0, 0.0, 0.0, 0.0, 0.8, 0.6]
"""Directions of a row and of a column: tilted by 37 degrees about x."""
NORMAL = np.cross(ORIENTATION[:3], ORIENTATION[3:])
SPACING_MM = (0.5, 0.75, 2.0)
"""Along a row, along a column, and from slice to slice."""
ORIGIN = np.array([-10.0, 20.0, 30.5])
INTERCEPT = -1024


def write_series(folder: Path, hu: np.ndarray, skipped: tuple[int, ...] = ()) -> list[Path]:
    """Write a CT (x, y, z) in HU as one file for each slice, with names in another order than the slices."""
    folder.mkdir(parents=True, exist_ok=True)
    study, series, frame = (pydicom.uid.generate_uid(entropy_srcs=[str(folder), name]) for name in "abc")
    paths = []
    for number in range(hu.shape[2]):
        if number in skipped:
            continue
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.CTImageStorage
        uid = pydicom.uid.generate_uid(entropy_srcs=[str(folder), str(number)])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
        dataset.Modality, dataset.PatientName, dataset.PatientID = "CT", "Doe^Jane", "7"
        for name in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "StudyID"):
            setattr(dataset, name, "")
        dataset.ReferringPhysicianName = dataset.Manufacturer = ""
        dataset.SeriesNumber, dataset.InstanceNumber = 1, hu.shape[2] - number
        dataset.ImageOrientationPatient = ORIENTATION
        dataset.ImagePositionPatient = [f"{mm:.6f}" for mm in ORIGIN + number * SPACING_MM[2] * NORMAL]
        dataset.PixelSpacing = [SPACING_MM[1], SPACING_MM[0]]
        # Wrong on purpose: slices overlap, and the distance of their positions counts.
        dataset.SliceThickness = 3.0
        dataset.Columns, dataset.Rows = hu.shape[:2]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 0
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, INTERCEPT
        dataset.PixelData = (hu[..., number].T - INTERCEPT).astype("<u2").tobytes()
        path = folder / f"IM{(number * 7) % 100:03d}"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def write_seg(path: Path, masks: dict[str, np.ndarray], series: list[Path], kind: str = "BINARY") -> None:
    """Write masks (x, y, z) as a DICOM SEG, with highdicom."""
    images = [pydicom.dcmread(p) for p in series]
    images.sort(key=lambda image: float(np.dot(image.ImagePositionPatient, NORMAL)))
    code = hd.sr.CodedConcept("80891009", "SCT", "Heart")
    algorithm = hd.AlgorithmIdentificationSequence("nnU-Net", hd.sr.CodedConcept("123109", "DCM", "Manual"), "2")
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number, segment_label=name, segmented_property_category=code, segmented_property_type=code,
            algorithm_type="AUTOMATIC", algorithm_identification=algorithm,
        )
        for number, name in enumerate(masks, start=1)
    ]  # fmt: skip
    stack = np.stack([mask.T for mask in masks.values()], axis=-1).astype(np.uint8)
    if kind == "LABELMAP":
        stack = (stack * np.arange(1, len(masks) + 1, dtype=np.uint8)).max(axis=-1)
    segmentation = hd.seg.Segmentation(
        images, stack, kind, descriptions, hd.UID(), 2, hd.UID(), 1, "Maker", "Model", "1", "Device",
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    segmentation.save_as(path)


def read_seg(path: Path, shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Read a DICOM SEG with highdicom, as masks (x, y, z) of a shape."""
    segmentation = hd.seg.segread(path)
    found = {}
    for number in segmentation.segment_numbers:
        name = segmentation.get_segment_description(number).segment_label
        uids = sorted(segmentation.get_source_image_uids(), key=lambda uid: str(uid[2]))
        found[str(name)] = number, uids
    masks = {}
    for name, (number, _) in found.items():
        volume = segmentation.get_volume(segment_numbers=[number], combine_segments=False, allow_missing_positions=True)
        mask = np.zeros(shape, dtype=bool)
        for at in range(volume.array.shape[0]):
            place = volume.affine @ (at, 0, 0, 1)
            slice_number = round(float((place[:3] - ORIGIN) @ NORMAL / SPACING_MM[2]))
            mask[..., slice_number] = volume.array[at, ..., 0].T > 0
        masks[name] = mask
    return masks


def write_rtstruct(
    path: Path, contours: dict[str, list[tuple[int, list[tuple[float, float]]]]], series: list[Path]
) -> None:
    """Write contours (slice, points in voxels) as an RTSTRUCT, with pydicom."""
    first = pydicom.dcmread(series[0])
    images = {round(float((np.array(i.ImagePositionPatient) - ORIGIN) @ NORMAL / SPACING_MM[2])): i.SOPInstanceUID
              for i in map(pydicom.dcmread, series)}  # fmt: skip
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.RTStructureSetStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.Modality, dataset.PatientName, dataset.StructureSetLabel = "RTSTRUCT", "Doe^Jane", "heart"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = first.StudyInstanceUID, pydicom.uid.generate_uid()
    of_series, of_study, of_frame = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    of_series.SeriesInstanceUID = first.SeriesInstanceUID
    of_study.RTReferencedSeriesSequence = pydicom.Sequence([of_series])
    of_frame.FrameOfReferenceUID = first.FrameOfReferenceUID
    of_frame.RTReferencedStudySequence = pydicom.Sequence([of_study])
    dataset.ReferencedFrameOfReferenceSequence = pydicom.Sequence([of_frame])
    rois, groups = [], []
    for number, (name, outlines) in enumerate(contours.items(), start=1):
        roi, group, items = pydicom.Dataset(), pydicom.Dataset(), []
        roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm = number, name, "MANUAL"
        for at, points in outlines:
            item, image = pydicom.Dataset(), pydicom.Dataset()
            image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = pydicom.uid.CTImageStorage, images[at]
            item.ContourImageSequence = pydicom.Sequence([image])
            item.ContourGeometricType, item.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            row, column = np.array(ORIENTATION[:3]), np.array(ORIENTATION[3:])
            places = [ORIGIN + x * SPACING_MM[0] * row + y * SPACING_MM[1] * column + at * SPACING_MM[2] * NORMAL
                      for x, y in points]  # fmt: skip
            item.ContourData = [f"{mm:.4f}" for place in places for mm in place]
            items.append(item)
        group.ReferencedROINumber, group.ContourSequence = number, pydicom.Sequence(items)
        rois.append(roi)
        groups.append(group)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = pydicom.Sequence(rois), pydicom.Sequence(groups)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
