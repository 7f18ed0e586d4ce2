"""Cases on a coarse lattice, on which a network is trained in minutes without a GPU.

The lattice is parallel to right, anterior, superior and covers the volume. A voxel is the mean of 27 samples of the CT,
and the most frequent one of 27 samples of the label map.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import affine_transform

from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import CT_WINDOW_HU
from heartmend.io.atomic import read_npz, write_npz
from heartmend.io.volume import read_volume
from heartmend.types import FloatArray, Labels

Image = npt.NDArray[np.float32]
SAMPLES = 3
"""Samples along each side of a voxel."""
AIR_HU = -1024.0


@dataclass(frozen=True)
class CoarseFolder:
    """Folder in which coarse volumes are kept, so that each is resampled once.

    Attributes:
        folder: the folder.
        spacing_mm: side of a voxel.
    """

    folder: Path
    spacing_mm: float

    def labels(self, path: Path, name: str) -> Labels:
        """Return a label map on the lattice, (x, y, z) uint8; `name` is the place in the folder."""
        return self._kept(path, name, is_image=False).astype(np.uint8)

    def image(self, path: Path, name: str) -> Image:
        """Return a CT on the lattice, (x, y, z) float32, 0 to 1 over the CT window."""
        low, high = CT_WINDOW_HU
        hu = self._kept(path, name, is_image=True).astype(np.float32)
        return np.clip((hu - low) / (high - low), 0, 1).astype(np.float32)

    def _kept(self, path: Path, name: str, is_image: bool) -> npt.NDArray[np.generic]:
        kept = self.folder / f"{name}.npz"
        if not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            volume = read_volume(path)[0]
            resample = coarse_image if is_image else coarse_labels
            write_npz(kept, {"values": resample(np.asarray(volume.values), volume.grid, self.spacing_mm)})
        return read_npz(kept)["values"]


def coarse_grid(grid: Grid, spacing_mm: float) -> Grid:
    """Make the lattice of a volume.

    Args:
        grid: grid of the volume.
        spacing_mm: side of a voxel of the lattice.

    Returns:
        The smallest lattice from the first faces of the volume on that contains it, RAS+.

    Example:
        >>> coarse_grid(Grid((4, 4, 6), np.diag([-1.0, 1.0, 1.0, 1.0])), 2.0).shape
        (2, 2, 3)
    """
    faces = [(-0.5, length - 0.5) for length in grid.shape]
    corners = np.stack([grid.index_to_world(corner) for corner in product(*faces)])
    low, high = corners.min(axis=0), corners.max(axis=0)
    x, y, z = (int(count) for count in np.ceil((high - low) / spacing_mm - 1e-3))
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = low + spacing_mm / 2
    return Grid((x, y, z), affine)


def coarse_image(hu: npt.NDArray[np.generic], grid: Grid, spacing_mm: float) -> npt.NDArray[np.int16]:
    """Resample a CT to its lattice: the mean of 27 samples, interpolated linearly; outside the volume is air.

    Args:
        hu: (x, y, z) HU.
        grid: its grid.
        spacing_mm: side of a voxel of the lattice.

    Returns:
        (x, y, z) int16, HU.
    """
    samples = _samples(np.asarray(hu, np.float32), grid, spacing_mm, order=1, outside=AIR_HU)
    return np.rint(samples.mean(axis=(1, 3, 5))).astype(np.int16)


def coarse_labels(labels: npt.NDArray[np.generic], grid: Grid, spacing_mm: float) -> Labels:
    """Resample a label map to its lattice: the most frequent one of 27 samples, of equal ones the smallest value.

    Args:
        labels: (x, y, z), whole numbers up to 255.
        grid: its grid.
        spacing_mm: side of a voxel of the lattice.

    Returns:
        (x, y, z) uint8.
    """
    samples = _samples(np.asarray(labels).astype(np.uint8), grid, spacing_mm, order=0, outside=0)
    values = np.flatnonzero(np.bincount(samples.ravel(), minlength=1))
    votes = np.stack([np.count_nonzero(samples == value, axis=(1, 3, 5)) for value in values])
    return values[votes.argmax(axis=0)].astype(np.uint8)


def _samples(
    values: npt.NDArray[np.generic], grid: Grid, spacing_mm: float, order: int, outside: float
) -> npt.NDArray[np.generic]:
    """Sample a volume: (x, sample, y, sample, z, sample)."""
    lattice = coarse_grid(grid, spacing_mm)
    affine = np.diag([spacing_mm / SAMPLES] * 3 + [1.0])
    affine[:3, 3] = lattice.affine[:3, 3] - spacing_mm * (SAMPLES - 1) / (2 * SAMPLES)
    matrix = np.linalg.inv(grid.affine) @ affine
    shape = tuple(SAMPLES * count for count in lattice.shape)
    # One voxel more on each side: SciPy counts the outer half of the last voxel as outside.
    fine = affine_transform(
        np.pad(values, 1, mode="edge"), _matrix(matrix), matrix[:3, 3] + 1, shape, values.dtype, order,
        mode="constant", cval=outside,
    )  # fmt: skip
    x, y, z = lattice.shape
    return fine.reshape(x, SAMPLES, y, SAMPLES, z, SAMPLES)


def on_grid(values: Image, lattice: Grid, grid: Grid) -> Image:
    """Interpolate values of a lattice linearly at the voxels of a grid; outside the lattice its nearest value is taken.

    Args:
        values: (x, y, z) float32.
        lattice: their grid.
        grid: the grid.

    Returns:
        (x, y, z) float32.
    """
    matrix = np.linalg.inv(lattice.affine) @ grid.affine
    found: Image = affine_transform(
        values, _matrix(matrix), matrix[:3, 3], grid.shape, np.float32, order=1, mode="nearest"
    )
    return found


def _matrix(affine: FloatArray) -> FloatArray:
    """The matrix of an affine; of parallel axes the diagonal alone, which SciPy computes much faster."""
    matrix = affine[:3, :3]
    diagonal = np.diagonal(matrix)
    return diagonal if np.allclose(matrix, np.diag(diagonal), atol=1e-6) else matrix
