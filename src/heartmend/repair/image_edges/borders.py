"""Borders between structures: the voxels that belong to one of two structures, depending on where the surface runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from heartmend.geometry.distance import DistanceMap
from heartmend.types import BACKGROUND

BACKGROUND_DEPTH_MM = 0.5
"""Inside a structure the neighbouring structure is the second candidate before the background, unless the background
is nearer by more than this: where two structures touch, both are equally near."""
MIN_VOXELS = 200
"""A border of fewer voxels is too small to estimate the appearance of its edge in the image."""


@dataclass(frozen=True, eq=False)
class Border:
    """Voxels about the surface between two structures, one of which may be the background.

    Attributes:
        low: the lower id.
        high: the higher id.
        voxels: (m,) flat indices of the voxels.
        depth_mm: (m,) float32, distance from the surface by the distance maps, positive on the side of `high`.
    """

    low: int
    high: int
    voxels: npt.NDArray[np.intp]
    depth_mm: npt.NDArray[np.float32]


def borders(maps: Mapping[int, DistanceMap], reach_mm: float) -> list[Border]:
    """Find all borders between structures.

    A voxel belongs to the border of its two nearest structures, which may include the background, if it lies within
    `reach_mm` of the surface between them. It belongs to one border at most.

    Args:
        maps: distance map (x, y, z) of each structure by id, at least one; all of one shape and step.
        reach_mm: largest distance of a voxel from the surface.

    Returns:
        The borders of at least `MIN_VOXELS` voxels, in the order of their ids.
    """
    step_mm = next(iter(maps.values())).step_mm
    first, second, best, next_best = _two_nearest(maps)
    background_depth = round(BACKGROUND_DEPTH_MM / step_mm)
    # The background is as deep at a voxel as the nearest structure is far.
    against_background = (best <= 0) | (-best - background_depth > next_best)
    depth = np.where(against_background, 2 * best, best - next_best).astype(np.int16)
    other = np.where(against_background, np.uint8(BACKGROUND), second)
    near = np.flatnonzero(np.abs(depth) < 2 * reach_mm / step_mm)
    one, two = first.ravel()[near], other.ravel()[near]
    low, high = np.minimum(one, two), np.maximum(one, two)
    signed = np.where(one == high, 1, -1) * depth.ravel()[near] * np.float32(step_mm / 2)
    pair = low.astype(np.int32) * 256 + high
    order = np.argsort(pair, kind="stable")
    found = []
    codes, starts, counts = np.unique(pair[order], return_index=True, return_counts=True)
    for code, start, count in zip(codes, starts, counts, strict=True):
        if count >= MIN_VOXELS:
            at = order[start : start + count]
            found.append(Border(int(code) // 256, int(code) % 256, near[at], signed[at].astype(np.float32)))
    return found


def _two_nearest(
    maps: Mapping[int, DistanceMap],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Find the ids of the two structures with the largest distances at each voxel, and these distances in steps."""
    shape = next(iter(maps.values())).shape
    first, second = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    best, next_best = np.full(shape, -128, np.int16), np.full(shape, -128, np.int16)
    for id, distances in maps.items():
        steps = distances.steps
        ahead = steps > best
        passed = ~ahead & (steps > next_best)
        second[ahead], next_best[ahead] = first[ahead], best[ahead]
        first[ahead], best[ahead] = id, steps[ahead]
        second[passed], next_best[passed] = id, steps[passed]
    return first, second, best, next_best
