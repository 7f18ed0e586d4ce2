"""Surfaces of the 3D view of the review page."""

from __future__ import annotations

import gzip
import io
import json
import struct

import numpy as np

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.grid import Grid
from heartmend.geometry.mesh import mesh_of_mask
from heartmend.types import Labels

# Coarser surfaces lose the shape of the atrial appendage; thin vessels keep every voxel.
SURFACE_STEP_MM = 1.4
# Removes the terraces of the voxels; the volume and small components stay.
SMOOTHING_STEPS = 12


def pack_surfaces(before: Labels, after: Labels, grid: Grid, anatomy: Anatomy) -> bytes:
    """Pack the surface of each structure before and after repair.

    Args:
        before: original label map (x, y, z), uint8.
        after: repaired label map of the same shape.
        grid: grid of both.
        anatomy: anatomy of the label maps.

    Returns:
        Compressed by gzip: a 4-byte length (little endian); a JSON table of this length with {structure, state,
        vertices, faces} of each surface; then for each surface its vertices (float32, mm, RAS+) and triangles (uint32).
    """
    table, body = [], io.BytesIO()
    coarse = max(1, round(SURFACE_STEP_MM / min(grid.spacing_mm)))
    for s in anatomy.structures:
        for state, labels in (("before", before), ("after", after)):
            mesh = mesh_of_mask(labels == s.id, grid, coarse, keep_topology=s.kind == "tube").smoothed(SMOOTHING_STEPS)
            vertices, faces = mesh.vertices_mm, mesh.triangles
            if len(faces):
                table.append({"structure": s.id, "state": state, "vertices": len(vertices), "faces": len(faces)})
                body.write(vertices.astype("<f4").tobytes())
                body.write(np.ascontiguousarray(faces, dtype="<u4").tobytes())
    head = json.dumps(table).encode()
    head += b" " * (-len(head) % 4)
    return gzip.compress(struct.pack("<I", len(head)) + head + body.getvalue(), compresslevel=4, mtime=0)
