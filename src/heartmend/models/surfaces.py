"""Smooth, closed surfaces of a heart's structures in mm, from the function itself and not from a label map."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from skimage.measure import marching_cubes

from heartmend.anatomy import Anatomy
from heartmend.models.decide import Fields, Thresholds, margin_mm
from heartmend.models.heart_model import Heart, HeartModel, fields_on
from heartmend.pictures import Mesh
from heartmend.space import Grid

_TINY_MM = 1e-3


def surfaces_of(model: HeartModel, heart: Heart, spacing_mm: float = 0.8, names: Iterable[str] = ()) -> dict[str, Mesh]:
    """The surface of each structure that the heart has (of `names` alone, if given), within its frame.

    spacing_mm: of the lattice on which the function is asked; between its points the surface is found by
    interpolation (marching cubes: Lewiner et al. 2003). What leaves the frame is closed at its face.
    """
    counts = [max(int(np.ceil(length / spacing_mm)), 8) for length in heart.frame.size_mm]
    grid = heart.frame.grid_at((counts[0], counts[1], counts[2]))
    fields = fields_on(model, heart, grid)
    wanted = [model.anatomy.by_name(name).name for name in names] or list(model.shape.heads)
    found = {}
    for name in wanted:
        mesh = surface(claim(fields, model.anatomy, model.thresholds, name), grid)
        if mesh is not None:
            found[name] = mesh
    return found


def claim(fields: Fields, anatomy: Anatomy, thresholds: Thresholds, name: str) -> npt.NDArray[np.float32]:
    """How deep (mm) each point lies in what a structure has when all have claimed theirs: the label map's decision as
    a function without steps."""
    depth = fields[name] - np.float32(margin_mm(thresholds.get(name, 0.5)))
    for other in anatomy.priority[: anatomy.priority.index(name)]:
        if other in fields:
            depth = np.minimum(depth, np.float32(margin_mm(thresholds.get(other, 0.5))) - fields[other])
    return depth


def surface(depth_mm: npt.NDArray[np.float32], grid: Grid) -> Mesh | None:
    """The surface where a depth (x, y, z) on a grid crosses zero, closed at the grid's end; None if it never does."""
    if not (depth_mm > 0).any():
        return None
    # As deep outside beyond the end as inside before it: the surface lies on the grid's face.
    padded = -np.abs(np.pad(depth_mm, 1, mode="edge"))
    padded[1:-1, 1:-1, 1:-1] = depth_mm
    # A value of just zero would make triangles without area.
    padded[np.abs(padded) < _TINY_MM] = -_TINY_MM
    points, triangles, _, _ = marching_cubes(padded, 0.0, gradient_direction="ascent", allow_degenerate=False)
    mesh = Mesh(grid.index_to_world(points - 1).astype(np.float32), triangles.astype(np.int32))
    return mesh if volume_mm3(mesh) > 0 else Mesh(mesh.vertices_mm, np.ascontiguousarray(mesh.triangles[:, ::-1]))


def volume_mm3(mesh: Mesh) -> float:
    """The volume within a closed surface, positive when its triangles face outward."""
    a, b, c = (mesh.vertices_mm[mesh.triangles[:, i]].astype(np.float64) for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def is_watertight(mesh: Mesh) -> bool:
    """Whether every edge belongs to two triangles that pass it in opposite directions (or to more such pairs)."""
    t = mesh.triangles.astype(np.int64)
    edges = np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]])
    n = len(mesh.vertices_mm)
    there, count = np.unique(edges[:, 0] * n + edges[:, 1], return_counts=True)
    back, count_back = np.unique(edges[:, 1] * n + edges[:, 0], return_counts=True)
    return len(t) > 0 and np.array_equal(there, back) and np.array_equal(count, count_back)
