"""Slice staircases that are found, and smooth label maps in which none is found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.repair.slice_staircase.detection import SliceStaircase, _best_offsets, _Lattice, find_slice_staircases
from support.hearts import ellipsoid
from support.staircases import SHAPE, resampled, smooth_heart, with_staircase


def test_blocks_of_equal_length() -> None:
    assert SliceStaircase(0, 3, 0).blocks(7) == [(0, 3, 1), (3, 6, 4), (6, 7, 6)]
    assert SliceStaircase(0, 3, 1).blocks(7) == [(0, 1, 0), (1, 4, 2), (4, 7, 5)]
    assert SliceStaircase(2, 2, 0).blocks(4) == [(0, 2, 1), (2, 4, 3)]  # the later of two middle slices


def test_blocks_of_unequal_length() -> None:
    """Edges at -0.5, 2, 4.5 and 7: blocks of two, three and two slices, whose middles are 2.5 slices apart."""
    assert SliceStaircase(0, 2.5, -0.5).blocks(7) == [(0, 2, 0.75), (2, 5, 3.25), (5, 7, 5.75)]


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize(("thickness", "offset"), [(2, 1), (3, 0), (4, 2), (5, 3)])
def test_a_staircase_is_found(axis: int, thickness: int, offset: int) -> None:
    staircase = SliceStaircase(axis, thickness, offset)
    assert find_slice_staircases(with_staircase(smooth_heart(), staircase)) == (staircase,)


@pytest.mark.parametrize("thickness", [1.57, 1.72, 2.31, 2.6])
@pytest.mark.parametrize("flipped", [False, True])
def test_a_staircase_of_fractional_thickness_is_found(thickness: float, flipped: bool) -> None:
    labels = resampled(smooth_heart(), thickness, (1,))
    (staircase,) = find_slice_staircases(np.ascontiguousarray(labels[:, ::-1]) if flipped else labels)
    assert staircase.axis == 1
    assert staircase.thickness == pytest.approx(thickness, abs=0.03)


def test_a_map_from_a_coarser_grid_has_a_staircase_along_every_axis() -> None:
    found = find_slice_staircases(resampled(smooth_heart(), 2.2, (0, 1, 2)))
    assert [staircase.axis for staircase in found] == [0, 1, 2]


@pytest.mark.parametrize("radius", [8, 11.3, 15, 20, 23.5])
def test_a_smooth_ball_has_none(radius: float) -> None:
    for centre in ((24, 25, 26), (23.5, 25.2, 25.7)):
        assert find_slice_staircases(np.where(ellipsoid(SHAPE, centre, (radius,) * 3), 3, 0).astype(np.uint8)) == ()


def test_a_smooth_heart_a_rough_heart_and_an_empty_map_have_none() -> None:
    assert find_slice_staircases(smooth_heart()) == ()
    rough = smooth_heart()
    rough[np.random.default_rng(0).random(SHAPE) < 0.05] = 0
    assert find_slice_staircases(rough) == ()
    assert find_slice_staircases(np.zeros((20, 20, 20), dtype=np.uint8)) == ()


def test_thin_structures_can_be_left_out() -> None:
    staircase = SliceStaircase(0, 4, 0)
    labels = with_staircase(smooth_heart(), staircase)
    labels[5:40, 24:26, 25] = 9
    assert find_slice_staircases(labels, [3, 5]) == (staircase,)


@settings(max_examples=60)
@given(
    st.lists(st.booleans(), min_size=12, max_size=80),
    st.integers(0, 30),
    st.lists(st.floats(1.4, 8.0), min_size=1, max_size=4, unique=True),
)
def test_the_best_lattices_are_those_of_a_search_over_all_changes(large, first, thicknesses) -> None:
    """Each lattice is scored at the starts of its blocks; here it is scored at every change."""
    large, starts = np.array(large), np.arange(len(large)) + first
    lattices = np.array([(n, offset) for n in thicknesses for offset in np.arange(-0.5, n, 0.25)])
    expected = []
    for n in thicknesses:
        scored = []
        for thickness, offset in lattices[lattices[:, 0] == n].tolist():
            between = _Lattice(thickness, offset).between_blocks(starts)
            hits, misses = large[between], large[~between]
            score = hits.sum() / max(len(hits), 1) - misses.sum() / max(len(misses), 1)
            scored.append((score, thickness, offset))
        expected += [one for one in scored if one[0] == max(scored)[0]]
    np.testing.assert_array_equal(_best_offsets(large, starts, lattices), np.array(expected))
