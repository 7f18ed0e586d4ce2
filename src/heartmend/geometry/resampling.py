"""Resampling along the axes, one at a time: what an axis-aligned box needs, exact and without interpolating labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse


def nearest_voxels(length: int, count: int) -> npt.NDArray[np.int64]:
    """For `count` equal cells over `length` voxels: the voxel (count,) that holds each cell's centre.

    In integers, so that a centre on the face between two voxels always goes to the later one.
    """
    return (2 * np.arange(count, dtype=np.int64) + 1) * length // (2 * count)


def linear_weights(
    at: npt.NDArray[np.float64], start: int, stop: int, voxels_per_step: float
) -> tuple[sparse.csr_array, npt.NDArray[np.bool_]]:
    """Weights (m, stop - start) that read voxels `start`..`stop` at the continuous indices `at` (m,).

    Linear interpolation; where a step is longer than a voxel the triangle widens to the step, so that nothing is
    skipped. A row sums to one over the voxels there are. Also says which rows (m,) lie over the volume at all.
    """
    width = max(1.0, voxels_per_step)
    inside = (at >= start - 0.5) & (at <= stop - 0.5)
    reach = int(np.ceil(width)) + 1
    taps = np.rint(at)[:, None].astype(np.int64) + np.arange(-reach, reach + 1)
    weights = np.maximum(0.0, 1.0 - np.abs(taps - at[:, None]) / width)
    weights[(taps < start) | (taps >= stop)] = 0
    total = weights.sum(axis=1, keepdims=True)
    # Between the last voxel's centre and its face the last voxel is all there is.
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    rows = np.broadcast_to(np.arange(len(at))[:, None], taps.shape)
    used = weights > 0
    shape = (len(at), stop - start)
    return sparse.csr_array((weights[used], (rows[used], taps[used] - start)), shape=shape, dtype=np.float32), inside


def apply_along_axes(volume: npt.NDArray[np.float32], weights: list[sparse.csr_array]) -> npt.NDArray[np.float32]:
    """Apply one weight matrix (m_a, n_a) to each axis a of a volume (n_0, n_1, n_2): gives (m_0, m_1, m_2)."""
    for weight in weights:
        first, *rest = volume.shape
        flat = weight @ volume.reshape(first, -1)
        # The axis that is done goes last: after three turns all are back in their places.
        volume = np.moveaxis(flat.reshape(-1, *rest), 0, -1)
    return np.ascontiguousarray(volume, dtype=np.float32)
