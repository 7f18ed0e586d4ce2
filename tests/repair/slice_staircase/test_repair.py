"""The method follows the number of axes with a staircase."""

import numpy as np

from heartmend.repair.slice_staircase.coarse_grid import without_coarse_grid
from heartmend.repair.slice_staircase.detection import SliceStaircase, find_slice_staircases
from heartmend.repair.slice_staircase.interpolation import without_slice_staircase
from heartmend.repair.slice_staircase.repair import without_slice_staircases
from support.staircases import resampled, smooth_heart, with_staircase

UNIT = (1, 1, 1)
IDS = (3, 5)


def test_none_changes_nothing() -> None:
    labels = smooth_heart()
    assert (without_slice_staircases(labels, (), UNIT, IDS) == labels).all()


def test_one_is_interpolated_between_its_slices() -> None:
    staircase = SliceStaircase(1, 3, 0)
    labels = with_staircase(smooth_heart(), staircase)
    expected = without_slice_staircase(labels, staircase, UNIT, IDS)
    assert (without_slice_staircases(labels, [staircase], UNIT, IDS) == expected).all()


def test_several_are_interpolated_at_once() -> None:
    labels = resampled(smooth_heart(), 2.2, (0, 1, 2))
    staircases = find_slice_staircases(labels)
    assert np.array_equal(
        without_slice_staircases(labels, staircases, UNIT, IDS), without_coarse_grid(labels, staircases, UNIT, IDS)
    )
