"""One volume file of any format: its grid and values, and the same file again with other values."""

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
# What a CT reads where there is nothing; also what is put where a resampled image does not reach.
AIR_HU = -1024.0


@dataclass(frozen=True, eq=False)
class Volume:
    """Values (x, y, z) in the file's own voxel order, on their grid."""

    values: npt.NDArray[np.generic]
    grid: Grid
    path: Path


def read_volume(path: Path) -> tuple[Volume, Header]:
    """The values that a file stands for (slope and intercept applied) and its header.

    A trailing axis of length one is dropped; any other number of axes than three is a BadInputError.
    """
    header, values = read_stored(path)
    if isinstance(header, NiftiHeader) and header.is_scaled:
        values = np.asarray(values, dtype=np.float64) * header.slope + header.intercept
    return Volume(values=values, grid=_grid(path, header), path=path), header


def read_stored(path: Path) -> tuple[Header, npt.NDArray[np.generic]]:
    """The header of a file and its values (x, y, z) as stored: slope and intercept not applied."""
    header, values = read_nifti(path) if _is_nifti(path) else read_itk(path)
    return header, values.reshape(_grid(path, header).shape, order="F")


def read_volume_header(path: Path) -> tuple[Header, Grid]:
    """The header of a file and its grid; the voxels are not read."""
    header: Header = read_header(path) if _is_nifti(path) else read_itk_header(path)
    return header, _grid(path, header)


def read_image(path: str | Path, grid: Grid | None = None) -> Volume:
    """A CT in HU. With `grid`, that of its label map: resampled onto it, with a warning, when it lies on another.

    Raises BadInputError when the file cannot be read, and when image and grid do not overlap.
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
    """Share of a label map's voxels that its image covers; None where both lie on one grid, so nothing is resampled.

    Raises BadInputError when they do not overlap.
    """
    if image.is_close(labels):
        return None
    covered = labels.overlap_share(image)
    if covered == 0:
        raise BadInputError(
            f"{path}: image and label map lie apart in space; check that they belong together and that both headers "
            "are right"
        )
    return covered


def resampling_warning(covered: float) -> str:
    """What is to be told of an image on another grid than its label map."""
    return f"not on its label map's grid; resampled onto it ({covered:.0%} covered)"


def write_stored(path: Path, header: Header, stored: npt.NDArray[np.generic]) -> None:
    """Write stored values under a header, in the header's own format, atomically."""
    is_nifti = isinstance(header, NiftiHeader)
    if _is_nifti(path) != is_nifti:
        raise BadInputError(f"{path}: written from a file of another format; give it that file's ending")
    if isinstance(header, NiftiHeader):
        write_nifti(path, header, stored)
    else:
        write_itk(path, header, stored)


def _is_nifti(path: Path) -> bool:
    ending = volume_ending(path)
    if ending is None:
        raise BadInputError(f"{path}: not a volume that can be read; known endings: {', '.join(VOLUME_ENDINGS)}")
    return ending in (".nii", ".nii.gz")


def _grid(path: Path, header: Header) -> Grid:
    shape = header.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        advice = {
            2: "give the whole volume, not a slice",
            4: "of a one-hot stack give one map of ids (argmax over the channels), of a time series one frame",
        }.get(len(shape), "give a volume of three axes")
        raise BadInputError(f"{path}: has {len(shape)} axes (shape {header.shape}), a label map has 3; {advice}")
    try:
        return Grid(shape, header.affine)
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error
