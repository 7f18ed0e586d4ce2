"""Centrelines: forest, skeleton, pruning, conversion to a graph."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from heartmend.geometry.centrelines.skeleton import prune_spurs, trace_centreline
from heartmend.geometry.centrelines.tree import CentreTree, chain


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_skeleton_is_a_forest_with_a_point_in_every_component(seed: int) -> None:
    mask = np.random.default_rng(seed).random((12, 11, 10)) < 0.12
    tree = trace_centreline(mask, (1.0, 1.0, 1.0))
    assert len(tree.edges) == len(tree) - len(tree.component_mm)
    index = tree.points_mm.astype(int)
    assert mask[tuple(index.T)].all()
    components, count = label(mask, np.ones((3, 3, 3)))
    assert len(np.unique(components[tuple(index.T)])) == count


def test_a_ring_is_opened() -> None:
    x, y, z = np.mgrid[:40, :40, :9]
    ring = (np.hypot(np.hypot(x - 20, y - 20) - 12, z - 4)) < 2.5
    tree = trace_centreline(ring, (1.0, 1.0, 1.0))
    assert len(tree.edges) == len(tree) - 1
    assert tree.edge_mm.sum() > 60


def test_a_mask_that_fills_its_array_is_one_vessel() -> None:
    tree = trace_centreline(np.ones((5, 5, 40), bool), (1.0, 1.0, 1.0))
    assert len(tree.component_mm) == 1
    assert tree.component_mm[0] > 30


def test_the_shorter_of_two_twigs_at_the_end_of_a_vessel_is_pruned() -> None:
    stem = chain(np.array([[float(x), 0, 0] for x in range(11)]), np.full(11, 0.5))
    short = chain(np.array([[10.0, 1, 0], [10, 2, 0]]), np.full(2, 0.5))
    long_ = chain(np.array([[11.0, 0, 0], [12, 0, 0], [13, 0, 0]]), np.full(3, 0.5))
    tree = prune_spurs(stem.joined(short, [(10, 0)]).joined(long_, [(10, 0)]), spur_mm=4.0)
    assert len(tree) == 14
    assert tree.points_mm[:, 0].max() == 13 and tree.points_mm[:, 1].max() == 0


def test_a_forest_is_the_same_after_conversion_to_a_graph() -> None:
    x = np.linspace(0, 10, 11)
    tree = chain(np.stack([x, 0 * x, 0 * x], axis=1), np.full(11, 2.0))
    back = CentreTree.from_networkx(tree.to_networkx())
    np.testing.assert_array_equal(back.points_mm, tree.points_mm)
    np.testing.assert_array_equal(back.radius_mm, tree.radius_mm)
    assert {tuple(sorted(e)) for e in back.edges.tolist()} == {tuple(sorted(e)) for e in tree.edges.tolist()}
    assert back.component_mm.tolist() == [10.0]
