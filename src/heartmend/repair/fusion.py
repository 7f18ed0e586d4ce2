"""Ten shapes to one label map: who has a voxel that several claim, and who has one that none does."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.repair.rules.scene import Fields, by_name
from heartmend.types import BACKGROUND, Labels

Mode = Literal["evidence", "priority"]

# How much farther than from the nearer of two structures a crack may lie from the other.
CRACK_WIDTH = 2.5
# Slabs of the first axis keep the working memory small.
_SLAB_VOXELS = 1 << 20


def fuse(
    fields: Fields,
    anatomy: Anatomy,
    spacing_mm: tuple[float, float, float],
    before: Labels | None = None,
    mode: Mode = "evidence",
    margin_mm: float = 1.0,
    step_mm: float = 1.0,
    crack_voxels: float = 0.6,
) -> Labels:
    """One label map from the structures' signed distances (positive inside, in units of `step_mm`).

    Of several structures that claim a voxel, the first in the anatomy's priority has it; in mode "evidence" the one
    that is surest, if it is so by more than `margin_mm`. Tubes keep their priority: a thin vessel is never deep.
    A crack of background between two structures goes to the nearer one, if that lies within `crack_voxels` and `before`
    has no background there; a tube fills none.
    """
    named = by_name(fields, anatomy)
    order = [anatomy.by_name(name) for name in anatomy.priority if name in named]
    if not order:
        raise ValueError("there is nothing to fuse: no fields were given")
    shape = named[order[0].name].shape
    ids = np.array([s.id for s in order], dtype=np.uint8)
    voxel = float(np.prod(spacing_mm)) ** (1 / 3)
    labels = np.zeros(shape, dtype=np.uint8)
    step = max(_SLAB_VOXELS // max(int(np.prod(shape[1:])), 1), 1)
    is_tube = [s.kind == "tube" for s in order]
    for start in range(0, shape[0], step):
        part = slice(start, start + step)
        slabs = [named[s.name][part] for s in order]
        was = None if before is None else before[part]
        labels[part] = _fused(slabs, ids, is_tube, was, mode, margin_mm / step_mm, crack_voxels * voxel / step_mm)
    return labels


def _fused(
    slabs: list[npt.NDArray[Any]],
    ids: Labels,
    is_tube: list[bool],
    before: Labels | None,
    mode: Mode,
    margin: float,
    reach: float,
) -> Labels:
    shape = slabs[0].shape
    first = np.full(shape, -1, dtype=np.int8)
    first_value = np.zeros(shape, dtype=np.float32)
    best_at = np.zeros(shape, dtype=np.int8)
    best = np.full(shape, -np.inf, dtype=np.float32)
    second = best.copy()
    for i, field in enumerate(slabs):
        value = field.astype(np.float32)
        claims = (first < 0) & (value > 0)
        first[claims] = i
        first_value[claims] = value[claims]
        if is_tube[i]:
            # A thin vessel is as wide as its tree says: it neither fills a crack nor is one beside it.
            continue
        better = value > best
        np.copyto(second, np.where(better, best, np.maximum(second, value)))
        best_at[better] = i
        best[better] = value[better]
    winner = first.copy()
    if mode == "evidence":
        by_tube = np.isin(first, [i for i, tube in enumerate(is_tube) if tube])
        surer = (first >= 0) & ~by_tube & (best > first_value + margin)
        winner[surer] = best_at[surer]
    crack = (first < 0) & (best > -reach) & (second > -CRACK_WIDTH * reach)
    if before is not None:
        crack &= before != BACKGROUND
    winner[crack] = best_at[crack]
    return np.where(winner >= 0, ids[winner], BACKGROUND).astype(np.uint8)
