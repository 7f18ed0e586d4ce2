"""NRRD and MetaImage files, through SimpleITK. ITK's LPS space is converted to an affine in RAS."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from heartmend.errors import BadInputError, OutputError
from heartmend.io.atomic import atomic_write
from heartmend.io.itk_header import check_voxel_data, read_head
from heartmend.io.reading import EXPORT_AGAIN, check_memory, check_shape, readable_file

_SEGMENT_NAME = re.compile(r"(Segment\d+)_Name")
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
"""(3, 3): converts directions and positions."""
_DTYPES: dict[int, np.dtype[np.generic]] = {
    sitk.sitkUInt8: np.dtype("u1"), sitk.sitkInt8: np.dtype("i1"), sitk.sitkUInt16: np.dtype("u2"),
    sitk.sitkInt16: np.dtype("i2"), sitk.sitkUInt32: np.dtype("u4"), sitk.sitkInt32: np.dtype("i4"),
    sitk.sitkUInt64: np.dtype("u8"), sitk.sitkInt64: np.dtype("i8"), sitk.sitkFloat32: np.dtype("f4"),
    sitk.sitkFloat64: np.dtype("f8"),
}  # fmt: skip


@dataclass(frozen=True)
class ItkHeader:
    """Header of an NRRD or MetaImage file.

    Attributes:
        path: the file; its further fields are copied from there when it is written again.
        shape: numbers of voxels along the axes.
        dtype: type of the stored values.
        affine: (4, 4) voxel indices to mm, RAS+.
        segment_names: value -> name of each segment of 3D Slicer; empty where the file has none.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    affine: npt.NDArray[np.float64]
    segment_names: Mapping[int, str] = field(default_factory=dict)


def read_itk_header(path: Path) -> ItkHeader:
    """Read the header of a file, not its voxels.

    Args:
        path: the file.

    Returns:
        The header.

    Raises:
        BadInputError: if the file is damaged or of another format.
    """
    with readable_file(path):
        return _header(path, _reader(path))


def read_itk(path: Path) -> tuple[ItkHeader, npt.NDArray[np.generic]]:
    """Read the header and the values of a file.

    Args:
        path: the file.

    Returns:
        The header, and the values (x, y, z, ...) as stored.

    Raises:
        BadInputError: if the file is damaged or of another format. The message of SimpleITK is not included: it quotes
            the header, which can name a patient.
    """
    with readable_file(path):
        header = _header(path, _reader(path))
        values = sitk.GetArrayFromImage(_image(path)).T
    return header, values


def write_itk(path: Path, header: ItkHeader, stored: npt.NDArray[np.generic]) -> None:
    """Write values atomically with the header of another file.

    The written file is read again and compared: SimpleITK does not report every error of a full disk.

    Args:
        path: the file to write.
        header: the header whose space, fields, dtype and compression the file gets.
        stored: values in the header's shape.

    Raises:
        BadInputError: if the header's file cannot be read.
        OutputError: if the system cannot write the file.
    """
    with readable_file(header.path):
        like = _image(header.path)
    values = np.asarray(stored, dtype=header.dtype).reshape(header.shape).T
    image = sitk.GetImageFromArray(values, isVector=False)
    image.CopyInformation(like)
    for key in like.GetMetaDataKeys():
        # These notes of ITK about its reading are not fields of the file.
        if not key.startswith("ITK_"):
            image.SetMetaData(key, like.GetMetaData(key))
    with atomic_write(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=_is_compressed(header.path))
            is_complete = bool((sitk.GetArrayFromImage(sitk.ReadImage(str(temporary))) == values).all())
        except RuntimeError:
            is_complete = False
        if not is_complete:
            raise OutputError(f"{path}: cannot be written; check that the disk has free space and repeat the command")


def _reader(path: Path) -> sitk.ImageFileReader:
    """SimpleITK's reader of a file whose header and size have been checked."""
    head = read_head(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    # Otherwise SimpleITK may choose another reader by the content, such as one for pictures.
    reader.SetImageIO("NrrdImageIO" if path.name.lower().endswith(".nrrd") else "MetaImageIO")
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise BadInputError(f"{path}: its header cannot be read by SimpleITK; {EXPORT_AGAIN}") from error
    components = reader.GetNumberOfComponents()
    if components != 1:
        raise BadInputError(f"{path}: has {components} values per voxel, not one; join the layers to one label map")
    size, dtype = reader.GetSize(), _DTYPES.get(reader.GetPixelIDValue())
    if dtype is None:
        raise BadInputError(f"{path}: has values of a type that is not a number; export it with whole numbers")
    expected = check_shape(path, size) * dtype.itemsize
    check_memory(path, expected)
    check_voxel_data(path, head, expected)
    return reader


def _header(path: Path, reader: sitk.ImageFileReader) -> ItkHeader:
    dimension = reader.GetDimension()
    affine = np.eye(4)
    if dimension >= 3:
        direction = np.array(reader.GetDirection()).reshape(dimension, dimension)[:3, :3]
        affine[:3, :3] = LPS_TO_RAS @ direction * reader.GetSpacing()[:3]
        affine[:3, 3] = LPS_TO_RAS @ reader.GetOrigin()[:3]
    dtype = _DTYPES[reader.GetPixelIDValue()]
    return ItkHeader(path, reader.GetSize(), dtype, affine, _segment_names(reader))


def _segment_names(reader: sitk.ImageFileReader) -> dict[int, str]:
    """Value -> name of the segments of 3D Slicer."""
    keys = set(reader.GetMetaDataKeys())
    names: dict[int, str] = {}
    for key in keys:
        if (match := _SEGMENT_NAME.fullmatch(key)) and (value_key := f"{match[1]}_LabelValue") in keys:
            value = reader.GetMetaData(value_key).strip()
            if value.isdecimal():
                names[int(value)] = reader.GetMetaData(key).strip()
    return dict(sorted(names.items()))


def _image(path: Path) -> sitk.Image:
    try:
        return _reader(path).Execute()
    except RuntimeError as error:
        raise BadInputError(
            f"{path}: SimpleITK cannot read it: its axes or its voxels are damaged; {EXPORT_AGAIN}"
        ) from error


def _is_compressed(path: Path) -> bool:
    """Whether the voxels of a file are compressed, by its header."""
    with open(path, "rb") as file:
        head = file.read(1 << 16).lower().replace(b" ", b"")
    return any(field in head for field in (b"encoding:gz", b"encoding:bz", b"compresseddata=true"))
