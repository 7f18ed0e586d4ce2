"""Fields on regular grids: interpolated along an axis, and averaged over blocks of voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def interpolate_along(
    field: npt.NDArray[np.float32], positions: npt.NDArray[np.floating], axis: int
) -> npt.NDArray[np.float32]:
    """Interpolate a field linearly along one of its axes.

    Args:
        field: float32, of any number of axes.
        positions: (n,) positions along the axis, in voxels, at least 0; those after the last voxel have its value.
        axis: the axis.

    Returns:
        float32 of the shape of `field`, with n along the axis.

    Example:
        >>> field = np.array([[0.0, 10.0, 20.0]], dtype=np.float32)
        >>> interpolate_along(field, np.array([0.5, 2.0, 2.5]), axis=1).tolist()
        [[5.0, 20.0, 20.0]]
    """
    last = field.shape[axis] - 1
    lower = np.minimum(positions.astype(int), last)
    upper = np.minimum(lower + 1, last)
    weight = (positions - lower).astype(np.float32).reshape([-1 if n == axis else 1 for n in range(field.ndim)])
    # In place: for a large volume most of the time is that of new memory.
    interpolated, above = field.take(lower, axis), field.take(upper, axis)
    interpolated *= 1 - weight
    above *= weight
    interpolated += above
    return interpolated


def block_means(field: npt.NDArray[np.float32], strides: Sequence[int]) -> npt.NDArray[np.float32]:
    """Average a field over blocks of voxels.

    Args:
        field: float32, of any number of axes.
        strides: voxels of a block along each axis.

    Returns:
        float32, the mean of each block; the last one along an axis can be smaller.

    Example:
        >>> block_means(np.array([[1.0, 3.0, 8.0]], dtype=np.float32), (1, 2)).tolist()
        [[2.0, 8.0]]
    """
    for axis, stride in enumerate(strides):
        if stride > 1:
            field = block_means_along(field, np.arange(0, field.shape[axis], stride), axis)
    return field


def block_means_along(
    field: npt.NDArray[np.float32], starts: npt.NDArray[np.integer], axis: int
) -> npt.NDArray[np.float32]:
    """Average a field over blocks of voxels along one of its axes.

    Args:
        field: float32, of any number of axes.
        starts: (n,) first voxel of each block, from 0 on; the last block ends with the field.
        axis: the axis.

    Returns:
        float32 of the shape of `field`, with n along the axis.

    Example:
        >>> block_means_along(np.array([1.0, 3.0, 8.0], dtype=np.float32), np.array([0, 2]), axis=0).tolist()
        [2.0, 8.0]
    """
    lengths = np.diff(np.append(starts, field.shape[axis])).astype(np.float32)
    means: npt.NDArray[np.float32] = np.add.reduceat(field, starts, axis=axis)
    means /= lengths.reshape([-1 if n == axis else 1 for n in range(field.ndim)])
    return means
