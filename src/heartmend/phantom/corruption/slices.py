"""Corruptions of slices: staircases and coarse grids, shifted and missing slices."""

from __future__ import annotations

import numpy as np

from heartmend.phantom.plan import Vector
from heartmend.types import Labels


def slice_staircase(labels: Labels, spacing_mm: Vector, step_mm: list[float]) -> Labels:
    """Resample to thicker slices and back without interpolation, which makes a slice staircase.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        step_mm: slice thickness along x, y and z in mm; 0 leaves an axis as it is.

    Returns:
        The corrupted label map.
    """
    index = []
    for n, spacing, step in zip(labels.shape, spacing_mm, step_mm, strict=True):
        thick = max(step / spacing, 1.0)
        slab = np.floor((np.arange(n) + 0.5) / thick)
        index.append(np.clip(np.floor((slab + 0.5) * thick).astype(int), 0, n - 1))
    return labels[np.ix_(*index)]


def slice_shift(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, shift_mm: float) -> Labels:
    """Shift a run of slices in plane, as breathing does.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        shift_mm: length of the shift in mm.

    Returns:
        The corrupted label map.
    """
    first, last = _run(labels.shape[2], rng, (3, 14))
    result = labels.copy()
    angle = rng.uniform(0, 2 * np.pi)
    step = np.round(shift_mm * np.array([np.cos(angle), np.sin(angle)]) / spacing_mm[:2]).astype(int)
    result[:, :, first:last] = np.roll(labels[:, :, first:last], tuple(step), axis=(0, 1))
    return result


def missing_slices(labels: Labels, rng: np.random.Generator) -> Labels:
    """Remove all labels from one to three slices.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        rng: random generator.

    Returns:
        The corrupted label map.
    """
    first, last = _run(labels.shape[2], rng, (1, 3))
    result = labels.copy()
    result[:, :, first:last] = 0
    return result


def _run(count: int, rng: np.random.Generator, length: tuple[int, int]) -> tuple[int, int]:
    first = int(rng.integers(count // 6, max(5 * count // 6, count // 6 + 1)))
    return first, min(first + int(rng.integers(length[0], length[1] + 1)), count)
