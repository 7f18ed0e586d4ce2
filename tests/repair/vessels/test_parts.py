"""The parts that mending is made of: forest, skeleton, tube, calibre."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from heartmend.anatomy.calibre import Calibre
from heartmend.repair.vessels.blend import as_sure, painted, tube_weight
from heartmend.repair.vessels.bridge import Bridge
from heartmend.repair.vessels.tree_repair import TreeSettings, measure_tree, tree_radius_mm
from heartmend.repair.vessels.skeleton import pruned, trace
from heartmend.repair.vessels.tree import CentreTree, chain
from heartmend.repair.vessels.tube import line, tube_sdf


def straight(length_mm: float = 10.0, radius_mm: float = 2.0, n: int = 11) -> CentreTree:
    x = np.linspace(0, length_mm, n)
    return chain(np.stack([x, 0 * x, 0 * x], axis=1), np.full(n, radius_mm))


def test_tube_sdf_of_a_capsule() -> None:
    asked = np.array([[5.0, 0, 0], [5, 2, 0], [5, 0, 5], [-3, 0, 0], [13, 4, 0]])
    np.testing.assert_allclose(tube_sdf(straight(), asked), [-2, 0, 3, 1, 3], atol=1e-9)


def test_tube_sdf_of_a_lone_point_is_a_ball_and_of_nothing_is_infinite() -> None:
    ball = chain(np.zeros((1, 3)), np.array([1.5]))
    np.testing.assert_allclose(tube_sdf(ball, np.array([[0.0, 0, 4.0]])), [2.5])
    assert np.isinf(tube_sdf(ball.kept(np.array([False])), np.zeros((2, 3)))).all()


def test_tube_sdf_takes_the_graph_too() -> None:
    asked = np.random.default_rng(0).uniform(-5, 15, (50, 3))
    np.testing.assert_allclose(tube_sdf(straight().to_networkx(), asked), tube_sdf(straight(), asked))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_tube_sdf_does_not_depend_on_what_else_is_asked(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tree = chain(np.cumsum(rng.normal(0, 1, (12, 3)), axis=0), rng.uniform(0.5, 2, 12))
    asked = rng.uniform(-5, 5, (20, 3))
    alone = np.concatenate([tube_sdf(tree, p[None]) for p in asked])
    np.testing.assert_allclose(tube_sdf(tree, asked), alone, atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_skeleton_is_a_forest_with_a_point_in_every_piece(seed: int) -> None:
    mask = np.random.default_rng(seed).random((12, 11, 10)) < 0.12
    tree = trace(mask, (1.0, 1.0, 1.0))
    assert len(tree.edges) == len(tree) - len(tree.component_mm)
    index = tree.points_mm.astype(int)
    assert mask[tuple(index.T)].all()
    components, count = label(mask, np.ones((3, 3, 3)))
    assert len(np.unique(components[tuple(index.T)])) == count


def test_a_ring_is_opened() -> None:
    x, y, z = np.mgrid[:40, :40, :9]
    ring = (np.hypot(np.hypot(x - 20, y - 20) - 12, z - 4)) < 2.5
    tree = trace(ring, (1.0, 1.0, 1.0))
    assert len(tree.edges) == len(tree) - 1
    assert tree.edge_mm.sum() > 60


def test_pruning_takes_the_shorter_of_two_twigs_at_a_vessels_end() -> None:
    stem = chain(np.array([[float(x), 0, 0] for x in range(11)]), np.full(11, 0.5))
    short = chain(np.array([[10.0, 1, 0], [10, 2, 0]]), np.full(2, 0.5))
    long_ = chain(np.array([[11.0, 0, 0], [12, 0, 0], [13, 0, 0]]), np.full(3, 0.5))
    tree, spurs = pruned(stem.joined(short, [(10, 0)]).joined(long_, [(10, 0)]), spur_mm=4.0)
    assert len(spurs) == 1
    assert tree.points_mm[:, 0].max() == 13 and tree.points_mm[:, 1].max() == 0


def test_networkx_and_back() -> None:
    tree = straight()
    back = CentreTree.from_networkx(tree.to_networkx())
    np.testing.assert_array_equal(back.points_mm, tree.points_mm)
    np.testing.assert_array_equal(back.radius_mm, tree.radius_mm)
    assert {tuple(sorted(e)) for e in back.edges.tolist()} == {tuple(sorted(e)) for e in tree.edges.tolist()}
    assert back.component_mm.tolist() == [10.0]


def test_a_tips_line() -> None:
    back = np.array([1.0, 2, 3])
    foot, way = line(np.array([[0.0, 0, -1], [0, 0, -2], [0, 0, -3]]), back)
    np.testing.assert_allclose(foot, 0, atol=1e-12)
    np.testing.assert_allclose(way, [0, 0, 1])


def test_the_trees_radius() -> None:
    assert tree_radius_mm(straight(radius_mm=1.7)) == pytest.approx(1.7)
    assert tree_radius_mm(measure_tree(np.zeros((5, 5, 5), bool), (1.0, 1.0, 1.0))) == 0


def test_a_cohorts_calibre_withstands_a_third_of_swollen_labels() -> None:
    sound = [1.2, 1.25, 1.3, 1.22, 1.28, 1.33, 1.27, 1.31]
    calibre = Calibre.of_cohort([*sound, 1.95, 2.0, 1.9, 2.02], voxel_mm=0.9)
    assert calibre.mean_mm == pytest.approx(np.mean(sound), abs=0.03)
    assert calibre.excess_mm(1.95, 0.9) == pytest.approx(0.67, abs=0.08)
    assert all(abs(calibre.excess_mm(r, 0.9)) < 0.02 for r in sound)


def test_a_few_cases_do_not_make_a_population() -> None:
    assert Calibre.of_cohort([2.0, 2.1, 0.0], voxel_mm=0.9) == Calibre()


@given(st.floats(0.3, 4.0), st.floats(0.3, 1.5))
def test_the_excess_lies_between_nothing_and_the_whole_deviation(radius_mm: float, voxel_mm: float) -> None:
    calibre = Calibre()
    share = calibre.excess_mm(radius_mm, voxel_mm) / (radius_mm - calibre.mean_mm or 1.0)
    assert 0 <= share <= 1


@given(st.floats(0, 3), st.floats(0.3, 2))
def test_a_sound_label_hardly_listens_to_the_tube_and_a_ragged_one_does(rough_mm: float, voxel_mm: float) -> None:
    weight = tube_weight(rough_mm, voxel_mm)
    assert 0 <= weight < 1
    if rough_mm <= 0.28 * voxel_mm:
        assert weight == 0
    if rough_mm > voxel_mm:
        assert weight > 0.8


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_where_nothing_is_bridged_or_drawn_out_no_voxel_is_added(seed: int) -> None:
    """A centreline between coarse voxels cuts their corners; what it cuts there is no vessel."""
    rng = np.random.default_rng(seed)
    way = np.cumsum(rng.normal([1.5, 0, 0], 1.5, (12, 3)), axis=0)
    vessel = chain(way - way.min(axis=0) + 4, np.full(12, 1.2))
    grid = np.indices(np.ceil(vessel.points_mm.max(axis=0)).astype(int) + 5)
    label = (tube_sdf(vessel, grid.reshape(3, -1).T.astype(float)) < 0).reshape(grid.shape[1:])
    tree = measure_tree(label, (1.0, 1.0, 1.0), TreeSettings(spur_mm=0.0, speck_mm3=0.0))
    np.testing.assert_array_equal(painted(tree, label, (1.0, 1.0, 1.0), 0.0, 0.0), label)


def test_a_bridge_is_as_wide_as_the_vessel_is_likelier_there_than_not() -> None:
    """Voxels of 0.6 mm: a middle is off by sqrt(0.45² + 0.27²) = 0.525 mm each way, half of all by sqrt(2 ln 2) times
    that, 0.618 mm. So of 2 mm there stay sqrt(4 - 0.382) = 1.902; one 2.5 times as dear as a straight one: 1.270.
    However dear, 0.4 of the width stay."""
    tree = CentreTree(np.zeros((4, 3)), np.zeros((0, 2), np.intp), np.full(4, 2.0), np.array([-1, 0, 1, 2]))
    corner = (0.0, 0.0, 0.0)
    costs = (4.0, 10.0, 40.0)
    bridges = [Bridge(corner, corner, 4.0, cost, False, (corner, corner)) for cost in costs]
    np.testing.assert_allclose(as_sure(tree, bridges, 0.6).radius_mm, [2, 1.902, 1.270, 0.8], atol=1e-3)
