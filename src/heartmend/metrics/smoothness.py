"""How rough a surface is, in mm: how unevenly it rises and falls about its own mean within a few millimetres."""

from __future__ import annotations

import numpy as np

from heartmend.metrics.segment import Segment
from heartmend.types import FloatArray

RADIUS_MM = 3.0
MOST_FACES = 20_000


def roughness_mm(segment: Segment, radius_mm: float = RADIUS_MM, most_faces: int = MOST_FACES) -> float | None:
    """Standard deviation over the surface of its height above the mean surface within `radius_mm`, in mm.

    See `heights_mm`. An even curvature adds nothing: a ball and a plane are smooth. None for an empty segment.
    """
    if not segment.voxels:
        return None
    found, weights = heights_mm(segment, radius_mm, most_faces)
    mean = np.average(found, weights=weights)
    return float(np.sqrt(np.average((found - mean) ** 2, weights=weights)))


def heights_mm(
    segment: Segment, radius_mm: float = RADIUS_MM, most_faces: int = MOST_FACES
) -> tuple[FloatArray, FloatArray]:
    """Heights (mm) of the surface's faces, and the faces' areas (mm²) as weights.

    The height at the middle of a face that parts inside from outside is (half a ball - V) / (π r²): V is the volume of
    the voxels of the segment whose centres lie in the ball of radius r about it. This is the integral invariant
    of Pottmann et al. 2007; for a smooth surface it tends to r²/4 times the mean curvature, whose variation the
    roughness so measures. Of more than `most_faces` faces evenly many of the array's order are looked at.
    """
    spacing = np.asarray(segment.spacing_mm)
    voxel = float(spacing.prod())
    reach = np.ceil(radius_mm / spacing).astype(int) + 1
    body = np.pad(segment.mask, [(n, n) for n in reach])
    below = np.zeros((*body.shape[:2], body.shape[2] + 1), dtype=np.int32)
    np.cumsum(body, axis=2, dtype=np.int32, out=below[:, :, 1:])
    faces = [np.argwhere(np.diff(np.pad(segment.mask, 1).view(np.int8), axis=axis)) for axis in range(3)]
    step = max(-(-sum(map(len, faces)) // most_faces), 1)
    heights, weights = [], []
    for axis, found in enumerate(faces):
        # In the array padded by one the face after voxel i lies at i + 1/2; the ball's columns are those about it.
        at = found[::step] + reach - 1
        half = np.zeros(3)
        half[axis] = 0.5
        inside = np.zeros(len(at), dtype=np.int64)
        total = 0
        for dx, dy, low, high in _columns(half, spacing, radius_mm):
            x, y, z = at[:, 0] + dx, at[:, 1] + dy, at[:, 2]
            inside += below[x, y, z + high + 1] - below[x, y, z + low]
            total += high + 1 - low
        heights.append((total / 2 - inside) * voxel / (np.pi * radius_mm**2))
        weights.append(np.full(len(at), voxel / spacing[axis]))
    return np.concatenate(heights), np.concatenate(weights)


def _columns(middle: FloatArray, spacing: FloatArray, radius_mm: float) -> list[tuple[int, int, int, int]]:
    """A ball about `middle` (in voxels) as columns along the last axis: x, y, and the first and last z."""
    reach = np.ceil(radius_mm / spacing).astype(int) + 1
    columns = []
    for dx in range(-reach[0], reach[0] + 1):
        for dy in range(-reach[1], reach[1] + 1):
            flat = ((dx - middle[0]) * spacing[0]) ** 2 + ((dy - middle[1]) * spacing[1]) ** 2
            if flat > radius_mm**2:
                continue
            half = np.sqrt(radius_mm**2 - flat) / spacing[2]
            low, high = int(np.ceil(middle[2] - half)), int(np.floor(middle[2] + half))
            if low <= high:
                columns.append((dx, dy, low, high))
    return columns
