"""Check of the values of a CT: whether they are Hounsfield units."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MIN_AIR_HU = -200.0
"""A CT of the chest has lower values, in the lungs and the air around the body."""
MAX_SOFT_TISSUE_HU = 700.0
"""Blood with contrast medium and muscle have lower values; without the offset they have about 1,050 to 1,600."""
MIN_AIR_SHARE = 0.02
HEART_WINDOW_HU = (-300.0, 700.0)
"""Intensities are clipped here, because lung and bone give no information about the boundaries of the heart."""
_AIR_WITHOUT_OFFSET = 150.0
_MAX_SAMPLES = 2_000_000


def hu_warnings(values: npt.NDArray[np.generic], inside: npt.NDArray[np.bool_] | None = None) -> list[str]:
    """Check whether the values of a CT lack the offset of -1,024 HU, as after a conversion without rescale intercept.

    Then the lowest value is about 0. Either the structures of the heart have values that only bone has, or, without a
    label map on the same grid, there are two peaks in the histogram: air at 0 to 150 and soft tissue about 1,050.

    Args:
        values: (x, y, z) the CT.
        inside: (x, y, z) bool, the voxels of the heart on the grid of the CT; None where they are not known.

    Returns:
        Warnings; empty if the values can be Hounsfield units.

    Example:
        >>> air_and_tissue = np.repeat([24.0, 1074.0], 500).reshape(10, 10, 10)
        >>> len(hu_warnings(air_and_tissue)), hu_warnings(air_and_tissue - 1024)
        (1, [])
    """
    flat = values.ravel()
    sampled = np.asarray(flat[:: max(1, flat.size // _MAX_SAMPLES)], dtype=np.float64)
    sampled = sampled[np.isfinite(sampled)]
    if not sampled.size or sampled.min() < MIN_AIR_HU:
        return []
    if inside is not None and inside.any():
        tissue = float(np.nanmedian(np.asarray(values[inside], dtype=np.float64)))
        place = "the median in the label map"
    else:
        if float((sampled < _AIR_WITHOUT_OFFSET).mean()) < MIN_AIR_SHARE:
            return []
        tissue = _upper_median(sampled)
        place = "the median above air"
    if tissue <= MAX_SOFT_TISSUE_HU:
        return []
    return [
        f"its values are no Hounsfield units: the lowest is {sampled.min():.0f}, {place} {tissue:.0f}; the offset of "
        "-1024 is missing: subtract 1024, or convert the CT again with its rescale intercept"
    ]


def _upper_median(sampled: npt.NDArray[np.float64]) -> float:
    tissue = sampled[sampled >= _AIR_WITHOUT_OFFSET]
    return float(np.median(tissue)) if tissue.size else 0.0
