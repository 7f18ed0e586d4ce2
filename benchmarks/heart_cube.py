"""Label maps in a cube around the heart, as shares of the classes on a coarse lattice, and back; for `post_dae.py`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.ndimage import affine_transform

from heartmend.geometry.grid import Grid
from heartmend.types import Labels

SIDE = 64
"""Voxels along each side of the cube around a heart."""
FINER = 2
"""Samples of a label map along each side of a voxel."""
CLASSES = 11
Shares = npt.NDArray[np.float32]
Places = npt.NDArray[np.float64]
"""Place of each structure but the background: (`CLASSES` - 1, 3), mm from the centre of the cube."""


def cube_grid(labels: Labels, grid: Grid, spacing_mm: float, places: Places | None = None) -> Grid:
    """Make the cube around a heart, its centre the median place of the labelled voxels.

    Args:
        labels: (x, y, z) label map; 0 is background.
        grid: its grid.
        spacing_mm: side of a voxel of the cube.
        places: places of the structures in the cube, to which the cube is turned, and mirrored where that fits better
            (a header may have an axis reversed); None for the axes of the world, RAS+.

    Returns:
        A grid of `SIDE` voxels along each axis.

    Raises:
        ValueError: if no voxel has a label.
    """
    at = np.argwhere(labels > 0)
    if not len(at):
        raise ValueError("label map without a labelled voxel: there is no heart to put a cube around")
    at = at[:: max(len(at) // 50_000, 1)]
    points = grid.index_to_world(at)
    centre, turn = np.median(points, axis=0), np.eye(3)
    if places is not None:
        own = mean_places(points - centre, labels[tuple(at.T)])
        known = np.isfinite(own).all(axis=1) & np.isfinite(places).all(axis=1)
        here, there = (one[known] - one[known].mean(axis=0) for one in (own, places))
        left, _, right = np.linalg.svd(here.T @ there)
        turn = left @ right
    affine = np.eye(4)
    affine[:3, :3] = spacing_mm * turn
    affine[:3, 3] = centre - affine[:3, :3] @ np.full(3, (SIDE - 1) / 2)
    return Grid((SIDE, SIDE, SIDE), affine)


def mean_places(points: npt.NDArray[np.float64], ids: Labels) -> Places:
    """Compute the mean of the points of each structure: (`CLASSES` - 1, 3), NaN for a structure without points."""
    counts = np.bincount(ids, minlength=CLASSES)[1:, None]
    sums = np.stack([np.bincount(ids, points[:, axis], CLASSES)[1:] for axis in range(3)], axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def usual_places(maps: Iterable[Labels], spacing_mm: float) -> Places:
    """Compute the mean places of the structures in samples of several cubes, in mm from the centre of the cube."""
    found = []
    for samples in maps:
        at = np.argwhere(samples > 0)
        points = (at - (samples.shape[0] - 1) / 2) * spacing_mm / FINER
        found.append(mean_places(points, samples[tuple(at.T)]))
    there = np.isfinite(found).sum(axis=0)
    return np.where(there > 0, np.nansum(found, axis=0) / np.maximum(there, 1), np.nan)


def samples_in_cube(labels: Labels, grid: Grid, cube: Grid) -> Labels:
    """Sample a label map at `FINER` places along each side of every voxel of a cube.

    Args:
        labels: (x, y, z) label map, 0 to `CLASSES` - 1.
        grid: its grid.
        cube: grid of the cube.

    Returns:
        (x, y, z) uint8, `FINER` times as long along each axis as the cube.
    """
    fine = cube.affine.copy()
    fine[:3, :3] /= FINER
    fine[:3, 3] -= cube.affine[:3, :3] @ np.full(3, (1 - 1 / FINER) / 2)
    matrix = np.linalg.inv(grid.affine) @ fine
    shape = tuple(FINER * n for n in cube.shape)
    found: Labels = affine_transform(labels, matrix[:3, :3], matrix[:3, 3], shape, np.uint8, order=0, cval=0)
    return found


def shares_of(samples: Labels) -> Shares:
    """Compute the share of each class among the samples of every voxel: (class, x, y, z) float32."""
    shape = tuple(n // FINER for n in samples.shape)
    found, at = np.zeros((CLASSES, int(np.prod(shape))), np.float32), np.arange(int(np.prod(shape)))
    for i, j, k in product(range(FINER), repeat=3):
        found[samples[i::FINER, j::FINER, k::FINER].ravel(), at] += FINER**-3
    return found.reshape(CLASSES, *shape)


def through_cube(labels: Labels, grid: Grid, spacing_mm: float) -> Labels:
    """Resample a label map to its cube and back, as the best that a map of this spacing can be."""
    cube = cube_grid(labels, grid, spacing_mm)
    return from_cube(shares_of(samples_in_cube(labels, grid, cube)), cube, grid)


def from_cube(shares: Shares, cube: Grid, grid: Grid, start: Labels | None = None) -> Labels:
    """Interpolate the shares of the classes linearly and take the largest.

    Args:
        shares: (class, x, y, z) in the cube.
        cube: grid of the cube.
        grid: grid of the label map.
        start: label map to whose shares, 0 or 1, these are added; None for none.

    Returns:
        The label map on `grid`; outside the cube `start`, or background.
    """
    matrix = np.linalg.inv(cube.affine) @ grid.affine
    low, high = _covered(cube, grid)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    offset = matrix[:3, :3] @ low + matrix[:3, 3]
    shape = tuple(int(n) for n in high - low)
    out = np.zeros(grid.shape, np.uint8) if start is None else start.astype(np.uint8)
    best, found = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    for number, one in enumerate(shares):
        values = affine_transform(one.astype(np.float32), matrix[:3, :3], offset, shape, np.float32, order=1)
        if start is not None:
            values += out[box] == number
        found[values > best] = number
        np.maximum(best, values, out=best)
    out[box] = found
    return out


def _covered(cube: Grid, grid: Grid) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """First voxel of a grid within the box of a cube, and the one after its last."""
    corners = np.stack([cube.index_to_world(corner) for corner in product((0, SIDE - 1), repeat=3)])
    inverse = np.linalg.inv(grid.affine)
    at = corners @ inverse[:3, :3].T + inverse[:3, 3]
    low = np.clip(np.floor(at.min(axis=0)), 0, grid.shape).astype(np.intp)
    return low, np.clip(np.ceil(at.max(axis=0)) + 1, 0, grid.shape).astype(np.intp)
