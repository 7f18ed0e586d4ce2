"""Distances between the surfaces of two masks, in mm on the true spacing.

A surface is the mask's voxels with a face on the outside, each counted once; the volume's own border is outside. Other
tools weigh surface elements by area or count differently and differ by many points: numbers compare only within one
implementation at one tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence

import edt
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from heartmend.metrics.crop import Mask, crop_to_union

Distances = NDArray[np.float32]

TOLERANCE_MM = 1.0


def surface_distances(a: Mask, b: Mask, spacing_mm: Sequence[float]) -> tuple[Distances, Distances]:
    """Distance (mm) of each surface voxel of `a` to the surface of `b`, and the other way; neither may be empty."""
    a, b = crop_to_union(a, b)
    edge_a, edge_b = a & ~binary_erosion(a), b & ~binary_erosion(b)
    anisotropy = tuple(float(s) for s in spacing_mm)
    to_b = edt.edt(~edge_b, anisotropy=anisotropy)[edge_a]
    to_a = edt.edt(~edge_a, anisotropy=anisotropy)[edge_b]
    return to_b, to_a


def surface_dice(a: Mask, b: Mask, spacing_mm: Sequence[float], tolerance_mm: float = TOLERANCE_MM) -> float:
    """Normalised surface Dice: the share of both surfaces within `tolerance_mm` of the other (Nikolov et al. 2018).

    Two empty masks agree (1); one empty mask does not (0).
    """
    return surface_scores(a, b, spacing_mm, tolerance_mm)[0]


def hd95(a: Mask, b: Mask, spacing_mm: Sequence[float]) -> float:
    """The larger 95th percentile of the two surfaces' distances, mm.

    If one mask is empty: the diagonal of the box about the other.
    """
    return surface_scores(a, b, spacing_mm)[1]


def assd(a: Mask, b: Mask, spacing_mm: Sequence[float]) -> float:
    """Average symmetric surface distance, mm; if one mask is empty, the diagonal of the box about the other."""
    return surface_scores(a, b, spacing_mm)[2]


def surface_scores(
    a: Mask, b: Mask, spacing_mm: Sequence[float], tolerance_mm: float = TOLERANCE_MM
) -> tuple[float, float, float]:
    """Surface Dice, hd95 and assd of two masks at the price of one."""
    a, b = crop_to_union(a, b)
    if not a.any() or not b.any():
        if a.any() == b.any():
            return 1.0, 0.0, 0.0
        diagonal = float(np.linalg.norm(np.array(a.shape) * np.asarray(spacing_mm)))
        return 0.0, diagonal, diagonal
    to_b, to_a = surface_distances(a, b, spacing_mm)
    count = to_b.size + to_a.size
    near = int((to_b <= tolerance_mm).sum()) + int((to_a <= tolerance_mm).sum())
    worst = max(float(np.percentile(to_b, 95)), float(np.percentile(to_a, 95)))
    return near / count, worst, (float(to_b.sum()) + float(to_a.sum())) / count
