"""Borders of slabs whose distances are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartmend.geometry.distance import DistanceMap
from heartmend.repair.image_edges.borders import borders

SHAPE = (20, 16, 12)


def slabs(first: float, second: float) -> dict[int, DistanceMap]:
    """Structure 3 from the start of the first axis to `first`, 5 from `second` to voxel 15; steps of 0.5 mm."""
    x = np.arange(SHAPE[0])[:, None, None] + np.zeros(SHAPE)
    three, five = first - x, np.minimum(x - second, 15 - x)
    return {
        id: DistanceMap(np.clip(np.rint(2 * field), -127, 127).astype(np.int8), 0.5)
        for id, field in ((3, three), (5, five))
    }


def test_touching_structures_share_a_border_with_depths_on_both_sides() -> None:
    found = {(b.low, b.high): b for b in borders(slabs(7.5, 7.5), 2.0)}
    assert set(found) == {(3, 5), (0, 5)}
    shared = found[3, 5]
    x = np.unravel_index(shared.voxels, SHAPE)[0]
    assert set(x) == {6, 7, 8, 9}
    np.testing.assert_allclose(shared.depth_mm, x - 7.5)
    outer = found[0, 5]
    x = np.unravel_index(outer.voxels, SHAPE)[0]
    assert set(x) == {14, 15, 16}
    np.testing.assert_allclose(outer.depth_mm, 15.0 - x)


def test_structures_with_a_gap_border_on_the_background() -> None:
    found = {(b.low, b.high) for b in borders(slabs(4.5, 10.5), 1.0)}
    assert found == {(0, 3), (0, 5)}


@given(st.floats(3, 8), st.floats(3, 12), st.floats(1.1, 3))
def test_a_voxel_belongs_to_one_border_within_reach(first: float, second: float, reach_mm: float) -> None:
    found = borders(slabs(first, second), reach_mm)
    voxels = np.concatenate([border.voxels for border in found])
    assert len(np.unique(voxels)) == len(voxels)
    assert all(np.abs(border.depth_mm).max() < reach_mm for border in found)
    assert all(border.low < border.high for border in found)


def test_a_border_of_few_voxels_is_ignored() -> None:
    steps = np.full(SHAPE, -20, np.int8)
    steps[10, 8, 6] = 1
    assert borders({3: DistanceMap(steps, 0.5)}, 1.0) == []


@pytest.mark.parametrize("order", [(3, 5), (5, 3)])
def test_the_order_of_the_structures_does_not_matter(order: tuple[int, int]) -> None:
    maps = slabs(7.0, 8.0)
    one = borders({id: maps[id] for id in order}, 2.0)
    two = borders(maps, 2.0)
    for a, b in zip(one, two, strict=True):
        assert (a.low, a.high) == (b.low, b.high)
        np.testing.assert_array_equal(np.sort(a.voxels), np.sort(b.voxels))
