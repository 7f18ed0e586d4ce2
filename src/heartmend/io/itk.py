"""NRRD, MetaImage and GIPL files. SimpleITK parses the headers; ITK's LPS space is converted to an affine in RAS."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from heartmend.errors import BadInputError
from heartmend.geometry.grid import SPACING_LIMITS_MM
from heartmend.io import gzipped
from heartmend.io.file_names import is_utf8
from heartmend.io.itk_header import ItkHead, read_head
from heartmend.io.reading import (
    EXPORT_AGAIN,
    MAX_PADDING_BYTES,
    check_memory,
    check_shape,
    describe_format,
    readable_file,
)
from heartmend.io.volume_header import VolumeHeader, decompression_errors

if TYPE_CHECKING:
    # Imported where it is used: it takes a third of a second, and most data sets are NIfTI.
    import SimpleITK as sitk

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
"""(3, 3): converts directions and positions."""
# Longer numbers are no numbers of segments, and Python does not convert one of thousands of digits.
_SEGMENT_FIELD = re.compile(r"Segment([0-9]{1,9})_(Name|LabelValue|Layer)")
_NUMBER = re.compile(r"[0-9]{1,9}")
# Several times what any segmentation has; each is a pass over the volume.
_MAX_SEGMENTS = 2000
_GIPL_BYTES = 256
_GIPL_MAGIC = {b"\xef\xff\xe9\xb0", b"\x2a\xe3\x89\xb4", b"\x2a\xe3\x89\xb8"}


@dataclass(frozen=True)
class Segment:
    """Segment of a segmentation of 3D Slicer.

    Attributes:
        number: N of the fields SegmentN_....
        name: its name.
        label_value: its value in its layer.
        layer: number of its layer.
    """

    number: int
    name: str
    label_value: int
    layer: int = 0


def read_itk_header(path: Path) -> VolumeHeader:
    """Read the header of a file, not its voxels.

    Args:
        path: the file.

    Returns:
        The header.

    Raises:
        BadInputError: if the file is damaged or of another format. The message of SimpleITK is not included: it quotes
            the header, which can name a patient.
    """
    with readable_file(path):
        if path.name.lower().endswith((".gipl", ".gipl.gz")):
            return _gipl_header(path)
        head = read_head(path)
        is_nrrd = path.name.lower().endswith((".nrrd", ".nhdr"))
        reader = _reader(path, "NrrdImageIO" if is_nrrd else "MetaImageIO")
    header = _header(path, reader, head)
    if head.compressed_bytes is not None:
        _check_compressed_size(header, head)
    return header


def read_segment_fields(header: VolumeHeader) -> list[Segment]:
    """Read the segments of a segmentation of 3D Slicer.

    Args:
        header: of an NRRD file.

    Returns:
        The segments, in the order of their numbers; empty where the file has none.

    Raises:
        BadInputError: if it has more than any segmentation.
    """
    fields: dict[int, dict[str, str]] = {}
    for line in header.head.decode("utf-8", "replace").splitlines():
        key, is_pair, value = line.partition(":=")
        if is_pair and (match := _SEGMENT_FIELD.fullmatch(key)):
            fields.setdefault(int(match[1]), {})[match[2]] = value.strip()
    if len(fields) > _MAX_SEGMENTS:
        raise BadInputError(f"{header.path}: has {len(fields)} segments, the limit is {_MAX_SEGMENTS}; split it")
    found = []
    for number, segment in sorted(fields.items()):
        value, layer = segment.get("LabelValue", ""), segment.get("Layer", "0")
        if "Name" in segment and _NUMBER.fullmatch(value) and _NUMBER.fullmatch(layer):
            found.append(Segment(number, segment["Name"], int(value), int(layer)))
    return found


@cache
def _dtypes() -> dict[int, str]:
    """NumPy's type of each of SimpleITK's types of voxels that are numbers."""
    import SimpleITK as sitk

    return {
        sitk.sitkUInt8: "u1", sitk.sitkInt8: "i1", sitk.sitkUInt16: "u2", sitk.sitkInt16: "i2",
        sitk.sitkUInt32: "u4", sitk.sitkInt32: "i4", sitk.sitkUInt64: "u8", sitk.sitkInt64: "i8",
        sitk.sitkFloat32: "f4", sitk.sitkFloat64: "f8", sitk.sitkVectorFloat32: "f4", sitk.sitkVectorFloat64: "f8",
        sitk.sitkVectorUInt8: "u1", sitk.sitkVectorInt8: "i1", sitk.sitkVectorUInt16: "u2",
        sitk.sitkVectorInt16: "i2", sitk.sitkVectorUInt32: "u4", sitk.sitkVectorInt32: "i4",
        sitk.sitkVectorUInt64: "u8", sitk.sitkVectorInt64: "i8",
    }  # fmt: skip


def _header(path: Path, reader: sitk.ImageFileReader, head: ItkHead) -> VolumeHeader:
    dimension, components = reader.GetDimension(), reader.GetNumberOfComponents()
    code = _dtypes().get(reader.GetPixelIDValue())
    if code is None:
        raise BadInputError(f"{path}: has values of a type that is not a number; export it with whole numbers")
    shape: tuple[int, ...] = reader.GetSize()
    layer_axis = None
    if head.layer_axis is not None and dimension == 3:
        layer_axis = 0 if head.layer_axis == 0 else 3
        shape = (components, *shape) if layer_axis == 0 else (*shape, components)
    elif components != 1:
        shape, layer_axis = (components, *shape), 0
    if layer_axis is not None and head.layer_axis not in (None, 0, 3):
        raise BadInputError(f"{path}: its axis of layers is neither the first nor the last; save it again in 3D Slicer")
    affine = np.eye(4)
    if dimension >= 3:
        direction = np.array(reader.GetDirection()).reshape(dimension, dimension)[:3, :3]
        affine[:3, :3] = LPS_TO_RAS @ direction * reader.GetSpacing()[:3]
        affine[:3, 3] = LPS_TO_RAS @ reader.GetOrigin()[:3]
    affine[:3] *= head.unit_mm
    dtype = np.dtype(code).newbyteorder(head.byte_order)
    check_memory(path, check_shape(path, shape) * dtype.itemsize)
    header = VolumeHeader(
        path, shape, dtype, affine, head.head, encoding=head.encoding, data_name=head.data_name, layer_axis=layer_axis,
        warnings=_unit_warnings(path, head, affine),
    )  # fmt: skip
    names = {segment.label_value: segment.name for segment in read_segment_fields(header)}
    return header if layer_axis is not None else replace(header, names=dict(sorted(names.items())))


def _unit_warnings(path: Path, head: ItkHead, affine: np.ndarray) -> tuple[str, ...]:
    if not head.unit:
        return ()
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = SPACING_LIMITS_MM
    if not ((spacing >= low) & (spacing <= high)).all():
        size = " x ".join(f"{mm:g}" for mm in spacing)
        raise BadInputError(
            f"{path}: its unit of length is {head.unit}, so its voxels have {size} mm, outside {low} to {high} mm; set "
            "the unit to mm if the numbers are mm"
        )
    return (f"its unit of length is {head.unit}; it was converted to mm",)


def _check_compressed_size(header: VolumeHeader, head: ItkHead) -> None:
    """MetaIO reads as many compressed bytes as the header states, and leaves the rest undefined."""
    start = 0 if header.data_name else len(header.head)
    found = header.data_path.stat().st_size - start
    if not 0 <= found - (head.compressed_bytes or 0) <= MAX_PADDING_BYTES:
        raise BadInputError(
            f"{header.path}: its compressed voxels have {found} bytes, its header has {head.compressed_bytes}: "
            f"{EXPORT_AGAIN}"
        )


@contextmanager
def name_for_itk(path: Path) -> Iterator[str]:
    """Name a file for SimpleITK, which opens names in UTF-8 only and ends the process at others.

    Args:
        path: the file.

    Yields:
        Its path; where a folder is not UTF-8 (Linux), one by way of an open descriptor of the folder.
    """
    if is_utf8(path):
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _reader(path: Path, image_io: str) -> sitk.ImageFileReader:
    """SimpleITK's reader of a file whose text header has been checked."""
    import SimpleITK as sitk

    if not is_utf8(path):
        raise BadInputError(f"{path}: SimpleITK opens names in UTF-8 only; rename the file or its folder")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    # Otherwise SimpleITK may choose another reader by the content, such as one for pictures.
    reader.SetImageIO(image_io)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise BadInputError(f"{path}: its header cannot be read by SimpleITK; {EXPORT_AGAIN}") from error
    return reader


def _gipl_header(path: Path) -> VolumeHeader:
    with decompression_errors(path), gzipped.open_stream(path) as stream:
        head = stream.read(_GIPL_BYTES)
    if len(head) < _GIPL_BYTES or head[252:256] not in _GIPL_MAGIC:
        raise BadInputError(f"{path}: not GIPL: it {describe_format(head)}; {EXPORT_AGAIN}, or correct its ending")
    header = _header(path, _reader(path, "GiplImageIO"), ItkHead(head, "raw", ">"))
    return replace(header, may_be_gzipped=True)
