"""Contact of a structure with its host: of appendage and veins with the atrium, of the coronaries with the aorta."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heartmend.metrics.segment import segments
from heartmend.types import Mask


def contact_mm2(structure: Mask, host: Mask, spacing_mm: Sequence[float]) -> float:
    """Compute the contact area of two masks: the area of the voxel faces that they share.

    Args:
        structure: boolean mask (x, y, z).
        host: boolean mask of the same shape, without common voxels.
        spacing_mm: voxel size along x, y and z in mm.

    Returns:
        The area in mm².

    Example:
        Two slabs that share 16 faces of 1 mm x 2 mm.

        >>> import numpy as np
        >>> a, b = np.zeros((2, 4, 4, 4), bool)
        >>> a[0], b[1:] = True, True
        >>> contact_mm2(a, b, (0.5, 1, 2))
        32.0
    """
    voxel_mm3 = float(np.prod(spacing_mm))
    area = 0.0
    for axis, spacing in enumerate(spacing_mm):
        a, b = np.moveaxis(structure, axis, 0), np.moveaxis(host, axis, 0)
        faces = np.count_nonzero(a[1:] & b[:-1]) + np.count_nonzero(a[:-1] & b[1:])
        area += int(faces) * voxel_mm3 / float(spacing)
    return area


def gap_mm(structure: Mask, host: Mask, spacing_mm: Sequence[float]) -> float | None:
    """Compute the width of the gap between two masks.

    For each surface voxel of the structure the nearest surface voxel of the host (by centres) is taken; the gap is the
    smallest distance between the boxes of two such voxels.

    Args:
        structure: boolean mask (x, y, z).
        host: boolean mask of the same shape.
        spacing_mm: voxel size along x, y and z in mm.

    Returns:
        The gap in mm: 0 where voxels touch; None if one of the masks is empty.

    Example:
        Two slabs with one empty layer of 0.5 mm between them.

        >>> import numpy as np
        >>> a, b = np.zeros((2, 4, 4, 4), bool)
        >>> a[0], b[2:] = True, True
        >>> gap_mm(a, b, (0.5, 1, 2))
        0.5
    """
    if not structure.any() or not host.any():
        return None
    a, b = segments((structure, host), spacing_mm)
    _, nearest = b.surface_tree.query(a.surface_tree.data)
    apart = np.abs(a.surface_tree.data - b.surface_tree.data[nearest]) - np.asarray(a.spacing_mm)
    return float(np.linalg.norm(np.maximum(apart, 0), axis=1).min())
