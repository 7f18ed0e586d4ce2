"""Surfaces of a case before and after repair, packed for the 3D view of a report."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.grid import Grid
from heartmend.geometry.mesh import Mesh, face_area_mm2, mesh_of_mask
from heartmend.types import Labels, Mask

STEPS = 65_535
"""Steps of a coordinate over the largest extent: 16 bits."""
TRIANGLES_PER_MM2 = 0.35
MAX_TRIANGLES = 20_000


def pack_scene(before: Labels, after: Labels, grid: Grid, anatomy: Anatomy) -> dict[str, Any]:
    """Pack the surfaces of two label maps.

    Args:
        before: original label map (x, y, z), uint8.
        after: repaired label map of the same shape.
        grid: grid of both.
        anatomy: anatomy of the label maps, for names and colours.

    Returns:
        A table for JSON. `parts`: name, colour, and the numbers of vertices and triangles `before` and `after` of each
        structure. `data`: gzip in base64 of little-endian uint16: for each part, before and then after, the vertices
        (x, y, z by vertex) in steps of `step_mm` from `origin_mm` (RAS+), then the triangles; each number as the
        difference, modulo 2^16, to the one three before it. `centre_mm` and `size_mm`: centre and diagonal of the
        bounding box of all surfaces.
    """
    parts, meshes = [], []
    for structure in anatomy.structures:
        thin = structure.kind == "tube"
        pair = [small_mesh(labels == structure.id, grid, keep_topology=thin) for labels in (before, after)]
        if any(len(mesh.triangles) for mesh in pair):
            counts = [[len(mesh.vertices_mm), len(mesh.triangles)] for mesh in pair]
            colour = "#{:02x}{:02x}{:02x}".format(*structure.colour)
            parts.append({"name": structure.name, "colour": colour, "before": counts[0], "after": counts[1]})
            meshes += pair
    points = np.concatenate([m.vertices_mm for m in meshes]) if meshes else np.zeros((1, 3), np.float32)
    origin, end = points.min(axis=0), points.max(axis=0)
    step = max(float((end - origin).max()), 1.0) / STEPS
    data = b"".join(_packed(mesh, origin, step) for mesh in meshes)
    return {
        "origin_mm": origin.astype(float).tolist(), "step_mm": step, "parts": parts,
        "centre_mm": ((origin + end) / 2).astype(float).tolist(), "size_mm": float(np.linalg.norm(end - origin)),
        "data": base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii"),
    }  # fmt: skip


def small_mesh(
    mask: Mask,
    grid: Grid,
    triangles_per_mm2: float = TRIANGLES_PER_MM2,
    max_triangles: int = MAX_TRIANGLES,
    keep_topology: bool = False,
) -> Mesh:
    """Extract the surface of a mask with few triangles, for a viewer in a page.

    Args:
        mask: mask (x, y, z).
        grid: grid of the mask.
        triangles_per_mm2: triangles per area of the voxel faces.
        max_triangles: largest number of triangles.
        keep_topology: whether the surface has the components of the mask, for thin vessels.

    Returns:
        A closed mesh.
    """
    target = int(triangles_per_mm2 * face_area_mm2(mask, grid.spacing_mm))
    return mesh_of_mask(mask, grid, keep_topology=keep_topology).simplified(min(target, max_triangles))


def _packed(mesh: Mesh, origin: npt.NDArray[np.float32], step_mm: float) -> bytes:
    vertices = np.rint((mesh.vertices_mm - origin) / step_mm)
    return b"".join(_differences(rows) for rows in (vertices, mesh.triangles))


def _differences(rows: npt.NDArray[Any]) -> bytes:
    """Convert rows of three into differences to the previous row, which are small and compress well."""
    integers = rows.astype(np.int64)
    return np.diff(integers, axis=0, prepend=np.zeros((1, 3), np.int64)).astype(np.uint16).astype("<u2").tobytes()
