"""Volume files of any format: reading, and writing with the header of another file."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import affine_transform

from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.io.file_names import VOLUME_ENDINGS, volume_ending
from heartmend.io.itk import ItkHeader, read_itk, read_itk_header, write_itk
from heartmend.io.nifti import NiftiHeader, read_header, read_nifti, write_nifti

log = logging.getLogger(__name__)

Header = NiftiHeader | ItkHeader
AIR_HU = -1024.0
"""CT value of air, also used where a resampled image has no data."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume on its grid.

    Attributes:
        values: (x, y, z) in the file's own voxel order.
        grid: where the voxels are.
        path: the file.
    """

    values: npt.NDArray[np.generic]
    grid: Grid
    path: Path


def read_volume(path: Path) -> tuple[Volume, Header]:
    """Read a volume and its header.

    Args:
        path: a NIfTI, NRRD or MetaImage file.

    Returns:
        The volume, with slope and intercept applied and without trailing axes of length one; and the header.

    Raises:
        BadInputError: if the file cannot be read, or has not three axes.
    """
    header, values = read_stored(path)
    if isinstance(header, NiftiHeader) and header.is_scaled:
        values = np.asarray(values, dtype=np.float64) * header.slope + header.intercept
    return Volume(values=values, grid=_grid(path, header), path=path), header


def read_stored(path: Path) -> tuple[Header, npt.NDArray[np.generic]]:
    """Read the header of a volume and its stored values.

    Args:
        path: a NIfTI, NRRD or MetaImage file.

    Returns:
        The header, and the values (x, y, z) without slope and intercept.

    Raises:
        BadInputError: if the file cannot be read, or has not three axes.
    """
    header, values = read_nifti(path) if _is_nifti(path) else read_itk(path)
    return header, values.reshape(_grid(path, header).shape, order="F")


def read_volume_header(path: Path) -> tuple[Header, Grid]:
    """Read the header of a volume, not its voxels.

    Args:
        path: a NIfTI, NRRD or MetaImage file.

    Returns:
        The header and the grid.

    Raises:
        BadInputError: if the file cannot be read, or has not three axes.
    """
    header: Header = read_header(path) if _is_nifti(path) else read_itk_header(path)
    return header, _grid(path, header)


def read_image(path: str | Path, grid: Grid | None = None) -> Volume:
    """Read a CT.

    Args:
        path: a NIfTI, NRRD or MetaImage file.
        grid: the grid of its label map; an image on another grid is resampled to it, linearly, with a logged warning.
            None for the image's own grid.

    Returns:
        The volume in HU.

    Raises:
        BadInputError: if the file cannot be read, or does not overlap with the grid.
    """
    volume, _ = read_volume(Path(path))
    if grid is None or (covered := image_coverage(volume.grid, grid, volume.path)) is None:
        return volume
    matrix = np.linalg.inv(volume.grid.affine) @ grid.affine
    values = affine_transform(
        np.nan_to_num(np.asarray(volume.values, dtype=np.float32), nan=AIR_HU),
        matrix[:3, :3], matrix[:3, 3], output_shape=grid.shape, order=1, cval=np.nan,
    )  # fmt: skip
    log.warning("%s: %s", path, resampling_warning(covered))
    values[np.isnan(values)] = AIR_HU
    return Volume(values=values, grid=grid, path=volume.path)


def image_coverage(image: Grid, labels: Grid, path: Path) -> float | None:
    """Compute the share of a label map's voxels that its image covers.

    Args:
        image: grid of the image.
        labels: grid of the label map.
        path: file of the image, for the message.

    Returns:
        The share, 0 to 1; None where both grids agree, so that nothing is resampled.

    Raises:
        BadInputError: if the two do not overlap.
    """
    if image.is_close(labels):
        return None
    covered = labels.overlap_share(image)
    if covered == 0:
        raise BadInputError(
            f"{path}: image and label map do not overlap in space; check that they belong together and that both "
            "headers are right"
        )
    return covered


def resampling_warning(covered: float) -> str:
    """Format the warning for an image on another grid than its label map.

    Args:
        covered: share of the label map's voxels that the image covers.

    Returns:
        The text.

    Example:
        >>> resampling_warning(0.75)
        'not on the grid of its label map; resampled to it (75% covered)'
    """
    return f"not on the grid of its label map; resampled to it ({covered:.0%} covered)"


def write_stored(path: Path, header: Header, stored: npt.NDArray[np.generic]) -> None:
    """Write stored values atomically with the header of another file.

    Args:
        path: the file, with the ending of the header's format.
        header: the header.
        stored: values in the header's shape, before slope and intercept.

    Raises:
        BadInputError: if the ending is that of another format.
        OutputError: if the system cannot write it.
    """
    is_nifti = isinstance(header, NiftiHeader)
    if _is_nifti(path) != is_nifti:
        raise BadInputError(f"{path}: the header is that of another format; give the file the ending of that format")
    if isinstance(header, NiftiHeader):
        write_nifti(path, header, stored)
    else:
        write_itk(path, header, stored)


def _is_nifti(path: Path) -> bool:
    ending = volume_ending(path)
    if ending is None:
        raise BadInputError(f"{path}: not a supported volume; known endings: {', '.join(VOLUME_ENDINGS)}")
    return ending in (".nii", ".nii.gz")


def _grid(path: Path, header: Header) -> Grid:
    shape = header.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        advice = {
            2: "give the full volume, not a slice",
            4: "of a one-hot stack give one map of ids (argmax over the channels), of a time series one frame",
        }.get(len(shape), "give a volume of three axes")
        raise BadInputError(f"{path}: has {len(shape)} axes (shape {header.shape}), a label map has 3; {advice}")
    try:
        return Grid(shape, header.affine)
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error
