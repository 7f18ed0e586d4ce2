"""Distances between the surfaces of two segments, in mm on the true spacing.

A surface is the mask's voxels with a face on the outside, each counted once; the volume's own border is outside. Tools
that fuse_shape_and_label surface elements by area differ from those that count voxels: numbers compare only within one definition at
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
    """Of each surface voxel of two segments the distance (mm) to the other's surface, there and back.

    Where just one of the two is empty there are none, and `missing_mm`, the diagonal of the box about the other, stands
    for them all; where both are, they agree.
    """

    there: FloatArray
    back: FloatArray
    missing_mm: float | None = None

    def within(self, tolerance_mm: float) -> float:
        """Normalised surface Dice: the share of both surfaces within the tolerance (Nikolov et al. 2018)."""
        if self.missing_mm is not None:
            return float(self.missing_mm == 0)
        near = np.count_nonzero(self.there <= tolerance_mm) + np.count_nonzero(self.back <= tolerance_mm)
        return float(near) / (self.there.size + self.back.size)

    def percentile_mm(self, percent: float) -> float:
        """The larger of the two percentiles, mm; 95 is HD95, 100 the Hausdorff distance."""
        if self.missing_mm is not None:
            return self.missing_mm
        return max(float(np.percentile(self.there, percent)), float(np.percentile(self.back, percent)))

    def mean_mm(self) -> float:
        """Average symmetric surface distance, mm: the mean over the voxels of both surfaces."""
        if self.missing_mm is not None:
            return self.missing_mm
        return (float(self.there.sum()) + float(self.back.sum())) / (self.there.size + self.back.size)


def surface_distances(a: Segment, b: Segment) -> SurfaceDistances:
    """The distances of two segments in one box."""
    if not a.voxels or not b.voxels:
        return SurfaceDistances(np.zeros(0), np.zeros(0), missing_mm=max(a.diagonal_mm, b.diagonal_mm))
    return SurfaceDistances(_distances_mm(a, b), _distances_mm(b, a))


def _distances_mm(a: Segment, b: Segment) -> FloatArray:
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
    return surface_distances(*segments((a, b), spacing_mm)).within(tolerance_mm)


def hd95(a: Mask, b: Mask, spacing_mm: Sequence[float]) -> float:
    """The larger 95th percentile of the two surfaces' distances, mm.

    If one mask is empty: the diagonal of the box about the other.
    """
    return surface_distances(*segments((a, b), spacing_mm)).percentile_mm(95)


def assd(a: Mask, b: Mask, spacing_mm: Sequence[float]) -> float:
    """Average symmetric surface distance, mm; if one mask is empty, the diagonal of the box about the other."""
    return surface_distances(*segments((a, b), spacing_mm)).mean_mm()
