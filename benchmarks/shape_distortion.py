"""Distortion of shapes as in section 3.2 of the NeAR paper: cubes, dilation or erosion, and speckle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter

from heartmend.types import Mask


@dataclass(frozen=True)
class Distortion:
    """Strength of each distortion.

    With the default values each of the three alone gives a mean Dice of about 0.89 on adrenal glands at 64³, and all
    three together about 0.71.

    Attributes:
        cubes: smallest and largest number of boxes.
        sides: smallest and largest number of voxels of their sides.
        rim: share of the neighbourhood in which the shape is dilated or eroded by one voxel, in patches.
        patch_voxels: size of these patches, in voxels.
        speckle: share of the voxels near the shape that are flipped.
        reach_voxels: largest distance of these voxels from the shape.
    """

    cubes: tuple[int, int] = (10, 17)
    sides: tuple[int, int] = (3, 8)
    rim: float = 0.42
    patch_voxels: float = 4.0
    speckle: float = 0.065
    reach_voxels: int = 4


def distort(mask: Mask, rng: np.random.Generator, by: Distortion = Distortion()) -> Mask:
    """Distort a mask.

    First, boxes at random points of its boundary are added or removed. Then the shape is dilated by one voxel in some
    patches and eroded in others, where a smooth random field is high or low. Last, random voxels near the shape are
    flipped.

    Args:
        mask: (x, y, z) bool.
        rng: random generator.
        by: strength of the distortions.

    Returns:
        The distorted mask, of the same shape.
    """
    out = mask.copy()
    boundary = np.argwhere(mask & ~binary_erosion(mask))
    for _ in range(rng.integers(by.cubes[0], by.cubes[1] + 1)):
        centre = boundary[rng.integers(len(boundary))]
        sides = rng.integers(by.sides[0], by.sides[1] + 1, 3)
        first = np.maximum(centre - sides // 2, 0)
        out[tuple(slice(a, a + side) for a, side in zip(first, sides, strict=True))] = rng.random() < 0.5
    field = gaussian_filter(rng.standard_normal(mask.shape), by.patch_voxels)
    region = binary_dilation(mask, iterations=by.reach_voxels + 2)
    low, high = np.quantile(field[region], [by.rim / 2, 1 - by.rim / 2])
    out = np.where(field > high, binary_dilation(out), np.where(field < low, binary_erosion(out), out))
    near = binary_dilation(mask, iterations=by.reach_voxels)
    flipped: Mask = out ^ (near & (rng.random(mask.shape) < by.speckle))
    return flipped
