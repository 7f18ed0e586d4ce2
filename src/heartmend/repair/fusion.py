"""Fusion of the signed distance maps of all structures into one label map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.distance import DistanceMap
from heartmend.repair.rules.context import maps_by_name
from heartmend.types import BACKGROUND, Labels

Mode = Literal["evidence", "priority"]

GAP_VOXELS = 0.6
"""A gap between two structures is closed up to this distance from the nearer one, in voxels."""
GAP_RATIO = 2.5
"""Largest distance to the farther structure of a closed gap, as a multiple of that to the nearer one."""
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
    for start in range(0, shape[0], thickness):
        slab = slice(start, start + thickness)
        steps = [named[s.name].steps[slab] for s in order]
        original_slab = None if original is None else original[slab]
        margin, reach = margin_mm / step_mm, GAP_VOXELS * voxel / step_mm
        labels[slab] = _fused(steps, ids, is_tube, original_slab, mode, margin, reach)
    return labels


def _fused(
    maps: list[npt.NDArray[np.int8]],
    ids: Labels,
    is_tube: list[bool],
    original: Labels | None,
    mode: Mode,
    margin: float,
    reach: float,
) -> Labels:
    """Fuse maps that are given in the order of their priority; distances, margin and reach in steps."""
    shape = maps[0].shape
    first = np.full(shape, -1, dtype=np.int8)
    first_value = np.zeros(shape, dtype=np.float32)
    best_index = np.zeros(shape, dtype=np.int8)
    best = np.full(shape, -np.inf, dtype=np.float32)
    second = best.copy()
    for i, steps in enumerate(maps):
        value = steps.astype(np.float32)
        claimed = (first < 0) & (value > 0)
        first[claimed] = i
        first_value[claimed] = value[claimed]
        if is_tube[i]:
            # The width of a thin vessel is known from its tree: it fills no gap and bounds none.
            continue
        better = value > best
        np.copyto(second, np.where(better, best, np.maximum(second, value)))
        best_index[better] = i
        best[better] = value[better]
    winner = first.copy()
    if mode == "evidence":
        is_first_tube = np.isin(first, [i for i, tube in enumerate(is_tube) if tube])
        deeper = (first >= 0) & ~is_first_tube & (best > first_value + margin)
        winner[deeper] = best_index[deeper]
    gap = (first < 0) & (best > -reach) & (second > -GAP_RATIO * reach)
    if original is not None:
        gap &= original != BACKGROUND
    winner[gap] = best_index[gap]
    return np.where(winner >= 0, ids[winner], BACKGROUND).astype(np.uint8)
