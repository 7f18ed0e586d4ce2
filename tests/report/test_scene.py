"""Tests of the packed surfaces of the 3D view."""

import base64
import gzip
from typing import Any

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.report.scene import pack_scene, small_mesh
from support.hearts import ellipsoid

SIDE = 40


def unpack(scene: dict[str, Any]) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    numbers = np.frombuffer(gzip.decompress(base64.b64decode(scene["data"])), "<u2")
    found, at = {}, 0
    for part in scene["parts"]:
        for which in ("before", "after"):
            blocks = []
            for count in part[which]:
                rows = numbers[at : at + 3 * count].reshape(-1, 3)
                blocks.append(np.cumsum(rows, axis=0, dtype=np.uint16))
                at += 3 * count
            found[part["name"], which] = (blocks[0] * scene["step_mm"] + scene["origin_mm"], blocks[1])
    assert at == len(numbers)
    return found


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_packed_surfaces_are_unpacked_unchanged(flip: float) -> None:
    grid = Grid((SIDE,) * 3, np.array([[0, flip, 0, -30], [1.5, 0, 0, 5], [0, 0, 0.8, 100], [0, 0, 0, 1]]))
    before = np.where(ellipsoid(grid.shape, (20, 19, 18), (9, 10, 12)), 3, 0).astype(np.uint8)
    after = before.copy()
    after[ellipsoid(grid.shape, (8, 8, 8), (3, 3, 3))] = 5
    anatomy = load_anatomy("heart")
    scene = pack_scene(before, after, grid, anatomy)
    assert [(p["name"], p["colour"]) for p in scene["parts"]] == [("LV", "#a60c0a"), ("RV", "#4628f0")]
    found = unpack(scene)
    assert len(found["RV", "before"][0]) == 0 and len(found["RV", "after"][1]) > 100
    mesh = small_mesh(before == 3, grid)
    vertices, triangles = found["LV", "before"]
    np.testing.assert_allclose(vertices, mesh.vertices_mm, atol=scene["step_mm"])
    np.testing.assert_array_equal(triangles, mesh.triangles)
    centre = (np.array(scene["centre_mm"]), grid.index_to_world(np.array([[20.0, 19, 18]]))[0])
    assert np.abs(centre[0] - centre[1]).max() < 16


def test_empty_maps_have_no_surface() -> None:
    empty = np.zeros((8, 8, 8), np.uint8)
    scene = pack_scene(empty, empty, Grid((8, 8, 8), np.eye(4)), load_anatomy("heart"))
    assert scene["parts"] == [] and unpack(scene) == {}


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_a_small_mesh_is_closed_with_outward_normals_and_the_same_volume(flip: float) -> None:
    grid = Grid((SIDE,) * 3, np.diag([flip, 1.2, 0.9, 1.0]))
    mask = ellipsoid(grid.shape, (20, 19, 18), (11, 12, 13))
    mask[:9] = False
    mesh = small_mesh(mask, grid, triangles_per_mm2=1.0)
    corners = mesh.vertices_mm[mesh.triangles].astype(float)
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume == pytest.approx(mask.sum() * grid.voxel_mm3, rel=0.04)
    edges = np.sort(np.concatenate([mesh.triangles[:, pair] for pair in ([0, 1], [1, 2], [2, 0])]), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert (uses == 2).all()
    # Euler number of a ball: vertices - edges + triangles.
    assert len(np.unique(mesh.triangles)) - len(uses) + len(mesh.triangles) == 2


def test_a_small_mesh_has_at_most_max_triangles() -> None:
    grid = Grid((SIDE,) * 3, np.eye(4))
    mask = ellipsoid(grid.shape, (20, 20, 20), (15, 15, 15))
    assert 900 <= len(small_mesh(mask, grid, max_triangles=1000).triangles) <= 1000
