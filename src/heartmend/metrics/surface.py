"""Distances between the surfaces of two masks, in mm.

A surface is the set of the mask's voxels with a face on the outside, each counted once; the border of the volume is
outside. Tools that weight surface elements by area differ from those that count voxels: compare numbers of one
definition at one tolerance only.
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
    """Distances between the surfaces of two segments a and b, in both directions.

    Attributes:
        a_to_b: (surface voxels of a,) distance of each to the surface of b in mm, float64.
        b_to_a: (surface voxels of b,) distance of each to the surface of a in mm, float64.
        missing_mm: None if both segments have a surface. If only one has, the diagonal of the volume in mm, which
            replaces all distances: to miss a structure costs more than to place it anywhere. 0 if both are empty.
    """

    a_to_b: FloatArray
    b_to_a: FloatArray
    missing_mm: float | None = None

    def within(self, tolerance_mm: float) -> float:
        """Compute the normalised surface Dice (Nikolov et al. 2018).

        Args:
            tolerance_mm: largest accepted distance in mm.

        Returns:
            The share of both surfaces within the tolerance, 0 to 1; 1 for two empty segments, 0 for one.
        """
        if self.missing_mm is not None:
            return float(self.missing_mm == 0)
        near = np.count_nonzero(self.a_to_b <= tolerance_mm) + np.count_nonzero(self.b_to_a <= tolerance_mm)
        return float(near) / (self.a_to_b.size + self.b_to_a.size)

    def percentile_mm(self, percent: float) -> float:
        """Compute a percentile of the Hausdorff distance.

        Args:
            percent: 95 for HD95, 100 for the Hausdorff distance.

        Returns:
            The larger of the percentiles of the two directions in mm.
        """
        if self.missing_mm is not None:
            return self.missing_mm
        return max(float(np.percentile(self.a_to_b, percent)), float(np.percentile(self.b_to_a, percent)))

    def mean_mm(self) -> float:
        """Compute the average symmetric surface distance: the mean over the voxels of both surfaces.

        Returns:
            The distance in mm.
        """
        if self.missing_mm is not None:
            return self.missing_mm
        return (float(self.a_to_b.sum()) + float(self.b_to_a.sum())) / (self.a_to_b.size + self.b_to_a.size)


def surface_distances(a: Segment, b: Segment) -> SurfaceDistances:
    """Compute the distances between the surfaces of two segments.

    Args:
        a: a segment.
        b: a segment of the same box and spacing.

    Returns:
        The distances in mm, in both directions.
    """
    if not a.voxels or not b.voxels:
        missing_mm = max(a.field_of_view_mm, b.field_of_view_mm) if a.voxels or b.voxels else 0.0
        return SurfaceDistances(np.zeros(0), np.zeros(0), missing_mm)
    return SurfaceDistances(_distances_mm(a, b), _distances_mm(b, a))


def _distances_mm(a: Segment, b: Segment) -> FloatArray:
    """Distances from each surface voxel of `a`; those that are surface of `b` too need no search."""
    apart = points_mm(a.surface & ~b.surface, a.spacing_mm)
    found = np.zeros(np.count_nonzero(a.surface))
    if len(apart):
        found[: len(apart)] = b.surface_tree.query(apart)[0]
    return found


def surface_dice(a: Mask, b: Mask, spacing_mm: Sequence[float], tolerance_mm: float = TOLERANCE_MM) -> float:
    """Compute the normalised surface Dice (NSD) of two masks (Nikolov et al. 2018).

    Args:
        a: boolean mask (x, y, z).
        b: boolean mask of the same shape.
        spacing_mm: voxel size along x, y and z in mm.
        tolerance_mm: largest accepted distance in mm.

    Returns:
        The share of both surfaces within the tolerance of the other, 0 to 1; 1 for two empty masks, 0 for one.

    Example:
        Two planes of 16 voxels, 2 voxels of 0.5 mm apart.

        >>> import numpy as np
        >>> a, b = np.zeros((2, 4, 4, 4), bool)
        >>> a[0], b[2] = True, True
        >>> surface_dice(a, b, (0.5, 1, 1), tolerance_mm=1.0), surface_dice(a, b, (0.5, 1, 1), tolerance_mm=0.9)
        (1.0, 0.0)
    """
    return surface_distances(*segments((a, b), spacing_mm)).within(tolerance_mm)


def hd95(a: Mask, b: Mask, spacing_mm: Sequence[float]) -> float:
    """Compute the 95th percentile of the Hausdorff distance (HD95) of two masks.

    Args:
        a: boolean mask (x, y, z).
        b: boolean mask of the same shape.
        spacing_mm: voxel size along x, y and z in mm.

    Returns:
        The larger of the 95th percentiles of the two directions in mm. If one mask is empty, the diagonal of the
        volume, which is more than any placement in it can cost; 0 for two empty masks.

    Example:
        Two planes, 2 voxels of 0.5 mm apart.

        >>> import numpy as np
        >>> a, b = np.zeros((2, 4, 4, 4), bool)
        >>> a[0], b[2] = True, True
        >>> hd95(a, b, (0.5, 1, 1))
        1.0
    """
    return surface_distances(*segments((a, b), spacing_mm)).percentile_mm(95)


def assd(a: Mask, b: Mask, spacing_mm: Sequence[float]) -> float:
    """Compute the average symmetric surface distance (ASSD) of two masks.

    Args:
        a: boolean mask (x, y, z).
        b: boolean mask of the same shape.
        spacing_mm: voxel size along x, y and z in mm.

    Returns:
        The mean distance over the voxels of both surfaces in mm. If one mask is empty, the diagonal of the volume; 0
        for two empty masks.

    Example:
        A plane, and the same plane with another one 3 mm beside it: 16 of 48 surface voxels are 3 mm apart.

        >>> import numpy as np
        >>> a, b = np.zeros((2, 4, 4, 4), bool)
        >>> a[0], b[0], b[3] = True, True, True
        >>> assd(a, b, (1, 1, 1))
        1.0
    """
    return surface_distances(*segments((a, b), spacing_mm)).mean_mm()
