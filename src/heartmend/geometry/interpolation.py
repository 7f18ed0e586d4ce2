"""Interpolation of fields on regular grids."""

from __future__ import annotations

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
    interpolated: npt.NDArray[np.float32] = (1 - weight) * field.take(lower, axis) + weight * field.take(upper, axis)
    return interpolated
