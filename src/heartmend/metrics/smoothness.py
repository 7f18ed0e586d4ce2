"""Surface roughness in mm: deviation of a surface from its own mean within a few millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from heartmend.metrics.segment import Segment, segments
from heartmend.types import FloatArray, Mask

RADIUS_MM = 3.0
MAX_FACES = 40_000


class Heights(NamedTuple):
    """Heights of the faces of a surface above the mean surface around them.

    Attributes:
        height_mm: (face,) height in mm, positive outside.
        area_mm2: (face,) area in mm².
    """

    height_mm: FloatArray
    area_mm2: FloatArray


def roughness_mm(
    mask: Mask, spacing_mm: Sequence[float], radius_mm: float = RADIUS_MM, max_faces: int = MAX_FACES
) -> float | None:
    """Compute the roughness of a mask's surface.

    It is the standard deviation, weighted by area, of the surface's height above the mean surface within a radius (see
    `surface_heights`). A constant curvature adds nothing: a ball is as smooth as a plane.

    Args:
        mask: boolean mask (x, y, z).
        spacing_mm: voxel size along x, y and z in mm.
        radius_mm: radius of the ball around each face in mm.
        max_faces: number of voxel faces that are measured at most; of more a random sample is taken.

    Returns:
        The roughness in mm; None for an empty mask.

    Example:
        One voxel of 1 mm: all six faces have the same height.

        >>> import numpy as np
        >>> round(roughness_mm(np.ones((1, 1, 1), bool), (1, 1, 1)), 9)
        0.0
    """
    (segment,) = segments([mask], spacing_mm)
    return segment_roughness_mm(segment, radius_mm, max_faces)


def segment_roughness_mm(segment: Segment, radius_mm: float = RADIUS_MM, max_faces: int = MAX_FACES) -> float | None:
    """Compute the roughness of a segment's surface, as `roughness_mm` does for a mask.

    Args:
        segment: mask with its spacing.
        radius_mm: radius of the ball around each face in mm.
        max_faces: number of voxel faces that are measured at most.

    Returns:
        The roughness in mm; None for an empty segment.
    """
    if not segment.voxels:
        return None
    height, area = surface_heights(segment, radius_mm, max_faces)
    mean = np.average(height, weights=area)
    return float(np.sqrt(np.average((height - mean) ** 2, weights=area)))


def surface_heights(segment: Segment, radius_mm: float = RADIUS_MM, max_faces: int = MAX_FACES) -> Heights:
    """Compute the heights of a surface's voxel faces above the mean surface around them.

    The height of a face is (B / 2 - V) / (π r²): B is the volume of the ball of radius r around the centre of the face,
    V that of the segment inside the ball, both counted in voxels whose centres are in the ball. It is the distance of
    the face from the plane that would divide the ball as the segment does, and the integral invariant of Pottmann et
    al. 2007: for a smooth surface and a small r it is r²/4 times the mean curvature, so its variation is that of the
    curvature.

    Args:
        segment: mask with its spacing.
        radius_mm: radius r of the ball in mm.
        max_faces: number of faces that are measured at most; of more a random sample is taken, always the same.

    Returns:
        Height in mm and area in mm² of each face.
    """
    spacing = np.asarray(segment.spacing_mm)
    reach = np.ceil(radius_mm / spacing).astype(int) + 1
    body = np.pad(segment.mask, [(n, n) for n in reach])
    # Cumulative sums along z: the voxels of the segment in one column of a ball then cost two look-ups.
    before = np.zeros((*body.shape[:2], body.shape[2] + 1), dtype=np.int16 if body.shape[2] < 2**15 else np.int32)
    np.cumsum(body, axis=2, dtype=before.dtype, out=before[:, :, 1:])
    faces = [_faces(segment.mask, axis) for axis in range(3)]
    # A random sample, because every n-th face would be in step with a periodic surface such as a slice staircase.
    share, rng = max_faces / max(sum(len(found) for found, _ in faces), 1), np.random.default_rng(0)
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
    """Surface faces across an axis: flat indices into an array one longer along it, whose entry i precedes voxel i."""
    wide = np.moveaxis(np.pad(mask, [(int(a == axis),) * 2 for a in range(3)]), axis, 0)
    crossed = np.moveaxis(wide[1:] != wide[:-1], 0, axis)
    return np.flatnonzero(crossed), crossed.shape


def _columns(axis: int, spacing: FloatArray, radius_mm: float) -> list[tuple[int, int, int, int]]:
    """The ball around the face after voxel 0 along an axis, as columns of voxels: x, y, first z, last z."""
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
