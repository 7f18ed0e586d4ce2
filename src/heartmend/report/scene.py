"""Surfaces of a case before and after repair, packed for the 3D view of a report."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class ScenePart:
    """A coloured part of a scene.

    Attributes:
        name: its name; parts of one name are shown and hidden together.
        colour: its colour, such as "#a60c0a".
        before: its surface in the left view.
        after: its surface in the right view.
    """

    name: str
    colour: str
    before: Mesh
    after: Mesh


def pack_scene(before: Labels, after: Labels, grid: Grid, anatomy: Anatomy) -> dict[str, Any]:
    """Pack the surfaces of two label maps.

    Args:
        before: original label map (x, y, z), uint8.
        after: repaired label map of the same shape.
        grid: grid of both.
        anatomy: anatomy of the label maps, for names and colours.

    Returns:
        A table for JSON (`pack_parts`).
    """
    parts = []
    for structure in anatomy.structures:
        thin = structure.kind == "tube"
        pair = [small_mesh(labels == structure.id, grid, keep_topology=thin) for labels in (before, after)]
        if any(len(mesh.triangles) for mesh in pair):
            parts.append(ScenePart(structure.name, "#{:02x}{:02x}{:02x}".format(*structure.colour), *pair))
    return pack_parts(parts)


def pack_parts(parts: Sequence[ScenePart]) -> dict[str, Any]:
    """Pack the parts of a scene.

    Args:
        parts: the parts.

    Returns:
        A table for JSON. `parts`: name, colour, and the numbers of vertices and triangles `before` and `after` of each
        part. `data`: gzip in base64 of little-endian uint16: for each part, before and then after, the vertices
        (x, y, z by vertex) in steps of `step_mm` from `origin_mm` (RAS+), then the triangles; each number as the
        difference, modulo 2^16, to the one three before it. `centre_mm` and `size_mm`: centre and diagonal of the
        bounding box of all surfaces. `extent_mm`: its sides from left to right, below to above, back to front.
    """
    meshes = [mesh for part in parts for mesh in (part.before, part.after)]
    points = np.concatenate([m.vertices_mm for m in meshes]) if meshes else np.zeros((1, 3), np.float32)
    origin, end = points.min(axis=0), points.max(axis=0)
    step = max(float((end - origin).max()), 1.0) / STEPS
    data = b"".join(_packed(mesh, origin, step) for mesh in meshes)
    listed = [
        {"name": part.name, "colour": part.colour,
         "before": [len(part.before.vertices_mm), len(part.before.triangles)],
         "after": [len(part.after.vertices_mm), len(part.after.triangles)]}
        for part in parts
    ]  # fmt: skip
    return {
        "origin_mm": origin.astype(float).tolist(), "step_mm": step, "parts": listed,
        "centre_mm": ((origin + end) / 2).astype(float).tolist(), "size_mm": float(np.linalg.norm(end - origin)),
        "extent_mm": (end - origin)[[0, 2, 1]].astype(float).tolist(),
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
