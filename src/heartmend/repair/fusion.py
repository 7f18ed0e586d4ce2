"""Fusion of the signed distance maps of all structures into one label map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.distance import DistanceMap
from heartmend.repair.rules.context import maps_by_name
from heartmend.types import BACKGROUND, Labels

Mode = Literal["evidence", "priority"]

GAP_VOXELS = 0.6
"""A gap between two structures is closed up to this distance from the nearer one, in voxels."""
GAP_RATIO = 2.5
"""Largest distance to the farther structure of a closed gap, as a multiple of that to the nearer one."""
_NO_STRUCTURE = -(1 << 14)
"""Distance in steps where there is no structure: below all limits, and its differences fit into 16 bits."""
_SLAB_VOXELS = 1 << 20
"""Voxels that are fused at once: slabs of the first axis keep the working memory small."""


def fuse(
    maps: Mapping[str, DistanceMap],
    anatomy: Anatomy,
    spacing_mm: tuple[float, float, float],
    original: Labels | None = None,
    mode: Mode = "evidence",
    margin_mm: float = 1.0,
) -> Labels:
    """Fuse the distance maps of the structures into one label map.

    A voxel that lies inside several structures goes to the first of them in the anatomy's priority. In mode "evidence"
    it goes to the structure with the largest distance, if that is larger by more than `margin_mm`. Tubes keep their
    priority, because no voxel of a thin vessel lies deep inside it. A narrow gap of background between two structures
    goes to the nearer one; tubes fill no gap.

    Args:
        maps: distance map (x, y, z) of each structure, by name; all of one shape and step.
        anatomy: the structures, their ids and their priority.
        spacing_mm: voxel spacing.
        original: (x, y, z) uint8, the label map before the repair; where it is background, no gap is closed.
        mode: "evidence" or "priority".
        margin_mm: difference of distances that overrules the priority, in mm.

    Returns:
        Label map (x, y, z) uint8.

    Raises:
        ValueError: if there are no maps, or their shapes or steps differ.
    """
    named = maps_by_name(maps, anatomy)
    order = [anatomy.by_name(name) for name in anatomy.priority if name in named]
    if not order:
        raise ValueError("nothing to fuse: no distance map was given")
    shape, step_mm = named[order[0].name].shape, named[order[0].name].step_mm
    ids = np.array([s.id for s in order], dtype=np.uint8)
    voxel = float(np.prod(spacing_mm)) ** (1 / 3)
    labels = np.zeros(shape, dtype=np.uint8)
    thickness = max(_SLAB_VOXELS // max(int(np.prod(shape[1:])), 1), 1)
    is_tube = [s.kind == "tube" for s in order]
    # In steps, which are whole numbers: a limit between two of them is the lower one.
    in_mm = (margin_mm, -GAP_VOXELS * voxel, -GAP_RATIO * GAP_VOXELS * voxel)
    limits = _Limits(mode, *(int(np.floor(mm / step_mm)) for mm in in_mm))
    for start in range(0, shape[0], thickness):
        slab = slice(start, start + thickness)
        steps = [named[s.name].steps[slab] for s in order]
        original_slab = None if original is None else original[slab]
        labels[slab] = _fused(steps, ids, is_tube, original_slab, limits)
    return labels


class _Limits(NamedTuple):
    """Limits of a fusion, in steps: a distance must be larger."""

    mode: Mode
    margin: int
    gap: int
    gap_of_second: int


def _fused(
    maps: list[npt.NDArray[np.int8]], ids: Labels, is_tube: list[bool], original: Labels | None, limits: _Limits
) -> Labels:
    """Fuse maps that are given in the order of their priority."""
    shape = maps[0].shape
    first, best_index = np.full(shape, -1, dtype=np.int8), np.zeros(shape, dtype=np.int8)
    first_value = np.zeros(shape, dtype=np.int16)
    best = np.full(shape, _NO_STRUCTURE, dtype=np.int16)
    second = best.copy()
    for i, steps in enumerate(maps):
        # Farther out a structure neither contains a voxel nor bounds a gap.
        if (box := bounding_box(steps > limits.gap_of_second)) is None:
            continue
        value = steps[box].astype(np.int16)
        claimed = (first[box] < 0) & (value > 0)
        np.copyto(first[box], np.int8(i), where=claimed)
        np.copyto(first_value[box], value, where=claimed)
        if is_tube[i]:
            # The width of a thin vessel is known from its tree: it fills no gap and bounds none.
            continue
        np.copyto(best_index[box], np.int8(i), where=value > best[box])
        np.maximum(second[box], np.minimum(best[box], value), out=second[box])
        np.maximum(best[box], value, out=best[box])
    winner = first.copy()
    if limits.mode == "evidence":
        is_first_solid = np.array([*(not tube for tube in is_tube), False])[first]
        np.copyto(winner, best_index, where=is_first_solid & (best - first_value > limits.margin))
    gap = (first < 0) & (best > limits.gap) & (second > limits.gap_of_second)
    if original is not None:
        gap &= original != BACKGROUND
    np.copyto(winner, best_index, where=gap)
    return np.append(ids, np.uint8(BACKGROUND))[winner]
