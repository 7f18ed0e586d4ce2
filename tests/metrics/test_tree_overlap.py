"""Agreement of centrelines by vessel, with shares derived by hand."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.geometry.centrelines.tree import CentreTree, chain
from heartmend.metrics.tree_overlap import tree_overlap


def line(points: list[tuple[float, float, float]], radius_mm: float = 0.9) -> CentreTree:
    return chain(np.array(points, float), np.full(len(points), radius_mm))


def straight(first: int, last: int, radius_mm: float = 0.9, y: float = 0.0) -> CentreTree:
    return line([(float(x), y, 0.0) for x in range(first, last + 1)], radius_mm)


def fork() -> CentreTree:
    """A stem of 10 mm along x that divides into 10 mm along +y and 20 mm along -y."""
    stem = [(float(x), 0.0, 0.0) for x in range(11)]
    up, down = ([(10.0, side * y, 0.0) for y in range(1, n + 1)] for side, n in ((1.0, 10), (-1.0, 20)))
    points = np.array(stem + up + down)
    edges = [(i, i + 1) for i in range(10)] + [(10, 11)] + [(i, i + 1) for i in range(11, 20)]
    edges += [(10, 21)] + [(i, i + 1) for i in range(21, 40)]
    return CentreTree(points, np.array(edges), np.full(41, 1.0), np.full(41, -1))


def test_a_forest_agrees_with_itself() -> None:
    result = tree_overlap(fork(), fork(), (0, 0, 0))
    assert (result.precision, result.recall, result.overlap, result.until_first_error, result.relevant_overlap) == (
        1, 1, 1, 1, 1,
    )  # fmt: skip


def test_a_fork_has_two_vessels_from_the_root() -> None:
    paths = fork().vessels(np.zeros((1, 3)))
    assert sorted(len(path) for path in paths) == [21, 31]
    assert all(path[0] == 0 for path in paths)
    assert {int(path[-1]) for path in paths} == {20, 40}


def test_a_gap_ends_the_vessel_for_the_first_error_only() -> None:
    """Of 0 to 20 mm the points 8 to 12 are missing: 4 mm between 7 and 13, seen from points with weights of 1 mm."""
    reference = straight(0, 20)
    near, far = straight(0, 7), straight(13, 20)
    found = near.joined(far, [])
    result = tree_overlap(found, reference, (0, 0, 0), tolerance_mm=0.5)
    assert result.precision == 1
    assert result.recall == pytest.approx(15 / 20)  # points 8 to 12 stand for 1 mm each
    assert result.until_first_error == pytest.approx(7.5 / 20)  # points 0 to 7, the first for half a mm
    assert result.overlap == pytest.approx((14 + 15) / (14 + 20))


def test_what_is_missing_in_the_first_5_mm_is_not_found_but_no_error() -> None:
    """As in the Rotterdam framework. Points 0 to 3 of 0 to 20 mm are missing: half a mm and three whole ones."""
    later = tree_overlap(straight(4, 20), straight(0, 20), (0, 0, 0), 0.5)
    assert later.until_first_error == pytest.approx(16.5 / 20)
    # From point 6 on a missing point is the first error; before it 2 to 5 were found.
    gap = straight(2, 5).joined(straight(9, 20), [])
    assert tree_overlap(gap, straight(0, 20), (0, 0, 0), 0.5).until_first_error == pytest.approx(4 / 20)


def test_the_direction_of_a_vessel_follows_from_the_root() -> None:
    half = straight(0, 10)
    assert tree_overlap(half, straight(0, 20), (0, 0, 0), 0.5).until_first_error == pytest.approx(10.5 / 20)
    assert tree_overlap(half, straight(0, 20), (20, 0, 0), 0.5).until_first_error == 0


def test_without_a_root_a_tree_begins_at_its_thickest_end() -> None:
    reference = straight(0, 20).with_radius(np.linspace(1.0, 2.0, 21))
    nowhere = np.zeros((0, 3))
    assert tree_overlap(straight(10, 20), reference, nowhere, 0.5).until_first_error == pytest.approx(10.5 / 20)
    assert tree_overlap(straight(0, 10), reference, nowhere, 0.5).until_first_error == 0


def test_a_false_branch_lowers_the_precision_alone() -> None:
    result = tree_overlap(fork(), straight(0, 10, 1.0), (0, 0, 0), 0.5)
    assert result.recall == 1 and result.until_first_error == 1
    assert result.precision == pytest.approx((9.5 + 1.5) / 40)  # the fork itself stands for half of three edges


def test_only_vessels_from_one_and_a_half_mm_count_in_the_relevant_overlap() -> None:
    points = straight(0, 20)
    radius = np.where(np.arange(21) < 11, 1.0, 0.5)
    reference = points.with_radius(radius)
    assert tree_overlap(straight(0, 10), reference, (0, 0, 0)).relevant_overlap == 1
    assert tree_overlap(straight(0, 10), reference, (0, 0, 0)).recall == pytest.approx(10.5 / 20)


def test_the_tolerance_is_the_radius_of_the_reference() -> None:
    beside = straight(0, 20, y=1.0)
    assert tree_overlap(beside, straight(0, 20, radius_mm=1.1), (0, 0, 0)).overlap == 1
    assert tree_overlap(beside, straight(0, 20, radius_mm=0.9), (0, 0, 0)).overlap == 0


def test_empty_forests() -> None:
    empty = chain(np.zeros((0, 3)), np.zeros(0))
    assert tree_overlap(empty, empty, (0, 0, 0)).overlap == 1
    assert tree_overlap(empty, straight(0, 5), (0, 0, 0)).overlap == 0
    assert tree_overlap(straight(0, 5), empty, (0, 0, 0)).precision == 0
    assert empty.vessels(np.zeros((1, 3))) == []
