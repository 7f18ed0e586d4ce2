"""Resampling of axis-aligned volumes, one axis at a time: exact, and labels are not interpolated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse


def nearest_voxels(length: int, count: int) -> npt.NDArray[np.int64]:
    """Find the voxel that contains the centre of each of `count` equal cells.

    Integer arithmetic: a centre on the face between two voxels always belongs to the later one.

    Args:
        length: number of voxels along the axis.
        count: number of cells over the same length.

    Returns:
        (count,) int64, indices of voxels.

    Example:
        >>> nearest_voxels(6, 4).tolist()
        [0, 2, 3, 5]
    """
    return (2 * np.arange(count, dtype=np.int64) + 1) * length // (2 * count)


def linear_weights(
    at: npt.NDArray[np.float64], start: int, stop: int, voxels_per_step: float
) -> tuple[sparse.csr_array, npt.NDArray[np.bool_]]:
    """Compute the weights of linear interpolation along one axis.

    Where a step is longer than a voxel the triangular kernel is widened to the step, which prevents aliasing.

    Args:
        at: (m,) continuous voxel indices to sample.
        start: first voxel that is read.
        stop: the voxel after the last one that is read.
        voxels_per_step: distance of the samples, in voxels.

    Returns:
        Weights (m, stop - start), whose rows sum to 1 over the existing voxels; and (m,) bool: which samples are inside
        the volume.

    Example:
        >>> import numpy as np
        >>> weights, inside = linear_weights(np.array([0.5, 7.0]), 0, 3, 1.0)
        >>> weights.toarray().tolist(), inside.tolist()
        ([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]], [True, False])
    """
    width = max(1.0, voxels_per_step)
    inside = (at >= start - 0.5) & (at <= stop - 0.5)
    reach = int(np.ceil(width)) + 1
    taps = np.rint(at)[:, None].astype(np.int64) + np.arange(-reach, reach + 1)
    weights = np.maximum(0.0, 1.0 - np.abs(taps - at[:, None]) / width)
    weights[(taps < start) | (taps >= stop)] = 0
    total = weights.sum(axis=1, keepdims=True)
    # Between the centre of the last voxel and its face only the last voxel contributes.
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    rows = np.broadcast_to(np.arange(len(at))[:, None], taps.shape)
    used = weights > 0
    shape = (len(at), stop - start)
    return sparse.csr_array((weights[used], (rows[used], taps[used] - start)), shape=shape, dtype=np.float32), inside


def apply_along_axes(volume: npt.NDArray[np.float32], weights: list[sparse.csr_array]) -> npt.NDArray[np.float32]:
    """Apply one weight matrix to each axis of a volume.

    Args:
        volume: (n0, n1, n2) float32.
        weights: sparse matrices (m0, n0), (m1, n1), (m2, n2).

    Returns:
        (m0, m1, m2) float32.

    Example:
        >>> import numpy as np
        >>> mean = sparse.csr_array(np.array([[0.5, 0.5]], dtype=np.float32))
        >>> apply_along_axes(np.arange(8, dtype=np.float32).reshape(2, 2, 2), [mean, mean, mean]).tolist()
        [[[3.5]]]
    """
    for weight in weights:
        first, *rest = volume.shape
        flat = weight @ volume.reshape(first, -1)
        # The finished axis goes last: after three rotations the axes are in order again.
        volume = np.moveaxis(flat.reshape(-1, *rest), 0, -1)
    return np.ascontiguousarray(volume, dtype=np.float32)
