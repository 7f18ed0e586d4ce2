"""NRRD and MetaImage through SimpleITK, with ITK's LPS space turned into the RAS affine that the rest speaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from heartmend.errors import BadInputError
from heartmend.files import atomic_write

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class ItkHeader:
    """What an ITK file says besides its voxels; written again from `path`, which keeps every field."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    affine: npt.NDArray[np.float64]


def read_itk(path: Path) -> tuple[ItkHeader, npt.NDArray[np.generic]]:
    """The header, and the values in the order x, y, z, ...; BadInputError when SimpleITK cannot read the file."""
    image = _read(path)
    values = sitk.GetArrayFromImage(image).T
    dimension = image.GetDimension()
    affine = np.eye(4)
    if dimension >= 3:
        direction = np.array(image.GetDirection()).reshape(dimension, dimension)[:3, :3]
        affine[:3, :3] = LPS_TO_RAS @ direction * image.GetSpacing()[:3]
        affine[:3, 3] = LPS_TO_RAS @ image.GetOrigin()[:3]
    return ItkHeader(path=path, shape=values.shape, dtype=values.dtype, affine=affine), values


def write_itk(path: Path, header: ItkHeader, stored: npt.NDArray[np.generic]) -> None:
    """Write values (in the header's shape) in the space and with the fields, dtype and packing of the header's file.

    It appears under its name when it is whole.
    """
    like = _read(header.path)
    image = sitk.GetImageFromArray(np.asarray(stored, dtype=header.dtype).reshape(header.shape).T, isVector=False)
    image.CopyInformation(like)
    for key in like.GetMetaDataKeys():
        # What ITK notes about its own reading was never in the file.
        if not key.startswith("ITK_"):
            image.SetMetaData(key, like.GetMetaData(key))
    with atomic_write(path) as temporary:
        sitk.WriteImage(image, str(temporary), useCompression=_is_packed(header.path))


def _read(path: Path) -> sitk.Image:
    if not path.is_file():
        raise BadInputError(f"{path}: not a file")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        told = str(error).strip().splitlines()[-1]
        raise BadInputError(f"{path}: SimpleITK cannot read it: {told}") from error
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise BadInputError(f"{path}: holds {image.GetNumberOfComponentsPerPixel()} values per voxel; one is needed")
    return image


def _is_packed(path: Path) -> bool:
    """Whether the voxels of an NRRD or MetaImage file are compressed, by its text head."""
    with open(path, "rb") as file:
        head = file.read(1 << 16).lower().replace(b" ", b"")
    return any(said in head for said in (b"encoding:gz", b"encoding:bz", b"compresseddata=true"))
