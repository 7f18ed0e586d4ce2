"""Detection of slice staircases: label maps that were drawn on thick slices and resampled to thin ones.

Such a map hardly changes within a block of slices and jumps between two blocks. Only one slice of each block was drawn.
A map that was made at a coarser spacing along all axes, as many networks do, has staircases along all three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d
from skimage.filters import threshold_otsu

from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.masks import count_per_slice, mask_of_ids
from heartmend.types import BACKGROUND, Labels

MIN_THICKNESS, MAX_THICKNESS = 1.4, 8
"""Thickness of the blocks that are searched, in slices."""
MIN_BLOCKS = 6
MAX_CONTRAST = 0.6
"""Largest contrast of a staircase whose blocks have equal length: the upper quartile of the changes within blocks,
divided by the lower quartile of those between blocks."""
MIN_UNEVEN_BLOCKS = 12
MAX_UNEVEN_CONTRAST = 0.4
MIN_UNEVEN_SCORE = 0.8
"""Limits for blocks of uneven length are stricter, because very many such lattices exist and one may fit by chance."""


@dataclass(frozen=True)
class SliceStaircase:
    """Staircase of a label map along one axis.

    If the thickness is no whole number, the lengths of the blocks differ by one slice: 1.7 gives blocks of one and two.

    Attributes:
        axis: axis of the staircase.
        thickness: thickness of a drawn slice, in slices of the map.
        offset: position where a block starts, in slices; further blocks start at every multiple of `thickness` from it.
    """

    axis: int
    thickness: float
    offset: float

    def blocks(self, count: int) -> list[tuple[int, int, float]]:
        """List the blocks of a map.

        The drawn slice of a block is its middle. With a whole even thickness it is the later of the two middle slices,
        because resampling to the nearest slice rounds halves up (ITK); if the map was resampled in another way, the
        position is one slice off.

        Args:
            count: number of slices of the map.

        Returns:
            For each block its first slice, the slice after its last one, and the position of the drawn slice.

        Example:
            >>> SliceStaircase(axis=0, thickness=3, offset=0).blocks(7)
            [(0, 3, 1.0), (3, 6, 4.0), (6, 7, 6.0)]
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
    """Find the slice staircases of a label map.

    Args:
        labels: (x, y, z) uint8.
        ids: ids of the structures to measure; None for all. Thin structures should be left out, because they change
            from slice to slice in any case.

    Returns:
        At most one staircase for each axis.
    """
    box = bounding_box(labels)
    if box is None:
        return ()
    part = labels[box]
    measured = part if ids is None else np.where(mask_of_ids(part, ids), part, BACKGROUND)
    found = (_along_axis(np.moveaxis(measured, axis, 0), axis, box[axis].start) for axis in range(3))
    return tuple(staircase for staircase in found if staircase is not None)


def _along_axis(slices: Labels, axis: int, first: int) -> SliceStaircase | None:
    """Find the staircase along the first axis of `slices`: axis `axis` of the map from its slice `first` on."""
    filled = np.flatnonzero(slices.any(axis=(1, 2)))
    if len(filled) < 2:
        return None
    low, high = int(filled[0]), int(filled[-1]) + 1
    change = count_per_slice(slices[low : high - 1] != slices[low + 1 : high]).astype(float)
    # Changes are measured relative to those nearby, because a heart changes less towards its ends.
    change /= uniform_filter1d(change, 2 * MAX_THICKNESS, mode="nearest") + 1.0
    # Change i is between the slices i and i + 1: a block may start at i + 1.
    starts = np.arange(low, high - 1) + first + 1
    lattices = [_Lattice(float(n), float(o)) for n in range(2, MAX_THICKNESS + 1) for o in range(n)]
    lattices = [lattice for lattice in lattices if len(change) >= MIN_BLOCKS * lattice.thickness]
    if not lattices:
        return None
    even = min(lattices, key=lambda lattice: lattice.contrast(change, starts))
    if even.contrast(change, starts) < MAX_CONTRAST:
        return SliceStaircase(axis, even.thickness, even.offset)
    uneven = _uneven_lattice(change, starts)
    if uneven is not None and uneven.contrast(change, starts) < MAX_UNEVEN_CONTRAST:
        return SliceStaircase(axis, round(uneven.thickness, 4), round(uneven.offset, 4))
    return None


class _Lattice(NamedTuple):
    """Positions at which blocks start."""

    thickness: float
    offset: float

    def between_blocks(self, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Check whether the change before each slice of `starts` is between two blocks."""
        position = (starts - self.offset) / self.thickness + 1e-9
        jumps: npt.NDArray[np.bool_] = np.floor(position) != np.floor(position - 1 / self.thickness)
        return jumps

    def contrast(self, change: npt.NDArray[np.float64], starts: npt.NDArray[np.int64]) -> float:
        """Compute the ratio of changes within and between blocks, by quantiles, robust against single slices."""
        between = self.between_blocks(starts)
        if between.all() or not between.any():
            return np.inf
        jumps = _quantile(change[between], 0.25)
        return _quantile(change[~between], 0.75) / jumps if jumps > 0 else np.inf


def _quantile(values: npt.NDArray[np.float64], share: float) -> float:
    """Compute a quantile as `numpy.quantile`, which takes far longer for a hundred values."""
    ordered = np.sort(values)
    position = share * (len(ordered) - 1)
    lower = int(position)
    low, high = float(ordered[lower]), float(ordered[min(lower + 1, len(ordered) - 1)])
    return low + (high - low) * (position - lower)


def _uneven_lattice(change: npt.NDArray[np.float64], starts: npt.NDArray[np.int64]) -> _Lattice | None:
    """Find the lattice with a fractional thickness that fits best, by a coarse and a fine search."""
    if len(change) < MIN_UNEVEN_BLOCKS * MIN_THICKNESS or not np.ptp(change):
        return None
    # A drawn slice that is one slice thick has a jump on either side, each half as large: hence the logarithm.
    sizes = np.log(change + 0.05)
    large = sizes > threshold_otsu(sizes)
    thickest = min(float(MAX_THICKNESS), len(change) / MIN_UNEVEN_BLOCKS)
    # Neighbouring thicknesses differ by a quarter of a slice at the end of the map.
    count = int(4 * len(change) * np.log(thickest / MIN_THICKNESS)) + 1
    thicknesses = np.geomspace(MIN_THICKNESS, thickest, count)
    counts = np.ceil(thicknesses / 0.25).astype(int)
    offset = 0.25 * (np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts))
    coarse = _best_offsets(large, starts, np.stack([np.repeat(thicknesses, counts), offset], axis=1))
    near = coarse[np.lexsort(coarse.T[::-1])[:-7:-1], 1:]
    steps = np.linspace(-0.25, 0.25, 21)
    fine = np.empty((len(near), 21, 21, 2))
    fine[..., 0] = (near[:, :1] + steps * near[:, :1] / len(change))[:, :, None]
    fine[..., 1] = (near[:, 1:] + steps)[:, None]
    found = _best_offsets(large, starts, fine.reshape(-1, 2))
    best = found[:, 0].max()
    if best < MIN_UNEVEN_SCORE:
        return None
    # Many lattices give the same blocks; their middle is nearest to the truth.
    same = found[found[:, 0] >= best - 1e-9, 1:]
    thickness, offset = same[
        np.argmin(np.square((same - same.mean(axis=0)) / (np.ptp(same, axis=0) + 1e-9)).sum(axis=1))
    ]
    return _Lattice(float(thickness), float(offset % thickness))


def _best_offsets(
    large: npt.NDArray[np.bool_], starts: npt.NDArray[np.int64], lattices: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Lattices with the best offsets of each thickness.

    Each of the ten thousand lattices is evaluated only at the starts of its blocks.

    Args:
        large: (n,) bool, whether a change is large.
        starts: (n,) consecutive slices: change i is before the slice `starts[i]`.
        lattices: (k, 2) thickness and offset, those of one thickness together.

    Returns:
        (m, 3) score, thickness and offset. The score is the share of large changes between blocks less that within
        blocks.
    """
    thickness, offset = lattices.T
    blocks = (len(starts) / thickness).astype(int) + 2
    lattice = np.repeat(np.arange(len(blocks)), blocks)
    number = np.arange(len(lattice)) - np.repeat(np.cumsum(blocks) - blocks, blocks)
    number += np.repeat(np.floor((starts[0] - 1 - offset) / thickness).astype(int), blocks)
    # A start that is next to a whole number counts as that number.
    start = np.ceil(offset[lattice] + thickness[lattice] * (number - 1e-9)).astype(int) - starts[0]
    inside = (start >= 0) & (start < len(starts))
    lattice, start = lattice[inside], start[inside]
    edges = np.bincount(lattice, minlength=len(blocks))
    hits = np.bincount(lattice[large[start]], minlength=len(blocks))
    within = len(starts) - edges
    score = hits / np.maximum(edges, 1) - (large.sum() - hits) / np.maximum(within, 1)
    first = np.flatnonzero(np.diff(thickness, prepend=np.nan) != 0)
    best = np.repeat(np.maximum.reduceat(score, first), np.diff(np.append(first, len(score))))
    return np.column_stack([score, lattices])[score == best]
