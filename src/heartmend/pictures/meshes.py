"""The surface of a mask as few triangles, for a viewer in which it can be turned."""

from __future__ import annotations

from dataclasses import dataclass

import fast_simplification
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from skimage.measure import marching_cubes

from heartmend.space import Grid, filled_box
from heartmend.types import Mask

BLUR_VOXELS = 0.6
"""Takes the steps of the voxels away, and little else."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """vertices_mm: (n, 3) in RAS+ mm; triangles: (m, 3) indices of vertices."""

    vertices_mm: npt.NDArray[np.float32]
    triangles: npt.NDArray[np.int32]


def surface_mesh(mask: Mask, grid: Grid, triangles_of_mm2: float = 0.35, most: int = 20_000) -> Mesh:
    """The surface of a mask (x, y, z), closed where the volume ends; empty for an empty mask.

    Simplified by edge collapse with quadric errors (Garland and Heckbert 1997) to about so many triangles for each mm²,
    at most `most`. Triangles wind so that normals point outwards.
    """
    box = filled_box(mask)
    if box is None:
        return Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    start = np.array([side.start for side in box])
    margin = 3
    solid = np.pad(mask[box].astype(np.float32), margin)
    field = gaussian_filter(solid, BLUR_VOXELS)
    # The level at which the volume stays what it is: a thin vessel does not shrink by being blurred.
    count = int(np.count_nonzero(mask))
    level = float(np.clip(np.partition(field.ravel(), -count)[-count], 0.05, 0.6))
    vertices, faces, _, _ = marching_cubes(field, level, allow_degenerate=False)
    wanted = min(int(triangles_of_mm2 * _area_mm2(mask, grid.spacing_mm)), most)
    if len(faces) > max(wanted, 200):
        vertices, faces = fast_simplification.simplify(
            vertices.astype(np.float32), faces.astype(np.int32), target_count=max(wanted, 200)
        )
    if np.linalg.det(grid.affine[:3, :3]) > 0:
        # marching_cubes winds for a left-handed look.
        faces = faces[:, ::-1]
    world = grid.index_to_world(np.asarray(vertices, np.float64) - margin + start)
    return Mesh(world.astype(np.float32), np.ascontiguousarray(faces, dtype=np.int32))


def _area_mm2(mask: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """The area of the faces of the mask's voxels."""
    voxel = float(np.prod(spacing_mm))
    return float(sum(np.count_nonzero(np.diff(mask, axis=a)) * voxel / spacing_mm[a] for a in range(3)))
