"""Triangle meshes in millimetres, RAS+: from a mask, or from a signed distance."""

from __future__ import annotations

from dataclasses import dataclass

import fast_simplification
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from skimage.measure import marching_cubes

from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.grid import Grid
from heartmend.types import Mask

BLUR_VOXELS = 0.7
"""Enough to remove the steps of the voxels; the volume is preserved by the level, not by the blur."""
FEWEST_TRIANGLES = 200
"""A mesh is not simplified below this."""
_TINY_MM = 1e-3


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh in RAS+ mm whose triangles face outwards.

    Attributes:
        vertices_mm: (n, 3) float32.
        triangles: (m, 3) int32, indices of vertices.
    """

    vertices_mm: npt.NDArray[np.float32]
    triangles: npt.NDArray[np.int32]

    @classmethod
    def empty(cls) -> Mesh:
        """Make a mesh without triangles.

        Returns:
            The mesh.
        """
        return cls(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))

    @property
    def volume_mm3(self) -> float:
        """The volume inside a closed mesh; positive where its triangles face outwards."""
        a, b, c = (self.vertices_mm[self.triangles[:, i]].astype(np.float64) for i in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)

    @property
    def is_watertight(self) -> bool:
        """Whether every edge is shared by two triangles that pass it in opposite directions (or by more such pairs)."""
        t = self.triangles.astype(np.int64)
        edges = np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]])
        n = len(self.vertices_mm)
        there, count = np.unique(edges[:, 0] * n + edges[:, 1], return_counts=True)
        back, count_back = np.unique(edges[:, 1] * n + edges[:, 0], return_counts=True)
        return len(t) > 0 and np.array_equal(there, back) and np.array_equal(count, count_back)

    def flipped(self) -> Mesh:
        """Return the mesh with its triangles facing the other way.

        Returns:
            The mesh, with the same vertices.
        """
        return Mesh(self.vertices_mm, np.ascontiguousarray(self.triangles[:, ::-1]))

    def simplified(self, max_triangles: int) -> Mesh:
        """Simplify the mesh by edge collapse (Garland and Heckbert 1997).

        Args:
            max_triangles: approximate number of triangles of the result.

        Returns:
            The simplified mesh; the mesh itself if it has no more triangles.
        """
        wanted = max(max_triangles, FEWEST_TRIANGLES)
        if len(self.triangles) <= wanted:
            return self
        vertices, triangles = fast_simplification.simplify(self.vertices_mm, self.triangles, target_count=wanted)
        return Mesh(np.asarray(vertices, np.float32), np.ascontiguousarray(triangles, dtype=np.int32))


def mesh_of_mask(mask: Mask, grid: Grid, step: int = 1) -> Mesh:
    """Extract the surface of a mask, closed where the volume ends.

    The mask is blurred a little and cut at the level that preserves its number of voxels, so thin vessels do not
    shrink: the volume is within 4 % for a ball of radius nine voxels, within 11 % for a tube of two by two.

    Args:
        mask: (x, y, z) bool, on the voxels of `grid`.
        grid: where the voxels are.
        step: stride of the surface extraction, in voxels.

    Returns:
        The mesh; one without triangles for an empty mask.
    """
    box = bounding_box(mask)
    if box is None:
        return Mesh.empty()
    start = np.array([side.start for side in box])
    # The margin closes what touches the border of the volume.
    margin = 3 + step
    field = gaussian_filter(np.pad(mask[box].astype(np.float32), margin), BLUR_VOXELS)
    count = int(np.count_nonzero(mask))
    # Between the last voxel that is inside and the first that is outside.
    level = float(np.partition(field.ravel(), (-count - 1, -count))[[-count - 1, -count]].mean())
    vertices, triangles, _, _ = marching_cubes(field, level, step_size=step, allow_degenerate=False)
    mesh = Mesh(grid.index_to_world(vertices - margin + start).astype(np.float32), triangles.astype(np.int32))
    # marching_cubes winds triangles for a left-handed coordinate system.
    return mesh.flipped() if np.linalg.det(grid.affine[:3, :3]) > 0 else mesh


def mesh_of_distance(distance_mm: npt.NDArray[np.float32], grid: Grid) -> Mesh:
    """Extract the surface where a signed distance crosses zero (marching cubes: Lewiner et al. 2003).

    Args:
        distance_mm: (x, y, z) on the voxels of `grid`, positive inside.
        grid: where the voxels are.

    Returns:
        The mesh, closed at the border of the grid; one without triangles where the distance is nowhere positive.
    """
    if not (distance_mm > 0).any():
        return Mesh.empty()
    # Mirror the distance beyond the border with a negative sign: the surface is on the face of the grid.
    padded = -np.abs(np.pad(distance_mm, 1, mode="edge"))
    padded[1:-1, 1:-1, 1:-1] = distance_mm
    # A value of exactly zero would make triangles without area.
    padded[np.abs(padded) < _TINY_MM] = -_TINY_MM
    vertices, triangles, _, _ = marching_cubes(padded, 0.0, gradient_direction="ascent", allow_degenerate=False)
    mesh = Mesh(grid.index_to_world(vertices - 1).astype(np.float32), triangles.astype(np.int32))
    return mesh if mesh.volume_mm3 > 0 else mesh.flipped()


def face_area_mm2(mask: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """Sum the area of the voxel faces that separate inside from outside.

    Args:
        mask: (x, y, z) bool.
        spacing_mm: voxel size in mm.

    Returns:
        The area in mm².
    """
    voxel = float(np.prod(spacing_mm))
    return float(sum(np.count_nonzero(np.diff(mask, axis=a)) * voxel / spacing_mm[a] for a in range(3)))
