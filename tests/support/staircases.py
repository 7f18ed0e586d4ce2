"""A smooth heart, and the same heart drawn on thick slices."""

import numpy as np

from heartmend.repair.slice_staircase.detection import SliceStaircase
from support.hearts import ellipsoid

SHAPE = (48, 50, 52)


def smooth_heart() -> np.ndarray:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[ellipsoid(SHAPE, (20, 25, 26), (13, 17, 20))] = 3
    labels[ellipsoid(SHAPE, (34, 24, 25), (9, 12, 16)) & (labels == 0)] = 5
    return labels


def with_staircase(labels: np.ndarray, staircase: SliceStaircase) -> np.ndarray:
    """The label map with every slice of a block replaced by the drawn one."""
    slices = np.moveaxis(labels.copy(), staircase.axis, 0)
    for start, stop, drawn in staircase.blocks(len(slices)):
        slices[start:stop] = slices[round(drawn)].copy()
    return np.ascontiguousarray(np.moveaxis(slices, 0, staircase.axis))


def resampled(labels: np.ndarray, thickness: float, axes: tuple[int, ...]) -> np.ndarray:
    """The label map resampled to slices `thickness` voxels thick and back, both times to the nearest slice."""
    for axis in axes:
        count = labels.shape[axis]
        drawn = (np.floor((np.arange(count) + 0.5) / thickness) + 0.5) * thickness
        labels = labels.take(np.clip(np.floor(drawn).astype(int), 0, count - 1), axis=axis)
    return np.ascontiguousarray(labels)


def from_coarse_grid(spacing: float) -> np.ndarray:
    """The smooth heart from a grid of coarse voxels, `spacing` voxels long, resampled to the nearest one."""
    nearest = [(np.floor((np.arange(count) + 0.5) / spacing) + 0.5) * spacing - 0.5 for count in SHAPE]
    x, y, z = np.meshgrid(*nearest, indexing="ij")
    first = ((x - 20) / 13) ** 2 + ((y - 25) / 17) ** 2 + ((z - 26) / 20) ** 2 <= 1
    second = ((x - 34) / 9) ** 2 + ((y - 24) / 12) ** 2 + ((z - 25) / 16) ** 2 <= 1
    return np.where(first, 3, np.where(second, 5, 0)).astype(np.uint8)
