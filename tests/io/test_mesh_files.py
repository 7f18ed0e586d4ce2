"""Mesh files, byte by byte."""

import base64
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import ConfigError
from heartmend.geometry.mesh import Mesh
from heartmend.io.mesh_files import write_glb, write_meshes, write_ply, write_stl, write_vtp

TETRAHEDRON = Mesh(
    np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32),
    np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], dtype=np.int32),
)


def test_a_ply_file_has_points_colours_and_faces(tmp_path: Path) -> None:
    write_ply(tmp_path / "x.ply", TETRAHEDRON, "LV", (1, 2, 3))
    head, body = (tmp_path / "x.ply").read_bytes().split(b"end_header\n")
    assert b"comment SPACE=RAS" in head and b"element vertex 4" in head and b"element face 4" in head
    points = np.frombuffer(body[: 4 * 15], dtype=[("at", "<f4", 3), ("colour", "u1", 3)])
    assert points["at"].tolist() == TETRAHEDRON.vertices_mm.tolist()
    assert points["colour"].tolist() == [[1, 2, 3]] * 4
    faces = np.frombuffer(body[4 * 15 :], dtype=[("count", "u1"), ("corners", "<i4", 3)])
    assert faces["corners"].tolist() == TETRAHEDRON.triangles.tolist() and (faces["count"] == 3).all()


def test_an_stl_file_has_normals_and_corners(tmp_path: Path) -> None:
    write_stl(tmp_path / "x.stl", TETRAHEDRON)
    data = (tmp_path / "x.stl").read_bytes()
    assert len(data) == 84 + 50 * 4
    assert b"SPACE=RAS" in data[:80]
    assert not data.startswith(b"solid")
    assert struct.unpack("<I", data[80:84]) == (4,)
    last = np.frombuffer(data[84 + 150 : 84 + 198], dtype="<f4").reshape(4, 3)
    assert last[0] == pytest.approx(np.ones(3) / np.sqrt(3))
    assert last[1:].tolist() == TETRAHEDRON.vertices_mm[[1, 2, 3]].tolist()


def test_a_vtp_file_has_points_triangles_and_labels(tmp_path: Path) -> None:
    write_vtp(tmp_path / "x.vtp", TETRAHEDRON, 8)
    text = (tmp_path / "x.vtp").read_text()

    def values(name: str, dtype: str) -> list[float]:
        body = re.search(rf'Name="{name}"[^>]*>([^<]*)<', text)
        assert body is not None
        data = base64.b64decode(body[1])
        assert struct.unpack("<Q", data[:8]) == (len(data) - 8,)
        return np.frombuffer(data[8:], dtype=dtype).tolist()

    assert text.count("<Piece ") == text.count("</Piece>") == 1
    assert 'NumberOfPoints="4"' in text and 'NumberOfPolys="4"' in text
    assert values("Points", "<f4") == TETRAHEDRON.vertices_mm.ravel().tolist()
    assert values("connectivity", "<i8") == TETRAHEDRON.triangles.ravel().tolist()
    assert values("offsets", "<i8") == [3, 6, 9, 12]
    assert values("label", "u1") == [8] * 4


def test_a_glb_file_has_a_node_per_structure(tmp_path: Path) -> None:
    write_glb(tmp_path / "x.glb", {"LV": TETRAHEDRON, "LA": TETRAHEDRON}, load_anatomy("heart"))
    data = (tmp_path / "x.glb").read_bytes()
    magic, version, length = struct.unpack("<4sII", data[:12])
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack("<I4s", data[12:20])
    assert kind == b"JSON" and size % 4 == 0
    table = json.loads(data[20 : 20 + size])
    body = data[28 + size :]
    assert table["buffers"][0]["byteLength"] == len(body)
    assert [node["name"] for node in table["nodes"]] == ["LV", "LA", "heart"]
    primitive = table["meshes"][1]["primitives"][0]
    accessor = table["accessors"][primitive["attributes"]["POSITION"]]
    assert accessor["min"] == [0, 0, 0] and accessor["max"] == [1, 1, 1]
    view = table["bufferViews"][accessor["bufferView"]]
    points = np.frombuffer(body, dtype="<f4", count=12, offset=view["byteOffset"])
    assert points.tolist() == TETRAHEDRON.vertices_mm.ravel().tolist()
    # +Y is up, +Z the front, -X the right: 1 mm superior is 0.001 m up.
    matrix = np.array(table["nodes"][2]["matrix"]).reshape(4, 4).T
    assert (matrix @ [0, 0, 1, 1]).tolist() == [0, 0.001, 0, 1]
    assert (matrix @ [0, 1, 0, 1]).tolist() == [0, 0, 0.001, 1]
    assert (matrix @ [1, 0, 0, 1]).tolist() == [-0.001, 0, 0, 1]
    # No mirror image: a viewer in front of the heart, at +Z with +X on the right, has the patient's left on the right.
    assert np.linalg.det(matrix[:3, :3]) > 0
    world = np.array([matrix @ [*point, 1] for point in TETRAHEDRON.vertices_mm])
    anterior = TETRAHEDRON.vertices_mm[:, 1].argmax()
    assert world[:, 2].argmax() == anterior and world[anterior, 2] > np.delete(world[:, 2], anterior).max()
    assert (matrix @ [1, 0, 0, 1]).tolist() == [-0.001, 0, 0, 1]
    assert np.linalg.det(matrix[:3, :3]) > 0


def test_one_file_per_structure_and_an_error_for_unknown_formats(tmp_path: Path) -> None:
    anatomy = load_anatomy("heart")
    written = write_meshes(tmp_path, "001", {"LV": TETRAHEDRON}, anatomy, "stl")
    assert [path.name for path in written] == ["001_LV.stl"]
    with pytest.raises(ConfigError, match="obj"):
        write_meshes(tmp_path, "001", {"LV": TETRAHEDRON}, anatomy, "obj")
