"""What a label says beyond the shape: the part of their difference that is too smooth to be noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

Field = npt.NDArray[np.float32]

REACH_MM = 2.0
"""A label counts by how near its surface or the shape's is, and no single voxel pulls by more than this."""


def with_residual(shape_mm: Field, label_mm: Field, spacing_mm: Sequence[float], smooth_mm: float) -> Field:
    """The shape's signed distance (x, y, z) plus the smooth part of the label's difference from it, all in mm.

    A shape shared by a cohort misses what only this patient has, over centimetres; a label's noise wavers over a few
    millimetres. A Gaussian of `smooth_mm` over the difference, near the two surfaces, keeps the one and averages the
    other away. Smoothing the difference and not the label itself leaves corners and thin walls where the shape has
    them. `smooth_mm` 0 gives the shape itself.
    """
    if smooth_mm <= 0:
        return shape_mm
    sigma = [smooth_mm / s for s in spacing_mm]
    difference = np.clip(label_mm - shape_mm, -REACH_MM, REACH_MM)
    weight = np.exp(-0.5 * (label_mm / REACH_MM) ** 2) + np.exp(-0.5 * (shape_mm / REACH_MM) ** 2)
    total = gaussian_filter(weight, sigma, truncate=3.0) + 1e-3
    return shape_mm + gaussian_filter(weight * difference, sigma, truncate=3.0) / total
