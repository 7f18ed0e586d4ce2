"""Surfaces from the function: closed, outward, in mm where the structure is, and the same as files."""

import base64
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from heartmend.anatomy import load_anatomy
from heartmend.errors import ConfigError
from heartmend.models.mesh_files import write_glb, write_meshes, write_stl, write_vtp
from heartmend.models.surfaces import claim, is_watertight, surface, surfaces_of, volume_mm3
from heartmend.pictures import Mesh
from heartmend.space import Grid
from support.models import CENTRES_MM, RADIUS_MM, frame, two_balls

MODEL = two_balls(spread=0.0)
BALL_MM3 = 4 / 3 * np.pi * RADIUS_MM**3
TETRAHEDRON = Mesh(
    np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32),
    np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], dtype=np.int32),
)


def test_volume_and_watertightness_by_hand() -> None:
    assert volume_mm3(TETRAHEDRON) == pytest.approx(1 / 6)
    assert is_watertight(TETRAHEDRON)
    assert not is_watertight(Mesh(TETRAHEDRON.vertices_mm, TETRAHEDRON.triangles[:3]))
    turned = TETRAHEDRON.triangles.copy()
    turned[0] = turned[0, ::-1]
    assert not is_watertight(Mesh(TETRAHEDRON.vertices_mm, turned))


def test_a_ball_is_closed_smooth_and_where_it_is() -> None:
    meshes = surfaces_of(MODEL, MODEL.heart("a"), spacing_mm=1.5)
    assert set(meshes) == {"LV", "RV"}
    for name, mesh in meshes.items():
        assert is_watertight(mesh)
        assert volume_mm3(mesh) == pytest.approx(BALL_MM3, rel=0.03)
        radii = np.linalg.norm(mesh.vertices_mm - np.array(CENTRES_MM[name]), axis=1)
        # Of a label map of 2 mm they would lie up to a millimetre off.
        assert abs(radii - RADIUS_MM).max() < 0.35
    assert set(surfaces_of(MODEL, MODEL.heart("a"), 3.0, ["lv"])) == {"LV"}


def test_bent_hearts_are_closed_too() -> None:
    model = two_balls(spread=0.08, seed=3)
    for id in model.codes.ids:
        for mesh in surfaces_of(model, model.heart(id), spacing_mm=2.5).values():
            assert is_watertight(mesh) and volume_mm3(mesh) > 0


def test_what_leaves_the_frame_is_closed_at_its_face() -> None:
    grid = frame().grid
    depth = np.full(grid.shape, -3.0, dtype=np.float32)
    depth[20:, 5:20, 5:20] = 3.0
    mesh = surface(depth, grid)
    assert mesh is not None and is_watertight(mesh)
    assert mesh.vertices_mm[:, 0].max() <= 32.0 + 1e-4
    assert surface(np.full(grid.shape, -1.0, dtype=np.float32), grid) is None


def test_values_of_just_zero_make_no_hole() -> None:
    grid = Grid((12, 12, 12), np.diag([1.0, 1.0, 1.0, 1.0]))
    at = np.indices(grid.shape) - 5
    mesh = surface((3 - np.abs(at).max(axis=0)).astype(np.float32), grid)
    assert mesh is not None and is_watertight(mesh)
    mirrored = surface((3 - np.abs(at).max(axis=0)).astype(np.float32), Grid((12, 12, 12), np.diag([-1.0, 1, 1, 1])))
    assert mirrored is not None and volume_mm3(mirrored) > 0


def test_structures_do_not_overlap() -> None:
    heart = load_anatomy("heart")
    fields = {"LV": np.array([1.0, 1.0, -1.0]), "Coronary": np.array([0.5, -0.5, 0.5])}
    assert claim(fields, heart, {}, "Coronary").tolist() == [0.5, -0.5, 0.5]
    assert claim(fields, heart, {}, "LV").tolist() == [-0.5, 0.5, -1.0]


def test_stl(tmp_path: Path) -> None:
    write_stl(tmp_path / "x.stl", TETRAHEDRON)
    data = (tmp_path / "x.stl").read_bytes()
    assert len(data) == 84 + 50 * 4
    assert b"SPACE=RAS" in data[:80]
    assert not data.startswith(b"solid")
    assert struct.unpack("<I", data[80:84]) == (4,)
    last = np.frombuffer(data[84 + 150 : 84 + 198], dtype="<f4").reshape(4, 3)
    assert last[0] == pytest.approx(np.ones(3) / np.sqrt(3))
    assert last[1:].tolist() == TETRAHEDRON.vertices_mm[[1, 2, 3]].tolist()


def test_vtp(tmp_path: Path) -> None:
    write_vtp(tmp_path / "x.vtp", TETRAHEDRON, 8)
    text = (tmp_path / "x.vtp").read_text()

    def values(name: str, dtype: str) -> list[float]:
        body = re.search(rf'Name="{name}"[^>]*>([^<]*)<', text)
        assert body is not None
        data = base64.b64decode(body[1])
        assert struct.unpack("<Q", data[:8]) == (len(data) - 8,)
        return np.frombuffer(data[8:], dtype=dtype).tolist()

    assert 'NumberOfPoints="4"' in text and 'NumberOfPolys="4"' in text
    assert values("Points", "<f4") == TETRAHEDRON.vertices_mm.ravel().tolist()
    assert values("connectivity", "<i8") == TETRAHEDRON.triangles.ravel().tolist()
    assert values("offsets", "<i8") == [3, 6, 9, 12]
    assert values("label", "u1") == [8] * 4


def test_glb(tmp_path: Path) -> None:
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
    # A point 1 mm towards the head is a thousandth of a metre up.
    matrix = np.array(table["nodes"][2]["matrix"]).reshape(4, 4).T
    assert (matrix @ [0, 0, 1, 1]).tolist() == [0, 0.001, 0, 1]
    assert np.linalg.det(matrix[:3, :3]) > 0


def test_a_file_for_each_structure_and_unknown_formats_are_told(tmp_path: Path) -> None:
    anatomy = load_anatomy("heart")
    written = write_meshes(tmp_path, "001", {"LV": TETRAHEDRON}, anatomy, "stl")
    assert [path.name for path in written] == ["001_LV.stl"]
    with pytest.raises(ConfigError, match="obj"):
        write_meshes(tmp_path, "001", {"LV": TETRAHEDRON}, anatomy, "obj")
