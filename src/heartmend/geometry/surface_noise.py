"""Surface noise of a label: the deviation of its surface from the smoothed surface."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from heartmend.geometry.boxes import bounding_box_mm
from heartmend.geometry.distance import signed_distance_mm
from heartmend.types import DistanceField, Mask

SMOOTHING_MM = 1.5
"""Standard deviation of the smoothing, or 1.7 voxels if that is more: finer deviations count as noise."""
MIN_CASES = 5
"""With fewer cases the surface noise of the cleanest labels is not estimated."""
BAND_VOXELS = 0.9
"""Voxels up to this far from the surface are measured."""
NOISE_OF_VOXELS = 0.06
"""Surface noise of a smooth ball, relative to the square of the shortest side of its voxels: 0.057 to 0.067 for cubes
of 0.4 to 2 mm, 0.052 to 0.080 for other voxels, whatever its radius."""
REFERENCE_VOXEL_MM = 1.0
"""Surface noises of several grids are compared as on voxels of this side."""


def surface_noise_mm2(label: Mask, spacing_mm: Sequence[float]) -> float:
    """Compute the surface noise of a label: the variance of its signed distance about the smoothed one.

    Args:
        label: (x, y, z) bool.
        spacing_mm: voxel spacing in mm along each axis.

    Returns:
        The variance near the surface in mm²; 0 for an empty label.

    Example:
        >>> import numpy as np
        >>> slab = np.zeros((12, 12, 12), dtype=bool)
        >>> slab[:6] = True
        >>> rough = slab.copy()
        >>> rough[6, ::2, ::2] = True
        >>> surface_noise_mm2(rough, (1, 1, 1)) > 2 * surface_noise_mm2(slab, (1, 1, 1))
        True
    """
    if not label.any():
        return 0.0
    box = bounding_box_mm(label, 3 * SMOOTHING_MM, spacing_mm)
    return residual_variance_mm2(signed_distance_mm(label[box], spacing_mm), spacing_mm)


def residual_variance_mm2(distance_mm: DistanceField, spacing_mm: Sequence[float]) -> float:
    """Compute the variance of a signed distance about its smoothed version, near the surface.

    Args:
        distance_mm: (x, y, z) float32, signed distance in mm.
        spacing_mm: voxel spacing in mm along each axis.

    Returns:
        The variance in mm² over the voxels within `BAND_VOXELS` of the surface; 0 if there are none.
    """
    voxel = min(spacing_mm)
    near = np.abs(distance_mm) < BAND_VOXELS * voxel
    if not near.any():
        return 0.0
    smooth = gaussian_filter(distance_mm, [max(SMOOTHING_MM, 1.7 * voxel) / s for s in spacing_mm], truncate=2.5)
    return float((distance_mm - smooth)[near].var())


def lowest_surface_noise_mm2(noises_mm2: Sequence[float], voxels_mm: Sequence[float]) -> float:
    """Estimate the surface noise of the cleanest labels of a cohort.

    Args:
        noises_mm2: surface noise of one structure in every case, in mm².
        voxels_mm: shortest side of the voxels of every case, in mm: larger voxels alone make a surface rougher.

    Returns:
        The 5 % quantile in mm², as on voxels of `REFERENCE_VOXEL_MM`; infinite, that is unknown, for fewer than
        `MIN_CASES` cases.

    Example:
        >>> lowest_surface_noise_mm2([0.1, 0.2], [1.0, 1.0]), lowest_surface_noise_mm2([0.1] * 5, [1.0] * 5)
        (inf, 0.1)
    """
    if len(noises_mm2) < MIN_CASES:
        return float("inf")
    noises = np.asarray(noises_mm2) + NOISE_OF_VOXELS * (REFERENCE_VOXEL_MM**2 - np.square(voxels_mm))
    return max(float(np.quantile(noises, 0.05)), 0.0)


def noise_on_voxels_mm2(noise_mm2: float, voxel_mm: float) -> float:
    """Convert the surface noise of the cleanest labels to other voxels.

    Args:
        noise_mm2: surface noise in mm², as on voxels of `REFERENCE_VOXEL_MM`.
        voxel_mm: shortest side of the voxels, in mm.

    Returns:
        The noise in mm² that labels as clean as these have on such voxels.

    Example:
        >>> round(noise_on_voxels_mm2(0.1, 2.0), 3)
        0.28
    """
    return max(noise_mm2 + NOISE_OF_VOXELS * (voxel_mm**2 - REFERENCE_VOXEL_MM**2), 0.0)


def surface_area_mm2(mask: Mask, spacing_mm: Sequence[float]) -> float:
    """Estimate the area of a mask's surface from the faces of its voxels.

    The faces of a flat surface in a random direction have 3/2 of its area on average.

    Args:
        mask: (x, y, z) bool.
        spacing_mm: voxel spacing.

    Returns:
        The area in mm²; the border of the volume is no surface.

    Example:
        >>> mask = np.zeros((4, 4, 4), dtype=bool)
        >>> mask[1:3, 1:3, 1:3] = True
        >>> surface_area_mm2(mask, (1.0, 1.0, 1.0))
        16.0
    """
    voxel_mm3 = float(np.prod(spacing_mm))
    return sum(np.count_nonzero(np.diff(mask, axis=a)) * voxel_mm3 / spacing_mm[a] for a in range(3)) / 1.5
