"""Surface noise of a label: how much its surface wavers about its own smoothed course."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.distance import signed_distance_mm
from heartmend.types import DistanceField, Mask

FINE_MM = 1.5
"""Over this length, or 1.7 voxels, a surface's own course is smooth, and what a label wavers by is its noise."""


FEWEST_CASES = 5
NEAR_VOXELS = 0.9


def surface_noise_mm2(label: Mask, spacing_mm: Sequence[float]) -> float:
    """Variance (mm²) of a label's surface about itself smoothed over `FINE_MM`; 0 for no label."""
    if not label.any():
        return 0.0
    box = _box(label, spacing_mm, 3 * FINE_MM)
    return _roughness(signed_distance_mm(label[box], spacing_mm), spacing_mm)


def lowest_surface_noise_mm2(found: Sequence[float]) -> float:
    """How rough the cleanest labels of a cohort are; infinite, that is unknown, for fewer than `FEWEST_CASES`."""
    return float(np.quantile(found, 0.05)) if len(found) >= FEWEST_CASES else float("inf")


def _roughness(distance_mm: DistanceField, spacing_mm: Sequence[float]) -> float:
    voxel = min(spacing_mm)
    near = np.abs(distance_mm) < NEAR_VOXELS * voxel
    if not near.any():
        return 0.0
    smooth = gaussian_filter(distance_mm, [max(FINE_MM, 1.7 * voxel) / s for s in spacing_mm], truncate=2.5)
    return float((distance_mm - smooth)[near].var())


def _box(mask: Mask, spacing_mm: Sequence[float], margin_mm: float) -> tuple[slice, slice, slice]:
    """The box of a mask that is not empty, with a margin."""
    box = bounding_box(mask, [int(np.ceil(margin_mm / step)) for step in spacing_mm])
    assert box is not None
    return box
