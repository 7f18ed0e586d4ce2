"""Where two structures meet: the voxels that either of the two could have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from heartmend.types import BACKGROUND

Steps = npt.NDArray[np.int8]
"""Signed distances in steps, positive inside."""

BACKGROUND_BEHIND_MM = 0.5
"""Inside a structure its neighbour comes before the background as the other claimant, unless it lies so much deeper:
where two touch, both are equally far."""
FEWEST_VOXELS = 200
"""A border of fewer voxels is too small to tell how the image looks along it."""


@dataclass(frozen=True, eq=False)
class Border:
    """The voxels about the surface between two structures, of which one may be the background.

    low, high: their ids, low < high; voxels: (m,) flat indices; depth_mm: (m,) distance from the surface as the
    shapes have it, positive on the side of `high`.
    """

    low: int
    high: int
    voxels: npt.NDArray[np.intp]
    depth_mm: npt.NDArray[np.float32]


def borders(fields: Mapping[int, Steps], step_mm: float, reach_mm: float) -> list[Border]:
    """All borders between structures, in the order of their ids; a voxel belongs to one border at most.

    fields: for each id its signed distances (x, y, z), in steps of `step_mm`. A voxel belongs to the border of the two
    that claim it most, the background among them, if it lies within `reach_mm` of where both claim it equally.
    """
    first, second, best, next_best = _claims(fields)
    behind = round(BACKGROUND_BEHIND_MM / step_mm)
    # The background is as far inside as the nearest structure is outside.
    against_background = (best <= 0) | (-best - behind > next_best)
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
        if count >= FEWEST_VOXELS:
            at = order[start : start + count]
            found.append(Border(int(code) // 256, int(code) % 256, near[at], signed[at].astype(np.float32)))
    return found


def _claims(
    fields: Mapping[int, Steps],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """The two structures that claim each voxel most, and how much they do, in steps."""
    shape = next(iter(fields.values())).shape
    first, second = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    best, next_best = np.full(shape, -128, np.int16), np.full(shape, -128, np.int16)
    for id, field in fields.items():
        ahead = field > best
        passed = ~ahead & (field > next_best)
        second[ahead], next_best[ahead] = first[ahead], best[ahead]
        first[ahead], best[ahead] = id, field[ahead]
        second[passed], next_best[passed] = id, field[passed]
    return first, second, best, next_best
