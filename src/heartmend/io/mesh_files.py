"""Mesh files: STL, XML polydata of VTK (VTP), PLY and binary glTF (GLB), written atomically.

One axis convention: points are in mm, RAS+, and every format that can store the convention does (`SPACE=RAS`, which 3D
Slicer reads). Only glTF has its own axes: metres, +Y up and +Z to the front; its root node converts to them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.errors import ConfigError
from heartmend.geometry.mesh import Mesh
from heartmend.io.atomic import write_bytes, write_text
from heartmend.io.file_names import check_case_id
from heartmend.io.vtk_xml import vtk_array, vtp_text

_FLOAT, _UNSIGNED_INT = 5126, 5125
_VERTICES, _INDICES = 34962, 34963
_MM_TO_GLTF = [-0.001, 0, 0, 0, 0, 0, 0.001, 0, 0, 0.001, 0, 0, 0, 0, 0, 1]
"""Matrix in column order: right becomes -X, anterior +Z, superior +Y, mm become metres."""


@dataclass(frozen=True, eq=False)
class Surface(Mesh):
    """Surface of one structure, which can be written to a file.

    Attributes:
        vertices_mm: (n, 3) float32, points in mm, RAS+.
        triangles: (m, 3) int32, indices of vertices.
        name: name of the structure.
        id: value of the structure in a file with the ids of its anatomy.
        colour: red, green and blue, 0 to 255.
    """

    name: str
    id: int
    colour: tuple[int, int, int]

    @classmethod
    def of_structure(cls, mesh: Mesh, structure: Structure) -> Surface:
        """Label a mesh with the name, id and colour of a structure.

        Args:
            mesh: the mesh, in mm.
            structure: the structure.

        Returns:
            The surface.
        """
        return cls(mesh.vertices_mm, mesh.triangles, structure.name, structure.value, structure.colour)

    def save(self, path: str | Path) -> Path:
        """Write the surface as STL, VTP or PLY.

        Args:
            path: the file; its suffix, `.stl`, `.vtp` or `.ply`, determines the format.

        Returns:
            The path of the file.

        Raises:
            ConfigError: if the suffix is another one.
            OutputError: if the file cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix == ".stl":
            write_stl(path, self)
        elif suffix == ".vtp":
            write_vtp(path, self, self.id)
        elif suffix == ".ply":
            write_ply(path, self, self.name, self.colour)
        else:
            raise ConfigError(f"{path}: {suffix or 'no suffix'!r} is not a mesh format; use .stl, .vtp or .ply")
        return path


def write_stl(path: Path, mesh: Mesh) -> None:
    """Write a mesh as binary STL in mm, RAS.

    Args:
        path: the file (.stl).
        mesh: the mesh.
    """
    corners = mesh.vertices_mm[mesh.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    record = np.zeros(len(corners), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    record["normal"], record["corners"] = normals, corners
    write_bytes(path, b"Heartmend; mm; SPACE=RAS".ljust(80), struct.pack("<I", len(corners)), record.tobytes())


def write_vtp(path: Path, mesh: Mesh, id: int) -> None:
    """Write a mesh as XML polydata of VTK in mm, RAS.

    Args:
        path: the file (.vtp).
        mesh: the mesh.
        id: the structure's value, stored for every triangle as cell data `label`.
    """
    count, kind = len(mesh.triangles), ("UInt8", "u1") if id < 256 else ("UInt16", "<u2")
    ends = np.arange(3, 3 * count + 1, 3)
    text = vtp_text(
        counts=f'NumberOfPoints="{len(mesh.vertices_mm)}" NumberOfPolys="{count}"',
        content=(
            f'<CellData Scalars="label">{vtk_array("label", kind[0], np.full(count, id, dtype=kind[1]))}</CellData>',
            f"<Points>{vtk_array('Points', 'Float32', mesh.vertices_mm.astype('<f4'), 3)}</Points>",
            f"<Polys>{vtk_array('connectivity', 'Int64', mesh.triangles.astype('<i8'))}"
            f"{vtk_array('offsets', 'Int64', ends)}</Polys>",
        ),
    )
    write_text(path, text)


def write_ply(path: Path, mesh: Mesh, name: str, colour: tuple[int, int, int]) -> None:
    """Write a mesh as binary PLY in mm, RAS.

    Args:
        path: the file (.ply).
        mesh: the mesh.
        name: name of the structure, stored as a comment.
        colour: red, green, blue, 0 to 255, stored at every vertex.
    """
    points = np.zeros(len(mesh.vertices_mm), dtype=[("at", "<f4", 3), ("colour", "u1", 3)])
    points["at"], points["colour"] = mesh.vertices_mm, colour
    triangles = np.zeros(len(mesh.triangles), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    triangles["count"], triangles["corners"] = 3, mesh.triangles
    head = "\n".join(
        (
            "ply", "format binary_little_endian 1.0", f"comment {name}", "comment SPACE=RAS",
            f"element vertex {len(points)}", *(f"property float {axis}" for axis in "xyz"),
            *(f"property uchar {channel}" for channel in ("red", "green", "blue")),
            f"element face {len(triangles)}", "property list uchar int vertex_indices", "end_header\n",
        )
    )  # fmt: skip
    write_bytes(path, head.encode(), points.tobytes(), triangles.tobytes())


def write_glb(path: Path, meshes: Mapping[str, Mesh], anatomy: Anatomy) -> None:
    """Write the meshes of a case as binary glTF 2.0, one node per structure.

    Points are in mm, RAS; the root node converts them to glTF's metres with +Y up.

    Args:
        path: the file (.glb).
        meshes: the meshes by name of the structure.
        anatomy: the colours.
    """
    chunks: list[bytes] = []
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []

    def add_accessor(values: np.ndarray, target: int, kind: str, **more: Any) -> int:
        data = np.ascontiguousarray(values).tobytes()
        start = sum(map(len, chunks))
        views.append({"buffer": 0, "byteOffset": start, "byteLength": len(data), "target": target})
        chunks.append(data + b"\0" * (-len(data) % 4))
        component = _FLOAT if values.dtype.kind == "f" else _UNSIGNED_INT
        count = values.size if kind == "SCALAR" else len(values)
        accessors.append(
            {"bufferView": len(views) - 1, "componentType": component, "count": count, "type": kind, **more}
        )
        return len(accessors) - 1

    parts, materials, nodes = [], [], []
    for name, mesh in meshes.items():
        points = mesh.vertices_mm.astype("<f4")
        corners = {"min": points.min(axis=0).tolist(), "max": points.max(axis=0).tolist()}
        attributes = {
            "POSITION": add_accessor(points, _VERTICES, "VEC3", **corners),
            "NORMAL": add_accessor(_normals(mesh).astype("<f4"), _VERTICES, "VEC3"),
        }
        indices = add_accessor(mesh.triangles.astype("<u4"), _INDICES, "SCALAR")
        linear = [(c / 255) ** 2.2 for c in anatomy.by_name(name).colour]
        surface = {"baseColorFactor": [*linear, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.6}
        materials.append({"name": name, "pbrMetallicRoughness": surface})
        primitive = {"attributes": attributes, "indices": indices, "material": len(materials) - 1}
        parts.append({"name": name, "primitives": [primitive]})
        nodes.append({"name": name, "mesh": len(parts) - 1})
    root = {"name": "heart", "matrix": _MM_TO_GLTF, "children": list(range(len(nodes)))}
    table = {
        "asset": {"version": "2.0", "generator": "Heartmend"}, "scene": 0, "scenes": [{"nodes": [len(nodes)]}],
        "nodes": [*nodes, root], "meshes": parts, "materials": materials, "accessors": accessors, "bufferViews": views,
        "buffers": [{"byteLength": sum(map(len, chunks))}],
    }  # fmt: skip
    text = json.dumps(table).encode()
    text += b" " * (-len(text) % 4)
    body = b"".join(chunks)
    write_bytes(
        path, struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(body)), struct.pack("<I4s", len(text), b"JSON"),
        text, struct.pack("<I4s", len(body), b"BIN\0"), body,
    )  # fmt: skip


def _normals(mesh: Mesh) -> np.ndarray:
    """(n, 3): area-weighted mean of the normals of each vertex's triangles."""
    a, b, c = (mesh.vertices_mm[mesh.triangles[:, i]].astype(np.float64) for i in range(3))
    areas = np.cross(b - a, c - a)
    total = np.zeros((len(mesh.vertices_mm), 3))
    for corner in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(mesh.triangles[:, corner], areas[:, axis], minlength=len(total))
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 0, total / np.maximum(length, 1e-20), (0.0, 0.0, 1.0))


def write_meshes(folder: Path, case_id: str, meshes: Mapping[str, Mesh], anatomy: Anatomy, kind: str) -> list[Path]:
    """Write the meshes of a case.

    Args:
        folder: folder of the files.
        case_id: first part of the file names.
        meshes: the meshes by name of the structure.
        anatomy: ids and colours.
        kind: "stl" or "vtp" for one file per structure, "glb" for one file.

    Returns:
        The written files.

    Raises:
        BadInputError: if the id or a name would lead out of the folder.
        ConfigError: for any other format.
    """
    check_case_id(case_id)
    for name in meshes:
        check_case_id(name)
    if kind == "glb":
        write_glb(folder / f"{case_id}.glb", meshes, anatomy)
        return [folder / f"{case_id}.glb"]
    if kind not in ("stl", "vtp"):
        raise ConfigError(f"unknown mesh format {kind!r}; give stl, vtp or glb")
    paths = []
    for name, mesh in meshes.items():
        paths.append(folder / f"{case_id}_{name.replace(' ', '_')}.{kind}")
        if kind == "stl":
            write_stl(paths[-1], mesh)
        else:
            write_vtp(paths[-1], mesh, anatomy.by_name(name).value)
    return paths
