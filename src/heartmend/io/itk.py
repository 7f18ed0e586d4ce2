"""NRRD and MetaImage through SimpleITK, with ITK's LPS space turned into the RAS affine that the rest speaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from heartmend.errors import BadInputError, OutputError
from heartmend.io.atomic import atomic_write
from heartmend.io.itk_header import check_voxel_data, read_head
from heartmend.io.reading import EXPORT_AGAIN, check_memory, check_shape, readable_file

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_DTYPES: dict[int, np.dtype[np.generic]] = {
    sitk.sitkUInt8: np.dtype("u1"), sitk.sitkInt8: np.dtype("i1"), sitk.sitkUInt16: np.dtype("u2"),
    sitk.sitkInt16: np.dtype("i2"), sitk.sitkUInt32: np.dtype("u4"), sitk.sitkInt32: np.dtype("i4"),
    sitk.sitkUInt64: np.dtype("u8"), sitk.sitkInt64: np.dtype("i8"), sitk.sitkFloat32: np.dtype("f4"),
    sitk.sitkFloat64: np.dtype("f8"),
}  # fmt: skip


@dataclass(frozen=True)
class ItkHeader:
    """What an ITK file says besides its voxels; written again from `path`, which keeps every field."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    affine: npt.NDArray[np.float64]


def read_itk_header(path: Path) -> ItkHeader:
    """The header alone; BadInputError when SimpleITK cannot read it."""
    with readable_file(path):
        return _header(path, _about(path))


def read_itk(path: Path) -> tuple[ItkHeader, npt.NDArray[np.generic]]:
    """The header, and the values in the order x, y, z, ...; BadInputError when the file is none, or damaged.

    What SimpleITK says of a broken file is not passed on: it quotes the header, which may name a patient.
    """
    with readable_file(path):
        header = _header(path, _about(path))
        values = sitk.GetArrayFromImage(_image(path)).T
    return header, values


def write_itk(path: Path, header: ItkHeader, stored: npt.NDArray[np.generic]) -> None:
    """Write values (in the header's shape) in the space and with the fields, dtype and packing of the header's file.

    It appears under its name when it is whole, which is read again to be known: not every error of a full disk
    comes through SimpleITK.
    """
    with readable_file(header.path):
        like = _image(header.path)
    values = np.asarray(stored, dtype=header.dtype).reshape(header.shape).T
    image = sitk.GetImageFromArray(values, isVector=False)
    image.CopyInformation(like)
    for key in like.GetMetaDataKeys():
        # What ITK notes about its own reading was never in the file.
        if not key.startswith("ITK_"):
            image.SetMetaData(key, like.GetMetaData(key))
    with atomic_write(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=_is_packed(header.path))
            whole = bool((sitk.GetArrayFromImage(sitk.ReadImage(str(temporary))) == values).all())
        except RuntimeError:
            whole = False
        if not whole:
            raise OutputError(f"{path}: cannot be written; see that the disk has room and give the same command again")


def _about(path: Path) -> sitk.ImageFileReader:
    """The file's header as SimpleITK reads it, when the file is sound as far as that can be told without the voxels."""
    head = read_head(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    # Without this another reader, such as that of a picture, may take the file by what it holds.
    reader.SetImageIO("NrrdImageIO" if path.name.lower().endswith(".nrrd") else "MetaImageIO")
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise BadInputError(f"{path}: its header cannot be read by SimpleITK; {EXPORT_AGAIN}") from error
    components = reader.GetNumberOfComponents()
    if components != 1:
        raise BadInputError(
            f"{path}: holds {components} values per voxel; one is needed: join the layers to one label map"
        )
    size, dtype = reader.GetSize(), _DTYPES.get(reader.GetPixelIDValue())
    if dtype is None:
        raise BadInputError(f"{path}: holds values of a type that is no number; export it with whole numbers")
    expected = check_shape(path, size) * dtype.itemsize
    check_memory(path, expected)
    check_voxel_data(path, head, expected)
    return reader


def _header(path: Path, about: sitk.ImageFileReader) -> ItkHeader:
    dimension = about.GetDimension()
    affine = np.eye(4)
    if dimension >= 3:
        direction = np.array(about.GetDirection()).reshape(dimension, dimension)[:3, :3]
        affine[:3, :3] = LPS_TO_RAS @ direction * about.GetSpacing()[:3]
        affine[:3, 3] = LPS_TO_RAS @ about.GetOrigin()[:3]
    return ItkHeader(path=path, shape=about.GetSize(), dtype=_DTYPES[about.GetPixelIDValue()], affine=affine)


def _image(path: Path) -> sitk.Image:
    try:
        return _about(path).Execute()
    except RuntimeError as error:
        raise BadInputError(f"{path}: SimpleITK cannot read it, its axes or its voxels are broken; {EXPORT_AGAIN}") from error


def _is_packed(path: Path) -> bool:
    """Whether the voxels of an NRRD or MetaImage file are compressed, by its text head."""
    with open(path, "rb") as file:
        head = file.read(1 << 16).lower().replace(b" ", b"")
    return any(said in head for said in (b"encoding:gz", b"encoding:bz", b"compresseddata=true"))
