"""How rough a surface is, in mm: how unevenly it rises and falls about its own mean within a few millimetres."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from heartmend.metrics.segment import Segment
from heartmend.types import FloatArray, Mask

RADIUS_MM = 3.0
MOST_FACES = 40_000


class Heights(NamedTuple):
    """Of faces of a surface: how high each stands above the mean surface about it (mm), and its area (mm²)."""

    height_mm: FloatArray
    area_mm2: FloatArray


def roughness_mm(segment: Segment, radius_mm: float = RADIUS_MM, most_faces: int = MOST_FACES) -> float | None:
    """Standard deviation over the surface's area of its height above the mean surface within `radius_mm`, in mm.

    See `surface_heights`. An even curvature adds nothing: a ball is as smooth as a plane. None for an empty segment.
    """
    if not segment.voxels:
        return None
    height, area = surface_heights(segment, radius_mm, most_faces)
    mean = np.average(height, weights=area)
    return float(np.sqrt(np.average((height - mean) ** 2, weights=area)))


def surface_heights(segment: Segment, radius_mm: float = RADIUS_MM, most_faces: int = MOST_FACES) -> Heights:
    """Height of the voxel faces that part inside from outside; of more than `most_faces` so many, drawn by chance.

    The height is (B / 2 - V) / (π r²): B is the volume of the ball of radius r about the middle of the face, V that of
    the segment in it, both in voxels whose centres lie in the ball. It is how far the face lies outside the
    plane that would part the ball as the segment does, and the integral invariant of Pottmann et al. 2007: for a
    smooth surface and a small r it is r²/4 times the mean curvature, and so its variation is that of the curvature.
    """
    spacing = np.asarray(segment.spacing_mm)
    reach = np.ceil(radius_mm / spacing).astype(int) + 1
    body = np.pad(segment.mask, [(n, n) for n in reach])
    # How much of the segment lies before each voxel of its column: a ball's column then costs two look-ups.
    before = np.zeros((*body.shape[:2], body.shape[2] + 1), dtype=np.int16 if body.shape[2] < 2**15 else np.int32)
    np.cumsum(body, axis=2, dtype=before.dtype, out=before[:, :, 1:])
    faces = [_faces(segment.mask, axis) for axis in range(3)]
    # Drawn by chance, always the same: every n-th face would keep step with the surface's own stairs.
    share, rng = most_faces / max(sum(len(found) for found, _ in faces), 1), np.random.default_rng(0)
    heights, areas = [], []
    for axis, (found, shape) in enumerate(faces):
        if share < 1:
            found = rng.choice(found, round(share * len(found)), replace=False)
        lower = np.stack(np.unravel_index(found, shape)) - np.eye(3, dtype=int)[axis][:, None]
        at = np.ravel_multi_index(tuple(lower + reach[:, None]), before.shape)
        inside, ball = np.zeros(len(at), dtype=np.int64), 0
        for dx, dy, first, last in _columns(axis, spacing, radius_mm):
            column = at + (dx * before.shape[1] + dy) * before.shape[2]
            inside += before.ravel()[column + last + 1] - before.ravel()[column + first]
            ball += last + 1 - first
        heights.append((ball / 2 - inside) * float(spacing.prod()) / (np.pi * radius_mm**2))
        areas.append(np.full(len(at), float(spacing.prod()) / spacing[axis]))
    return Heights(np.concatenate(heights), np.concatenate(areas))


def _faces(mask: Mask, axis: int) -> tuple[npt.NDArray[np.intp], tuple[int, ...]]:
    """The faces across an axis as flat indices into an array one longer there, whose entry i lies before voxel i."""
    wide = np.moveaxis(np.pad(mask, [(int(a == axis),) * 2 for a in range(3)]), axis, 0)
    crossed = np.moveaxis(wide[1:] != wide[:-1], 0, axis)
    return np.flatnonzero(crossed), crossed.shape


def _columns(axis: int, spacing: FloatArray, radius_mm: float) -> list[tuple[int, int, int, int]]:
    """The ball about the face after voxel 0 along an axis, as columns of voxels: x, y, first z, last z."""
    middle = np.eye(3)[axis] / 2
    reach = np.ceil(radius_mm / spacing).astype(int) + 1
    columns = []
    for dx in range(-reach[0], reach[0] + 1):
        for dy in range(-reach[1], reach[1] + 1):
            off = ((dx - middle[0]) * spacing[0]) ** 2 + ((dy - middle[1]) * spacing[1]) ** 2
            if off > radius_mm**2:
                continue
            half = np.sqrt(radius_mm**2 - off) / spacing[2]
            first, last = int(np.ceil(middle[2] - half)), int(np.floor(middle[2] + half))
            if first <= last:
                columns.append((dx, dy, first, last))
    return columns
