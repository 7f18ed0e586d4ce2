"""Resampling to isotropic voxels, on which voxel classifiers work, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from heartmend.geometry.resampling import apply_along_axes, linear_weights
from heartmend.types import Mask

Values = npt.NDArray[np.float32]
Spacing = Sequence[float]

TOLERANCE = 0.05
"""Voxels whose sides differ from the isotropic one by a smaller share are not resampled."""


def isotropic_mask(mask: Mask, spacing_mm: Spacing, step_mm: float) -> Mask:
    """Resample a mask to isotropic voxels.

    Args:
        mask: (x, y, z) bool.
        spacing_mm: voxel spacing.
        step_mm: side of the isotropic voxels.

    Returns:
        (x, y, z) bool with the same first corner; the mask itself if its voxels are nearly isotropic already.
    """
    return mask if _is_isotropic(spacing_mm, step_mm) else _to_isotropic(mask, spacing_mm, step_mm) > 0.5


def isotropic_image(image: npt.NDArray[np.generic], spacing_mm: Spacing, step_mm: float) -> Values:
    """Resample an image to isotropic voxels.

    Args:
        image: (x, y, z).
        spacing_mm: voxel spacing.
        step_mm: side of the isotropic voxels.

    Returns:
        (x, y, z) float32 with the same first corner; not resampled if its voxels are nearly isotropic already.
    """
    if _is_isotropic(spacing_mm, step_mm):
        return image.astype(np.float32)
    return _to_isotropic(image, spacing_mm, step_mm)


def resample_spacing(values: Values, spacing_mm: Spacing, new_spacing_mm: Spacing, shape: Sequence[int]) -> Values:
    """Resample a volume linearly to another voxel spacing.

    Args:
        values: (x, y, z) float32.
        spacing_mm: voxel spacing of `values`.
        new_spacing_mm: voxel spacing of the result, whose first voxel has the same corner.
        shape: shape of the result.

    Returns:
        (x, y, z) float32 of that shape.
    """
    weights = []
    for old_count, old_mm, new_mm, count in zip(values.shape, spacing_mm, new_spacing_mm, shape, strict=True):
        at = ((np.arange(count) + 0.5) * new_mm / old_mm - 0.5).clip(-0.5, old_count - 0.5)
        weights.append(linear_weights(at, 0, old_count, new_mm / old_mm)[0])
    return apply_along_axes(values, weights)


def _is_isotropic(spacing_mm: Spacing, step_mm: float) -> bool:
    return all(abs(side / step_mm - 1) < TOLERANCE for side in spacing_mm)


def _to_isotropic(values: npt.NDArray[np.generic], spacing_mm: Spacing, step_mm: float) -> Values:
    counts = [max(round(n * side / step_mm), 1) for n, side in zip(values.shape, spacing_mm, strict=True)]
    return resample_spacing(values.astype(np.float32), spacing_mm, (step_mm,) * 3, counts)
