"""How a structure meets what it grows out of: the appendage and the veins the atrium, the coronaries the aorta."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heartmend.metrics.segment import segments
from heartmend.types import Mask


def contact_mm2(structure: Mask, host: Mask, spacing_mm: Sequence[float]) -> float:
    """Area of the voxel faces that two masks without common voxels share, mm²."""
    voxel_mm3 = float(np.prod(spacing_mm))
    area = 0.0
    for axis, spacing in enumerate(spacing_mm):
        a, b = np.moveaxis(structure, axis, 0), np.moveaxis(host, axis, 0)
        faces = np.count_nonzero(a[1:] & b[:-1]) + np.count_nonzero(a[:-1] & b[1:])
        area += faces * voxel_mm3 / float(spacing)
    return area


def gap_mm(structure: Mask, host: Mask, spacing_mm: Sequence[float]) -> float | None:
    """The width of the gap between two masks, mm: 0 where voxels touch; None when one of them is empty.

    For each surface voxel of the structure the nearest of the host (by centres) is taken, and the least distance
    between the two voxels' own boxes is the gap.
    """
    if not structure.any() or not host.any():
        return None
    a, b = segments((structure, host), spacing_mm)
    _, nearest = b.surface_tree.query(a.surface_tree.data)
    apart = np.abs(a.surface_tree.data - b.surface_tree.data[nearest]) - np.asarray(a.spacing_mm)
    return float(np.linalg.norm(np.maximum(apart, 0), axis=1).min())
