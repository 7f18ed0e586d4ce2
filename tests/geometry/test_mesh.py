"""Meshes from masks and from signed distances: volume, watertightness and orientation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_fill_holes, label

from heartmend.geometry.grid import Grid
from heartmend.geometry.mesh import Mesh, face_area_mm2, mesh_of_distance, mesh_of_mask
from support.hearts import ellipsoid
from support.models import frame

TETRAHEDRON = Mesh(
    np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32),
    np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], dtype=np.int32),
)


def test_volume_and_watertightness_agree_with_a_hand_calculation() -> None:
    assert TETRAHEDRON.volume_mm3 == pytest.approx(1 / 6)
    assert TETRAHEDRON.flipped().volume_mm3 == pytest.approx(-1 / 6)
    assert TETRAHEDRON.is_watertight
    assert not Mesh(TETRAHEDRON.vertices_mm, TETRAHEDRON.triangles[:3]).is_watertight
    flipped_one = TETRAHEDRON.triangles.copy()
    flipped_one[0] = flipped_one[0, ::-1]
    assert not Mesh(TETRAHEDRON.vertices_mm, flipped_one).is_watertight


@pytest.mark.parametrize("affine", [np.diag([1.0, 1, 1, 1]), np.diag([-1.0, 1, 1, 1]), np.diag([-0.5, -0.5, 2, 1])])
def test_the_mesh_of_a_ball_has_its_volume_and_faces_outwards_on_any_grid(affine: np.ndarray) -> None:
    mask = ellipsoid((30, 30, 30), (14, 15, 13), (9, 9, 9))
    grid = Grid(mask.shape, affine)
    mesh = mesh_of_mask(mask, grid)
    assert mesh.is_watertight
    assert mesh.volume_mm3 == pytest.approx(mask.sum() * grid.voxel_mm3, rel=0.05)
    assert np.allclose(mesh.vertices_mm.mean(axis=0), grid.index_to_world((14, 15, 13)), atol=0.3)


def test_a_thin_tube_does_not_shrink_and_an_empty_mask_has_no_triangles() -> None:
    tube = np.zeros((30, 9, 9), dtype=bool)
    tube[:, 4:6, 4:6] = True
    mesh = mesh_of_mask(tube, Grid(tube.shape, np.eye(4)))
    assert 0.9 < mesh.volume_mm3 / tube.sum() < 1.12
    assert len(mesh_of_mask(np.zeros((4, 4, 4), bool), Grid((4, 4, 4), np.eye(4))).triangles) == 0


def test_a_simplified_mesh_keeps_its_volume() -> None:
    mask = ellipsoid((40, 40, 40), (20, 20, 20), (15, 15, 15))
    mesh = mesh_of_mask(mask, Grid(mask.shape, np.eye(4)))
    small = mesh.simplified(1000)
    assert 900 <= len(small.triangles) <= 1000 < len(mesh.triangles)
    assert small.volume_mm3 == pytest.approx(mesh.volume_mm3, rel=0.02)
    assert mesh.simplified(10**6) is mesh


def test_a_surface_that_leaves_the_grid_is_closed_at_its_border() -> None:
    grid = frame().grid
    depth = np.full(grid.shape, -3.0, dtype=np.float32)
    depth[20:, 5:20, 5:20] = 3.0
    mesh = mesh_of_distance(depth, grid)
    assert mesh.is_watertight
    assert mesh.vertices_mm[:, 0].max() <= 32.0 + 1e-4
    assert len(mesh_of_distance(np.full(grid.shape, -1.0, dtype=np.float32), grid).triangles) == 0


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_distances_of_exactly_zero_leave_the_mesh_watertight(flip: float) -> None:
    grid = Grid((12, 12, 12), np.diag([flip, 1.0, 1.0, 1.0]))
    depth = (3 - np.abs(np.indices(grid.shape) - 5).max(axis=0)).astype(np.float32)
    mesh = mesh_of_distance(depth, grid)
    assert mesh.is_watertight and mesh.volume_mm3 > 0


def test_the_area_of_the_faces_of_one_voxel() -> None:
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1, 1] = True
    assert face_area_mm2(mask, (1.0, 2.0, 3.0)) == pytest.approx(2 * (2 * 3 + 1 * 3 + 1 * 2))


def test_the_surface_of_a_thin_vessel_has_the_components_of_the_mask() -> None:
    """A wide tube and one that is a voxel thin with diagonal steps, which one level for both interrupts."""
    mask = np.zeros((60, 30, 30), bool)
    mask[2:58, 4:11, 4:11] = True
    for i in range(40):
        mask[5 + i, 18 + abs(i % 8 - 4), 18 + abs(i % 6 - 3)] = True  # neighbours share an edge or a corner
    grid = Grid(mask.shape, np.diag([0.5, 0.5, 0.8, 1.0]))
    mesh = mesh_of_mask(mask, grid, keep_topology=True)
    assert mesh.components == 2 and mesh.is_watertight
    assert mesh_of_mask(mask, grid).components != 2
    assert mesh.volume_mm3 == pytest.approx(mask.sum() * 0.2, rel=0.25)  # the level is between those of the two tubes


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_the_surface_has_the_components_of_any_mask_without_cavities(seed: int) -> None:
    mask = binary_fill_holes(np.random.default_rng(seed).random((7, 6, 8)) < 0.12)
    components = int(label(mask, np.ones((3, 3, 3)))[1])
    grid = Grid(mask.shape, np.eye(4))
    assert mesh_of_mask(mask, grid, keep_topology=True).components == components


def test_smoothing_removes_the_terraces_and_keeps_volume_and_components() -> None:
    """A ball of 2 mm slices: its triangles turn towards the sphere, its volume stays within 2 %."""
    mask = ellipsoid((40, 40, 20), (20, 20, 9), (15, 15, 7.5))
    mask[1:4, 1:4, 1:3] = True
    mesh = mesh_of_mask(mask, Grid(mask.shape, np.diag([1.0, 1, 2, 1])))
    smooth = mesh.smoothed(12)
    assert smooth.is_watertight and smooth.components == mesh.components == 2
    assert smooth.volume_mm3 == pytest.approx(mesh.volume_mm3, rel=0.02)

    def roughness(one: Mesh) -> float:
        """Mean angle between the triangles of the ball and a sphere."""
        corners = one.vertices_mm[one.triangles[one.vertices_mm[one.triangles[:, 0], 0] > 4.5]].astype(float)
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        radial = corners.mean(axis=1) - (20, 20, 18)
        lengths = np.linalg.norm(normals, axis=1) * np.linalg.norm(radial, axis=1)
        return float(np.arccos(np.clip((normals * radial).sum(axis=1) / lengths, -1, 1)).mean())

    assert roughness(smooth) < 0.6 * roughness(mesh)
    assert len(Mesh.empty().smoothed(3).triangles) == 0
