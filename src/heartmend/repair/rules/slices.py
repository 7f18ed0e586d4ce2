"""Rules `slices` and `shifts`: missing slices are interpolated, shifted slices are moved back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.rule_parameters import ShiftsRule, SlicesRule
from heartmend.geometry.boxes import Box
from heartmend.geometry.distance import distance_to_other_label_mm
from heartmend.geometry.masks import count_per_slice
from heartmend.repair.changes import Change
from heartmend.repair.rules.context import Result, RuleContext
from heartmend.types import UNKNOWN, Labels, Mask

MIN_VOXELS = 50
"""A slice with less tissue is at the end of the heart, where neighbouring slices may differ."""
MIN_GAIN = 0.04
"""Smallest loss of agreement at a jump between two slices, and smallest gain by moving a run back."""


def slices(labels: Labels, context: RuleContext, rule: SlicesRule) -> Result:
    """Interpolate missing slices, and single slices that differ from two neighbours which agree with each other.

    The interpolation is shape-based: signed distances of each label are interpolated linearly, and a voxel gets the
    label with the largest one (Raya and Udupa, IEEE TMI 1990).

    Args:
        labels: (x, y, z) uint8; it is not changed.
        context: the grid.
        rule: parameters.

    Returns:
        The label map with interpolated slices, and the changes.
    """
    labels, changes = labels.copy(), list[Change]()
    for axis in range(3):
        spacing = context.grid.spacing_mm
        in_plane_mm = tuple(s for a, s in enumerate(spacing) if a != axis)
        stack = np.moveaxis(labels, axis, 0)
        for first, last in _odd_runs(stack, int(rule.max_gap_mm / spacing[axis] + 1e-6), rule):
            before, after = stack[first - 1].copy(), stack[last].copy()
            changed = 0
            for k in range(first, last):
                interpolated = _interpolated(before, after, (k - first + 1) / (last - first + 1), in_plane_mm)
                changed += int((stack[k] != interpolated).sum())
                stack[k] = interpolated
            box = _slab(labels.shape, axis, first, last)
            note = f"{last - first} slices of axis {axis} from {context.start[axis] + first}"
            changes.append(context.change("slices", "", "interpolated", box, changed, "review", note))
    return labels, changes


def shifts(labels: Labels, context: RuleContext, rule: ShiftsRule) -> Result:
    """Move back runs of slices that are shifted in their plane.

    A shifted run starts with a jump in one direction and ends with the same jump in the opposite direction.

    Args:
        labels: (x, y, z) uint8; it is not changed.
        context: the grid.
        rule: parameters.

    Returns:
        The label map with the runs moved back, and the changes.
    """
    labels, changes = labels.copy(), list[Change]()
    for axis in range(3):
        spacing = context.grid.spacing_mm
        reach = tuple(int(rule.max_shift_mm / s) for a, s in enumerate(spacing) if a != axis)
        longest = int(rule.max_run_mm / spacing[axis])
        changes += _undo_shifts(labels, context, axis, reach, longest)
    return labels, changes


def _undo_shifts(
    labels: Labels, context: RuleContext, axis: int, reach: tuple[int, ...], longest: int
) -> Iterator[Change]:
    """Move shifted runs along one axis back in place."""
    stack = np.moveaxis(labels, axis, 0)
    jumps = {k: _jump(stack[k], stack[k + 1], reach) for k in _breaks(stack)}
    starts = [k for k, jump in jumps.items() if any(jump)]
    done = -1
    for start in starts:
        for end in starts:
            out, back = np.array(jumps[start]), np.array(jumps[end])
            if start <= done or not start < end <= start + longest or np.abs(out + back).max() > 1:
                continue
            run = stack[start + 1 : end + 1]
            moved = _moved(run, tuple(int(-s) for s in out))
            agreement_before = agreement(stack[start], run[0]) + agreement(run[-1], stack[end + 1])
            agreement_after = agreement(stack[start], moved[0]) + agreement(moved[-1], stack[end + 1])
            if agreement_after < agreement_before + MIN_GAIN:
                continue
            changed = int((run != moved).sum())
            run[:] = moved
            done = end
            box = _slab(labels.shape, axis, start + 1, end + 1)
            first = context.start[axis] + start + 1
            note = f"{end - start} slices of axis {axis} from {first} by {(-out).tolist()} voxels"
            yield context.change("shifts", "", "shifted", box, changed, "review", note)
            break


def agreement(a: Labels, b: Labels) -> float:
    """Compute the Dice coefficient of two slices over all structures at once.

    Args:
        a: (n, m) uint8.
        b: (n, m) uint8.

    Returns:
        0 to 1; 0 where both are empty.

    Example:
        >>> agreement(np.array([[1, 1, 2, 0]]), np.array([[1, 2, 2, 0]]))
        0.6666666666666666
    """
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2 * int(((a == b) & (a > 0)).sum()) / total if total else 0.0


def _agreements(stack: Labels) -> list[float]:
    """The `agreement` of every slice with the next one."""
    tissue = stack > 0
    voxels = count_per_slice(tissue)
    total = voxels[:-1] + voxels[1:]
    common = count_per_slice((stack[:-1] == stack[1:]) & tissue[:-1])
    found: list[float] = (2 * common / np.maximum(total, 1)).tolist()
    return found


def _odd_runs(stack: Labels, longest: int, rule: SlicesRule) -> list[tuple[int, int]]:
    """[first, last) of the runs that are missing, and of single slices that differ from both neighbours."""
    tissue = count_per_slice(stack > 0).tolist()
    pairs = _agreements(stack)
    runs, k = [], 1
    while k < len(stack) - 1:
        length = next((n for n in range(longest, 0, -1) if _is_odd(stack, tissue, pairs, slice(k, k + n), rule)), 0)
        if length:
            runs.append((k, k + length))
        k += max(length, 1)
    return runs


def _is_odd(stack: Labels, tissue: list[int], pairs: list[float], run: slice, rule: SlicesRule) -> bool:
    first, last = run.start, run.stop
    if last >= len(stack):
        return False
    neighbours = min(tissue[first - 1], tissue[last])
    if neighbours < MIN_VOXELS:
        return False
    if max(tissue[run]) < rule.empty_share * neighbours:
        return agreement(stack[first - 1] > 0, stack[last] > 0) >= rule.min_agreement
    if last > first + 1 or np.array_equal(stack[first - 1], stack[first]):
        return False
    own = max(pairs[first - 1], pairs[first])
    return own < 0.75 and own < agreement(stack[first - 1], stack[last]) - 0.15


def _interpolated(a: Labels, b: Labels, weight: float, spacing_mm: tuple[float, ...]) -> Labels:
    ids = np.union1d(a, b)
    distances = [
        (1 - weight) * _signed_distance_mm(a == i, spacing_mm) + weight * _signed_distance_mm(b == i, spacing_mm)
        for i in ids
    ]
    return ids[np.argmax(distances, axis=0)].astype(np.uint8)


def _signed_distance_mm(mask: Mask, spacing_mm: tuple[float, ...]) -> npt.NDArray[np.float32]:
    """Signed distance in the plane, positive inside, clipped at 20 mm."""
    if not mask.any():
        return np.full(mask.shape, -20.0, dtype=np.float32)
    distance = np.minimum(distance_to_other_label_mm(mask, spacing_mm), np.float32(20))
    return np.where(mask, distance, -distance)


def _breaks(stack: Labels) -> list[int]:
    """The k after which the map jumps: slices k and k + 1 agree far less than the pairs of slices around them."""
    pairs = np.array(_agreements(stack))
    tissue = count_per_slice(stack > 0)
    found = []
    for k in np.flatnonzero((pairs > 0) & (np.minimum(tissue[:-1], tissue[1:]) > MIN_VOXELS)):
        window = pairs[max(k - 6, 0) : k + 7]
        median = float(np.median(window[window > 0]))
        if pairs[k] < median - MIN_GAIN:
            found.append(int(k))
    return found


def _jump(a: Labels, b: Labels, reach: tuple[int, ...]) -> tuple[int, ...]:
    """Shift of `b` against `a` in voxels at which they agree best; zeros where it gains too little."""
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero((a > 0) | (b > 0)))
    a, b = a[box], np.pad(b[box], [(r, r) for r in reach])
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    height, width = a.shape
    # Background agrees with nothing.
    a = np.where(a > 0, a, np.uint8(UNKNOWN))
    equal = np.empty(a.shape, dtype=bool)

    def agreement_at(step: tuple[int, ...]) -> float:
        row, column = (r + n for r, n in zip(reach, step, strict=True))
        np.equal(a, b[row : row + height, column : column + width], out=equal)
        return 2 * int(np.count_nonzero(equal)) / total

    unshifted = agreement_at((0, 0))
    best, step = unshifted, tuple[int, ...]((0, 0))
    for candidate in product(*(range(-r, r + 1) for r in reach)):
        if (found := agreement_at(candidate)) > best:
            best, step = found, candidate
    return step if best > unshifted + 0.03 else (0, 0)


def _moved(run: Labels, step: tuple[int, ...]) -> Labels:
    """Slices moved in their plane; what enters from outside is background."""
    moved = np.roll(run, step, (1, 2))
    for axis, n in enumerate(step, start=1):
        edge = [slice(None)] * 3
        edge[axis] = slice(0, n) if n > 0 else slice(run.shape[axis] + n, None)
        if n:
            moved[tuple(edge)] = 0
    return moved


def _slab(shape: tuple[int, ...], axis: int, first: int, last: int) -> Box:
    x, y, z = (slice(first, last) if a == axis else slice(0, n) for a, n in enumerate(shape))
    return x, y, z
