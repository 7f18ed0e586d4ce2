"""SliceStaircase: a label map that was made on thick slices and put onto thin ones, each slice several times over.

The map itself says so: it hardly changes within a block of slices and jumps between two blocks. Then only one slice
of each block was ever drawn, and what lies between two drawn slices is interpolated from their shapes. A map that was
made at a coarser spacing altogether, as networks do, has stairs along all three axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import edt
import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d
from skimage.filters import threshold_otsu

from heartmend.geometry.boxes import bounding_box
from heartmend.types import BACKGROUND, Labels

THINNEST_BLOCK, LONGEST_BLOCK = 1.4, 8
FEWEST_BLOCKS = 6
CONTRAST = 0.6
"""SliceStaircase: three of four steps within blocks change less than this share of what three of four between blocks do."""
FEWEST_UNEVEN_BLOCKS = 12
UNEVEN_CONTRAST = 0.4
UNEVEN_FIT = 0.8
"""Blocks of uneven length can be laid in very many ways, one of which may fit by chance: more is asked of them."""


@dataclass(frozen=True)
class SliceStaircase:
    """Slices along `axis` that were drawn `thickness` slices thick; a block begins with the first slice at or behind
    `offset`, and at every `thickness` from there.

    With a thickness that is no whole number the blocks differ by one slice in length: 1.7 makes blocks of one and two.
    """

    axis: int
    thickness: float
    offset: float

    def blocks(self, count: int) -> list[tuple[int, int, float]]:
        """For each block of `count` slices: its first slice, the one behind it, and where the drawn slice lies.

        That is the middle of the block; with a whole thickness, of the two middle slices of an even block the later, as
        resampling to the nearest rounds halves up (ITK): a map alone cannot tell, and the other is one voxel off.
        """
        number = np.floor((np.arange(count) - self.offset) / self.thickness + 1e-9).astype(int)
        edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), count]
        found = []
        for start, stop in pairwise(edges):
            middle = self.offset + (number[start] + 0.5) * self.thickness
            if float(self.thickness).is_integer():
                middle = np.floor(middle)
            found.append((start, stop, min(max(float(middle), float(start)), stop - 1.0)))
        return found


def find_slice_staircases(labels: Labels, ids: Sequence[int] | None = None) -> tuple[SliceStaircase, ...]:
    """The stairs of a label map (x, y, z), at most one for each axis.

    ids: the structures that count; thin ones change from slice to slice in any case and may be left out.
    """
    box = bounding_box(labels)
    if box is None:
        return ()
    part = labels[box]
    shown = np.ascontiguousarray(part if ids is None else np.where(np.isin(part, ids), part, BACKGROUND))
    found = (_along(np.moveaxis(shown, axis, 0), axis, box[axis].start) for axis in range(3))
    return tuple(staircases for staircases in found if staircases is not None)


def _along(slices: Labels, axis: int, first: int) -> SliceStaircase | None:
    """The stairs along the first axis of `slices`, which is `axis` of the map from its slice `first` on."""
    filled = np.flatnonzero(slices.any(axis=(1, 2)))
    if len(filled) < 2:
        return None
    low, high = int(filled[0]), int(filled[-1]) + 1
    change = np.array([(slices[i] != slices[i + 1]).sum() for i in range(low, high - 1)], dtype=float)
    # What counts is a change beside those about it: towards its ends a heart changes less.
    change /= uniform_filter1d(change, 2 * LONGEST_BLOCK, mode="nearest") + 1.0
    # A change at step i lies between the slices i and i + 1: a block begins at i + 1.
    begins = np.arange(low, high - 1) + first + 1
    fits = [_Lattice(float(n), float(o)) for n in range(2, LONGEST_BLOCK + 1) for o in range(n)]
    even = min(
        (f for f in fits if len(change) >= FEWEST_BLOCKS * f.thickness), key=lambda f: f.contrast(change, begins)
    )
    if even.contrast(change, begins) < CONTRAST:
        return SliceStaircase(axis, even.thickness, even.offset)
    uneven = _uneven(change, begins)
    if uneven is not None and uneven.contrast(change, begins) < UNEVEN_CONTRAST:
        return SliceStaircase(axis, round(uneven.thickness, 4), round(uneven.offset, 4))
    return None


class _Lattice(NamedTuple):
    """Where blocks of a thickness begin."""

    thickness: float
    offset: float

    def between(self, begins: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of the steps before the slices `begins` lie between two blocks."""
        place = (begins - self.offset) / self.thickness + 1e-9
        jumps: npt.NDArray[np.bool_] = np.floor(place) != np.floor(place - 1 / self.thickness)
        return jumps

    def contrast(self, change: npt.NDArray[np.float64], begins: npt.NDArray[np.int64]) -> float:
        """How little changes within blocks beside what changes between them; by quantiles, since a few odd slices
        show nothing."""
        between = self.between(begins)
        if between.all() or not between.any():
            return np.inf
        jumps = float(np.quantile(change[between], 0.25))
        return float(np.quantile(change[~between], 0.75)) / jumps if jumps > 0 else np.inf


def _uneven(change: npt.NDArray[np.float64], begins: npt.NDArray[np.int64]) -> _Lattice | None:
    """The blocks of no whole number of slices that fit best: first roughly, then finely about the best few."""
    if len(change) < FEWEST_UNEVEN_BLOCKS * THINNEST_BLOCK or not np.ptp(change):
        return None
    # A drawn slice that is one slice thick has two jumps beside each other, each half as large: hence the logarithm.
    sizes = np.log(change + 0.05)
    large = sizes > threshold_otsu(sizes)
    longest = min(float(LONGEST_BLOCK), len(change) / FEWEST_UNEVEN_BLOCKS)
    count = int(4 * len(change) * np.log(longest / THINNEST_BLOCK)) + 1
    # Neighbours differ by a quarter of a slice at the end of the map.
    rough = np.geomspace(THINNEST_BLOCK, longest, count)
    found = [fit for n in rough for fit in _best(large, begins, n, np.arange(0, n, 0.25))]
    fine = list[tuple[float, _Lattice]]()
    for _, (thickness, offset) in sorted(found, reverse=True)[:6]:
        for n in thickness + np.linspace(-0.25, 0.25, 21) * thickness / len(change):
            fine += _best(large, begins, n, offset + np.linspace(-0.25, 0.25, 21))
    best = max(score for score, _ in fine)
    if best < UNEVEN_FIT:
        return None
    # Many lattices give the same blocks; the one in their middle is nearest to the truth.
    same = np.array([lattice for score, lattice in fine if score >= best - 1e-9])
    thickness, offset = same[
        np.argmin(np.square((same - same.mean(axis=0)) / (np.ptp(same, axis=0) + 1e-9)).sum(axis=1))
    ]
    return _Lattice(float(thickness), float(offset % thickness))


def _best(
    large: npt.NDArray[np.bool_], begins: npt.NDArray[np.int64], thickness: float, offsets: npt.NDArray[np.float64]
) -> list[tuple[float, _Lattice]]:
    """The offsets that fit best: by the share of large changes between blocks less that within them (at most 1)."""
    place = (begins - offsets[:, None]) / thickness + 1e-9
    between = np.floor(place) != np.floor(place - 1 / thickness)
    edges = between.sum(axis=1)
    hits = (between & large).sum(axis=1)
    inside = len(begins) - edges
    score = hits / np.maximum(edges, 1) - (large.sum() - hits) / np.maximum(inside, 1)
    return [
        (float(score[row]), _Lattice(thickness, float(offsets[row]))) for row in np.flatnonzero(score == score.max())
    ]


def without_slice_staircase(
    labels: Labels, staircases: SliceStaircase, spacing_mm: Sequence[float], ids: Sequence[int]
) -> Labels:
    """The label map with the structures `ids` interpolated between the slices that were drawn.

    Between two drawn slices each structure's signed distances within the slice are interpolated linearly (shape-based
    interpolation, Raya and Udupa, IEEE TMI 1990) and the structure that is deepest inside has the voxel. What a
    block shows in most of its slices is taken for what was drawn. Other ids stay as they are.
    """
    axis = staircases.axis
    slices = np.moveaxis(labels, axis, 0)
    within_mm = tuple(s for a, s in enumerate(spacing_mm) if a != axis)
    box = bounding_box(slices)
    if box is None:
        return labels
    # A block more at either end holds nothing, as all beyond it does.
    blocks = [b for b in staircases.blocks(len(slices)) if b[1] > box[0].start - LONGEST_BLOCK - 1]
    blocks = [b for b in blocks if b[0] < box[0].stop + LONGEST_BLOCK + 1]
    along = slice(blocks[0][0], blocks[-1][1])
    window = (along, *(slice(max(side.start - 4, 0), side.stop + 4) for side in box[1:]))
    part = slices[window]
    blocks = [(start - along.start, stop - along.start, middle - along.start) for start, stop, middle in blocks]
    at = np.array([middle for _, _, middle in blocks])
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
    result = labels.copy(order="K")
    np.moveaxis(result, axis, 0)[window] = out
    return result


def _shortfall(depth: np.ndarray, voxels: int, most_mm: float) -> np.float32:
    """What to add to the depths so that as many as `voxels` are positive, at most `most_mm` up or down.

    Every so many slices of a structure hold its volume without bias; interpolation loses where it moves sideways
    between two of them by as much as it is wide.
    """
    near = depth[np.abs(depth) <= most_mm]
    wanted = voxels - int((depth > most_mm).sum())
    if wanted <= 0 or wanted >= len(near):
        return np.float32(-most_mm if wanted <= 0 else most_mm)
    level = np.partition(near, len(near) - wanted)[len(near) - wanted]
    # Depths come in steps of half a voxel: a step is taken whole or not at all, whichever is nearer.
    above, upto = int((near > level).sum()), int((near >= level).sum())
    return np.float32(-level + (1e-4 if upto - wanted <= wanted - above else -1e-4))


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
