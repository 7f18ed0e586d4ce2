"""Boxes about a place, and the offsets of their voxels from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heartmend.geometry.boxes import Box
from heartmend.phantom.plan import Vector


def bounds_about(centre: Vector, reach: Vector, shape: tuple[int, ...]) -> Box:
    """Compute the box of voxels within a distance of a centre.

    Args:
        centre: (3,) voxel indices.
        reach: (3,) distance in voxels.
        shape: shape of the volume, to which the box is clipped.

    Returns:
        Slices along x, y and z.

    Example:
        >>> bounds_about(np.array([2.0, 2, 2]), np.array([1.0, 1, 9]), (8, 8, 8))
        (slice(1, 4, None), slice(1, 4, None), slice(0, 8, None))
    """
    low = np.clip(np.floor(centre - reach).astype(int), 0, shape)
    high = np.clip(np.ceil(centre + reach).astype(int) + 1, low, shape)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return x, y, z


def offsets_mm(box: Box, centre: Vector, spacing_mm: Vector) -> NDArray[np.float64]:
    """Compute the offsets of the voxels of a box from a centre.

    Args:
        box: slices along x, y and z.
        centre: (3,) voxel indices.
        spacing_mm: voxel size along x, y and z in mm.

    Returns:
        float64 array (x, y, z, 3) in mm.
    """
    grid = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"), axis=-1)
    return np.asarray((grid - centre) * spacing_mm)
