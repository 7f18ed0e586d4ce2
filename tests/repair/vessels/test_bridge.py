"""Bridges between components: left and right tree are never joined."""

from __future__ import annotations

import numpy as np

from heartmend.coronaries.segments import Side
from heartmend.geometry.centrelines.tree import CentreTree, IntArray, chain
from heartmend.repair.vessels.bridge import bridge_gaps
from heartmend.repair.vessels.settings import BridgeSettings
from heartmend.repair.vessels.vessel_context import VesselContext

AORTA_MM = np.array([[-1.0, 0, 0], [71.0, 0, 0]])


def line(first: int, last: int) -> CentreTree:
    x = np.arange(first, last + 1.0)
    return chain(np.stack([x, 0 * x, 0 * x], axis=1), np.full(len(x), 1.2))


def by_half(tree: CentreTree) -> IntArray:
    """Left before x = 15 mm, right behind it."""
    return np.where(tree.points_mm[:, 0] < 15, Side.LEFT, Side.RIGHT).astype(np.intp)


def test_a_stump_at_the_aorta_is_not_joined_with_the_tree_of_the_other_side() -> None:
    """A stump of 12 mm and a tree of 53 mm with one direction, 5 mm apart, each with a root."""
    forest = line(0, 12).joined(line(17, 70), [])
    for sides, bridges in ((None, 1), (by_half, 0), (lambda tree: np.full(len(tree), int(Side.RIGHT)), 1)):
        joined, found, _ = bridge_gaps(forest, VesselContext(AORTA_MM, sides=sides), BridgeSettings())
        assert len(found) == bridges
        assert len(joined.component_mm) == 2 - bridges


def test_a_piece_without_a_side_is_joined_with_one_tree_only() -> None:
    forest = line(0, 12).joined(line(15, 40), []).joined(line(43, 70), [])

    def sides(tree: CentreTree) -> IntArray:
        x = tree.points_mm[:, 0]
        return np.where(x < 13, Side.LEFT, np.where(x > 42, Side.RIGHT, Side.UNKNOWN)).astype(np.intp)

    joined, found, rooted = bridge_gaps(forest, VesselContext(AORTA_MM, sides=sides), BridgeSettings())
    assert len(found) == 1 and rooted.all()
    assert len(joined.component_mm) == 2
