"""Tubes: signed distance, direction of a tip, radius, and blending with the label."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.geometry.centrelines.measurement import CentrelineSettings, measure_tree, tree_radius_mm
from heartmend.geometry.centrelines.tree import CentreTree, chain
from heartmend.geometry.centrelines.tube import fit_line, tube_sdf
from heartmend.repair.vessels.blend import blend_tube_and_label, narrow_bridges, tube_weight
from heartmend.repair.vessels.bridge import Bridge


def straight(length_mm: float = 10.0, radius_mm: float = 2.0, n: int = 11) -> CentreTree:
    x = np.linspace(0, length_mm, n)
    return chain(np.stack([x, 0 * x, 0 * x], axis=1), np.full(n, radius_mm))


def test_the_signed_distance_to_a_capsule() -> None:
    points = np.array([[5.0, 0, 0], [5, 2, 0], [5, 0, 5], [-3, 0, 0], [13, 4, 0]])
    np.testing.assert_allclose(tube_sdf(straight(), points), [-2, 0, 3, 1, 3], atol=1e-9)


def test_a_single_point_is_a_ball_and_the_distance_to_an_empty_tree_is_infinite() -> None:
    ball = chain(np.zeros((1, 3)), np.array([1.5]))
    np.testing.assert_allclose(tube_sdf(ball, np.array([[0.0, 0, 4.0]])), [2.5])
    assert np.isinf(tube_sdf(ball.subset(np.array([False])), np.zeros((2, 3)))).all()


def test_a_graph_and_its_forest_have_the_same_signed_distance() -> None:
    points = np.random.default_rng(0).uniform(-5, 15, (50, 3))
    np.testing.assert_allclose(tube_sdf(straight().to_networkx(), points), tube_sdf(straight(), points))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_signed_distance_of_a_point_does_not_depend_on_other_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tree = chain(np.cumsum(rng.normal(0, 1, (12, 3)), axis=0), rng.uniform(0.5, 2, 12))
    points = rng.uniform(-5, 5, (20, 3))
    alone = np.concatenate([tube_sdf(tree, p[None]) for p in points])
    np.testing.assert_allclose(tube_sdf(tree, points), alone, atol=1e-9)


def test_the_line_of_a_tip() -> None:
    back_mm = np.array([1.0, 2, 3])
    origin, direction = fit_line(np.array([[0.0, 0, -1], [0, 0, -2], [0, 0, -3]]), back_mm)
    np.testing.assert_allclose(origin, 0, atol=1e-12)
    np.testing.assert_allclose(direction, [0, 0, 1])


def test_the_mean_radius_of_a_tree() -> None:
    assert tree_radius_mm(straight(radius_mm=1.7)) == pytest.approx(1.7)
    assert tree_radius_mm(measure_tree(np.zeros((5, 5, 5), bool), (1.0, 1.0, 1.0))) == 0


@given(st.floats(0, 3), st.floats(0.3, 2))
def test_the_tube_has_no_weight_for_a_smooth_label_and_a_high_one_for_a_rough_label(
    residual_mm: float, voxel_mm: float
) -> None:
    weight = tube_weight(residual_mm, voxel_mm)
    assert 0 <= weight < 1
    if residual_mm <= 0.28 * voxel_mm:
        assert weight == 0
    if residual_mm > voxel_mm:
        assert weight > 0.8


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_centreline_alone_adds_no_voxel(seed: int) -> None:
    """A centreline between coarse voxels cuts their corners; these corners are no vessel."""
    rng = np.random.default_rng(seed)
    way = np.cumsum(rng.normal([1.5, 0, 0], 1.5, (12, 3)), axis=0)
    vessel = chain(way - way.min(axis=0) + 4, np.full(12, 1.2))
    grid = np.indices(np.ceil(vessel.points_mm.max(axis=0)).astype(int) + 5)
    label = (tube_sdf(vessel, grid.reshape(3, -1).T.astype(float)) < 0).reshape(grid.shape[1:])
    tree = measure_tree(label, (1.0, 1.0, 1.0), CentrelineSettings(spur_mm=0.0, speck_mm3=0.0))
    np.testing.assert_array_equal(blend_tube_and_label(tree, label, (1.0, 1.0, 1.0), 0.0, 0.0), label)


def test_a_bridge_is_narrowed_to_where_the_vessel_is_more_likely_than_not() -> None:
    """Voxels of 0.6 mm: the centre deviates by sqrt(0.45² + 0.27²) = 0.525 mm in each direction, half of the centres by
    more than sqrt(2 ln 2) times that, 0.618 mm. Of a radius of 2 mm, sqrt(4 - 0.382) = 1.902 remain; at a cost of 2.5
    times the length 1.270; and never less than 0.4 of the radius."""
    tree = CentreTree(np.zeros((4, 3)), np.zeros((0, 2), np.intp), np.full(4, 2.0), np.array([-1, 0, 1, 2]))
    corner = (0.0, 0.0, 0.0)
    costs = (4.0, 10.0, 40.0)
    bridges = [Bridge(corner, corner, 4.0, cost, False, (corner, corner)) for cost in costs]
    np.testing.assert_allclose(narrow_bridges(tree, bridges, 0.6).radius_mm, [2, 1.902, 1.270, 0.8], atol=1e-3)
