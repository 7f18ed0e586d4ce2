"""A structure's surface as a PLY file, which 3D Slicer, ParaView, Blender and MeshLab open."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from heartmend.anatomy import Structure
from heartmend.data.itk import LPS_TO_RAS
from heartmend.files import write_bytes
from heartmend.review import surface
from heartmend.space import Grid
from heartmend.types import Labels


def write_mesh(labels: Labels, grid: Grid, structure: Structure, path: Path) -> bool:
    """Write the surface of a structure in mm, LPS (as 3D Slicer takes it), with its colour; False when it is absent."""
    vertices, faces = surface(labels == structure.id, grid)
    if not len(faces):
        return False
    red, green, blue = structure.colour
    points = np.zeros(len(vertices), dtype=[("at", "<f4", 3), ("colour", "u1", 3)])
    points["at"] = vertices @ LPS_TO_RAS.astype(np.float32)
    points["colour"] = red, green, blue
    # To mirror two axes is to turn: what was wound outwards stays so.
    triangles = np.zeros(len(faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    triangles["count"], triangles["corners"] = 3, faces
    head = "\n".join(
        (
            "ply", "format binary_little_endian 1.0", f"comment {structure.name}", "comment SPACE=LPS",
            f"element vertex {len(points)}", *(f"property float {axis}" for axis in "xyz"),
            *(f"property uchar {colour}" for colour in ("red", "green", "blue")),
            f"element face {len(triangles)}", "property list uchar int vertex_indices", "end_header\n",
        )
    )  # fmt: skip
    write_bytes(path, head.encode(), points.tobytes(), triangles.tobytes())
    return True
