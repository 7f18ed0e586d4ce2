"""Volume files of any format: reading, and writing with the header of another file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import affine_transform

from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.io.dicom.series import Series, find_series, read_series_values
from heartmend.io.file_names import VOLUME_ENDINGS, volume_ending
from heartmend.io.itk import read_itk_header
from heartmend.io.mgh import read_mgh_header
from heartmend.io.nifti import read_header
from heartmend.io.volume_header import VolumeHeader, read_voxels, write_voxels

log = logging.getLogger(__name__)

_READERS: dict[str, Callable[[Path], VolumeHeader]] = {
    ".nii.gz": read_header, ".nii": read_header, ".hdr": read_header, ".seg.nrrd": read_itk_header,
    ".nrrd": read_itk_header, ".seg.nhdr": read_itk_header, ".nhdr": read_itk_header, ".mha": read_itk_header,
    ".mhd": read_itk_header, ".gipl.gz": read_itk_header, ".gipl": read_itk_header, ".mgz": read_mgh_header,
    ".mgh": read_mgh_header,
}  # fmt: skip
# Formats of which a file can be written with the header of another: they differ in the compression of the file alone.
_SAME_FORMAT = (
    {".nii.gz", ".nii"},
    {".seg.nrrd", ".nrrd"},
    {".seg.nhdr", ".nhdr"},
    {".mgz", ".mgh"},
    {".gipl.gz", ".gipl"},
)
DETACHED_ENDINGS = (".hdr", ".mhd", ".nhdr")
"""Endings of headers whose voxels are in another file."""
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


def read_volume(path: Path) -> tuple[Volume, VolumeHeader]:
    """Read a volume and its header.

    Args:
        path: a volume file (`VOLUME_ENDINGS`).

    Returns:
        The volume, with slope and intercept applied and without trailing axes of length one; and the header.

    Raises:
        BadInputError: if the file cannot be read, or has not three axes.
    """
    header, values = read_stored(path)
    if header.is_scaled:
        values = np.asarray(values, dtype=np.float64) * header.slope + header.intercept
    return Volume(values=values, grid=volume_grid(path, header), path=path), header


def read_stored(path: Path) -> tuple[VolumeHeader, npt.NDArray[np.generic]]:
    """Read the header of a volume and its stored values.

    Args:
        path: a volume file (`VOLUME_ENDINGS`).

    Returns:
        The header, and the values (x, y, z) without slope and intercept.

    Raises:
        BadInputError: if the file cannot be read, or has not three axes.
    """
    header, grid = read_volume_header(path)
    return header, read_voxels(header).reshape(grid.shape, order="F")


def read_volume_header(path: Path) -> tuple[VolumeHeader, Grid]:
    """Read the header of a volume, not its voxels.

    Args:
        path: a volume file (`VOLUME_ENDINGS`).

    Returns:
        The header and the grid.

    Raises:
        BadInputError: if the file cannot be read, or has not three axes.
    """
    header = read_any_header(path)
    if header.layer_axis is not None:
        raise BadInputError(
            f"{path}: has {header.shape[header.layer_axis]} values per voxel, not one; join the layers to one volume"
        )
    return header, volume_grid(path, header)


def read_any_header(path: Path) -> VolumeHeader:
    """Read the header of a volume that may have several layers.

    Args:
        path: a volume file (`VOLUME_ENDINGS`).

    Returns:
        The header.

    Raises:
        BadInputError: if the file is damaged or of another format.
    """
    ending = volume_ending(path)
    if ending is None:
        raise BadInputError(f"{path}: not a supported volume; known endings: {', '.join(VOLUME_ENDINGS)}")
    return _READERS[ending](path)


def read_image(path: str | Path, grid: Grid | None = None) -> Volume:
    """Read a CT.

    Args:
        path: a volume file (`VOLUME_ENDINGS`), or a folder with a DICOM series.
        grid: the grid of its label map; an image on another grid is resampled to it, linearly, with a logged warning.
            None for the image's own grid.

    Returns:
        The volume in HU.

    Raises:
        BadInputError: if the file cannot be read, or does not overlap with the grid.
    """
    path = Path(path)
    volume = _read_dicom_image(path) if path.is_dir() and volume_ending(path) is None else read_volume(path)[0]
    if grid is None or volume.grid.is_close(grid):
        return volume
    covered = image_coverage(volume.grid, grid, volume.path)
    if (orientation := volume.grid.orientation_to(grid)) is not None:
        return Volume(values=np.ascontiguousarray(orientation.apply(volume.values)), grid=grid, path=volume.path)
    matrix = np.linalg.inv(volume.grid.affine) @ grid.affine
    values = affine_transform(
        np.nan_to_num(np.asarray(volume.values, dtype=np.float32), nan=AIR_HU),
        matrix[:3, :3], matrix[:3, 3], output_shape=grid.shape, order=1, cval=np.nan,
    )  # fmt: skip
    log.warning("%s: %s", path, resampling_warning(covered or 0.0))
    values[np.isnan(values)] = AIR_HU
    return Volume(values=values, grid=grid, path=volume.path)


def read_image_grid(path: Path) -> tuple[Grid, tuple[str, ...]]:
    """Read the grid of a CT, not its voxels.

    Args:
        path: a volume file, or a folder with a DICOM series.

    Returns:
        The grid, and contradictions in the header that do not prevent its use.

    Raises:
        BadInputError: if it cannot be read.
    """
    if path.is_dir() and volume_ending(path) is None:
        return _find_dicom_image(path).grid, ()
    header, grid = read_volume_header(path)
    return grid, header.warnings


def _read_dicom_image(folder: Path) -> Volume:
    series = _find_dicom_image(folder)
    return Volume(read_series_values(series), series.grid, folder)


def _find_dicom_image(folder: Path) -> Series:
    series = find_series(folder)
    if series is None:
        raise BadInputError(
            f"{folder}: contains no DICOM series with more than one image; give the folder of the series"
        )
    return series


def image_coverage(image: Grid, labels: Grid, path: Path) -> float | None:
    """Compute the share of a label map's voxels that its image covers.

    Args:
        image: grid of the image.
        labels: grid of the label map.
        path: file of the image, for the message.

    Returns:
        The share, 0 to 1; None where both grids have the same voxels, so that nothing is resampled.

    Raises:
        BadInputError: if the two do not overlap.
    """
    if image.is_close(labels) or image.orientation_to(labels) is not None:
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


def write_stored(path: Path, header: VolumeHeader, stored: npt.NDArray[np.generic]) -> None:
    """Write stored values atomically with the header of another file.

    Args:
        path: the file, with the ending of the header's format.
        header: the header.
        stored: values in the header's shape, before slope and intercept.

    Raises:
        BadInputError: if the ending is that of another format.
        OutputError: if the system cannot write it.
    """
    endings = {volume_ending(path), volume_ending(header.path)}
    if len(endings) > 1 and not any(endings <= same for same in _SAME_FORMAT):
        raise BadInputError(f"{path}: the header is that of another format; give the file the ending of that format")
    write_voxels(path, header, stored)


def volume_grid(path: Path, header: VolumeHeader) -> Grid:
    """Make the grid of a volume.

    Args:
        path: the file, for messages.
        header: its header.

    Returns:
        The grid, without trailing axes of length one and without an axis of layers.

    Raises:
        BadInputError: if it has not three axes, or they are not at right angles.
    """
    shape = header.shape
    if header.layer_axis is not None:
        shape = (*shape[: header.layer_axis], *shape[header.layer_axis + 1 :])
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
