"""Distances between the surfaces of two segments, in mm on the true spacing.

A surface is the mask's voxels with a face on the outside, each counted once; the volume's own border is outside. Tools
that weigh surface elements by area differ from those that count voxels: numbers compare only within one definition at
one tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heartmend.metrics.segment import Segment, points_mm, segments
from heartmend.types import FloatArray, Mask

TOLERANCE_MM = 1.0


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Of each surface voxel of two segments the distance (mm) to the other's surface.

    Where one of the two is empty, both are one distance alone: the diagonal of the box about the other; where both
    are, 0.
    """

    forth: FloatArray
    back: FloatArray

    def within(self, tolerance_mm: float) -> float:
        """Normalised surface Dice: the share of both surfaces within the tolerance (Nikolov et al. 2018)."""
        near = np.count_nonzero(self.forth <= tolerance_mm) + np.count_nonzero(self.back <= tolerance_mm)
        return float(near) / (self.forth.size + self.back.size)

    def percentile(self, percent: float) -> float:
        """The larger of the two percentiles, mm; 95 is HD95, 100 the Hausdorff distance."""
        return max(float(np.percentile(self.forth, percent)), float(np.percentile(self.back, percent)))

    def mean(self) -> float:
        """Average symmetric surface distance, mm: the mean over the voxels of both surfaces."""
        return (float(self.forth.sum()) + float(self.back.sum())) / (self.forth.size + self.back.size)


def surface_distances(a: Segment, b: Segment) -> SurfaceDistances:
    """The distances of two segments in one box."""
    if not a.voxels or not b.voxels:
        alone = np.full(1, max(a.diagonal_mm, b.diagonal_mm))
        return SurfaceDistances(alone, alone)
    return SurfaceDistances(_distances(a, b), _distances(b, a))


def _distances(a: Segment, b: Segment) -> FloatArray:
    """From each surface voxel of `a`; those that are surface of `b` too need no search."""
    apart = points_mm(a.surface & ~b.surface, a.spacing_mm)
    found = np.zeros(np.count_nonzero(a.surface))
    if len(apart):
        found[: len(apart)] = b.surface_tree.query(apart)[0]
    return found


def surface_dice(a: Mask, b: Mask, spacing_mm: Sequence[float], tolerance_mm: float = TOLERANCE_MM) -> float:
    """Normalised surface Dice: the share of both surfaces within `tolerance_mm` of the other (Nikolov et al. 2018).

    Two empty masks agree (1); one empty mask does not (0).
    """
    if not a.any() or not b.any():
        return float(a.any() == b.any())
    return surface_distances(*segments((a, b), spacing_mm)).within(tolerance_mm)


def hd95(a: Mask, b: Mask, spacing_mm: Sequence[float]) -> float:
    """The larger 95th percentile of the two surfaces' distances, mm.

    If one mask is empty: the diagonal of the box about the other.
    """
    return surface_distances(*segments((a, b), spacing_mm)).percentile(95)


def assd(a: Mask, b: Mask, spacing_mm: Sequence[float]) -> float:
    """Average symmetric surface distance, mm; if one mask is empty, the diagonal of the box about the other."""
    return surface_distances(*segments((a, b), spacing_mm)).mean()
