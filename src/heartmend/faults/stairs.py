"""Stairs: a label map that was made on thick slices and put onto thin ones, each slice several times over.

The map itself says so: it hardly changes within a block of slices and jumps between two blocks. Then only one slice
of each block was ever drawn, and what lies between two drawn slices is interpolated from their shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import edt
import numpy as np
from scipy.ndimage import uniform_filter1d

from heartmend.types import BACKGROUND, Labels

LONGEST_BLOCK = 8
FEWEST_BLOCKS = 6
CONTRAST = 0.6
"""Stairs: three of four steps within blocks change less than this share of what three of four between blocks do."""


@dataclass(frozen=True)
class Stairs:
    """Blocks of `thickness` equal slices along `axis`; a block begins at every index that is `offset` modulo it."""

    axis: int
    thickness: int
    offset: int

    def drawn(self, count: int) -> list[tuple[int, int, int]]:
        """For each block of `count` slices: its first slice, the one behind it, and the one that was drawn.

        That is the middle one; of an even block the later of the two, as resampling to the nearest rounds halves up
        (ITK). A label map alone cannot tell, and the other choice is one voxel off.
        """
        first = self.offset % self.thickness
        edges = [*range(first, count, self.thickness), count]
        edges = edges if first == 0 else [0, *edges]
        blocks = []
        for start, stop in pairwise(edges):
            whole = start if start != 0 or first == 0 else first - self.thickness
            middle = min(max(whole + self.thickness // 2, start), stop - 1)
            blocks.append((start, stop, middle))
        return blocks


def find_stairs(labels: Labels, ids: Sequence[int] | None = None) -> Stairs | None:
    """The stairs of a label map (x, y, z) along the axis where they are plainest, None when there are none.

    ids: the structures that count; thin ones change from slice to slice in any case and may be left out.
    """
    shown = labels if ids is None else np.where(np.isin(labels, ids), labels, BACKGROUND)
    best: tuple[float, Stairs] | None = None
    for axis in range(3):
        slices = np.moveaxis(shown, axis, 0)
        filled = np.flatnonzero(slices.any(axis=(1, 2)))
        if not len(filled):
            return None
        low, high = int(filled[0]), int(filled[-1]) + 1
        change = np.array([(slices[i] != slices[i + 1]).sum() for i in range(low, high - 1)], dtype=float)
        # What counts is a change beside those about it: towards its ends a heart changes less.
        change /= uniform_filter1d(change, 2 * LONGEST_BLOCK, mode="nearest") + 1.0
        # A change at step i lies between the slices i and i + 1: a block begins at i + 1.
        begins = np.arange(low, high - 1) + 1
        for thickness in range(2, LONGEST_BLOCK + 1):
            if len(change) < FEWEST_BLOCKS * thickness:
                break
            for offset in range(thickness):
                between = begins % thickness == offset
                within, jumps = np.quantile(change[~between], 0.75), np.quantile(change[between], 0.25)
                contrast = within / max(jumps, 1e-6)
                if jumps > 0 and contrast < CONTRAST and (best is None or contrast < best[0]):
                    best = (contrast, Stairs(axis, thickness, offset))
            if best is not None and best[1].axis == axis:
                break
    return None if best is None else best[1]


def without_stairs(labels: Labels, stairs: Stairs, spacing_mm: Sequence[float], ids: Sequence[int]) -> Labels:
    """The label map with the structures `ids` interpolated between the slices that were drawn.

    Between two drawn slices each structure's signed distances within the slice are interpolated linearly (shape-based
    interpolation, Raya and Udupa, IEEE TMI 1990) and the structure that is deepest inside has the voxel. What a
    block shows in most of its slices is taken for what was drawn. Other ids stay as they are.
    """
    axis = stairs.axis
    slices = np.moveaxis(labels, axis, 0)
    within_mm = tuple(s for a, s in enumerate(spacing_mm) if a != axis)
    blocks = stairs.drawn(slices.shape[0])
    filled = np.asarray(np.isin(slices, ids).any(axis=0))
    if not filled.any():
        return labels
    window = tuple(_extent(np.asarray(filled.any(axis=1 - a)), 4) for a in range(2))
    part = slices[(slice(None), *window)]
    at = np.array([middle for _, _, middle in blocks], dtype=float)
    place = np.interp(np.arange(len(part)), at, np.arange(len(at)))
    lower = np.minimum(place.astype(int), len(at) - 1)
    upper = np.minimum(lower + 1, len(at) - 1)
    share = (place - lower).astype(np.float32)[:, None, None]
    deepest = np.zeros(part.shape, dtype=np.float32)
    out = np.where(np.isin(part, ids), BACKGROUND, part)
    for id in ids:
        if not (part == id).any():
            continue
        most = [_most(part[start:stop] == id) for start, stop, _ in blocks]
        drawn = np.stack([_signed(mask, within_mm) for mask in most])
        voxels = sum(int(mask.sum()) * (stop - start) for mask, (start, stop, _) in zip(most, blocks, strict=True))
        depth = (1 - share) * drawn[lower] + share * drawn[upper]
        depth += _shortfall(depth, voxels, 0.5 * min(within_mm))
        wins = depth > deepest
        deepest[wins] = depth[wins]
        out[wins & (np.isin(part, ids) | (part == BACKGROUND))] = id
    result = slices.copy()
    result[(slice(None), *window)] = out
    return np.ascontiguousarray(np.moveaxis(result, 0, axis))


def _shortfall(depth: np.ndarray, voxels: int, most_mm: float) -> np.float32:
    """What to add to the depths so that as many as `voxels` are positive, at most `most_mm` up or down.

    Every so many slices of a structure hold its volume without bias; interpolation loses where it moves sideways
    between two of them by as much as it is wide.
    """
    near = depth[np.abs(depth) <= most_mm]
    wanted = voxels - int((depth > most_mm).sum())
    if wanted <= 0 or wanted >= len(near):
        return np.float32(-most_mm if wanted <= 0 else most_mm)
    return np.float32(-np.partition(near, len(near) - wanted)[len(near) - wanted] + 1e-4)


def _most(block: np.ndarray) -> np.ndarray:
    """What more than half of a block's slices show; of two that differ, the later."""
    votes = block.sum(axis=0) * 2
    most: np.ndarray = (votes > len(block)) | ((votes == len(block)) & block[len(block) // 2])
    return most


def _signed(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Signed distance (mm) within a slice to a mask's boundary; far outside where the slice lacks the structure."""
    mask = np.ascontiguousarray(mask)
    if not mask.any():
        return np.full(mask.shape, -2.0 * max(spacing_mm), dtype=np.float32)
    half = min(spacing_mm) / 2
    inward = np.maximum(edt.edt(mask, anisotropy=spacing_mm) - half, 0)
    signed: np.ndarray = (inward - np.maximum(edt.edt(~mask, anisotropy=spacing_mm) - half, 0)).astype(np.float32)
    return signed


def _extent(line: np.ndarray, margin: int) -> slice:
    at = np.flatnonzero(line)
    return slice(max(int(at[0]) - margin, 0), int(at[-1]) + 1 + margin)
