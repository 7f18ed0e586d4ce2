"""Staircases, shifted and missing slices."""

from __future__ import annotations

import numpy as np

from heartmend.phantom.corruption.slices import missing_slices, slice_shift, slice_staircase

SPACING = np.array([1.0, 1.0, 1.0])


def test_a_slice_staircase_repeats_slices_along_one_axis(two_balls: np.ndarray) -> None:
    noisy = slice_staircase(two_balls, SPACING, [0, 0, 4.0])
    for first in range(0, 40, 4):
        assert (noisy[:, :, first : first + 4] == noisy[:, :, first : first + 1]).all()
    np.testing.assert_array_equal(slice_staircase(noisy, SPACING, [0, 0, 4.0]), noisy)
    np.testing.assert_array_equal(slice_staircase(two_balls, SPACING, [0.5, 0, 1.0]), two_balls)


def test_slices_are_shifted_or_missing(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    shifted = slice_shift(two_balls, SPACING, rng, 3.0)
    assert (shifted > 0).sum() == (two_balls > 0).sum()
    assert 1 <= (shifted != two_balls).any(axis=(0, 1)).sum() <= 14
    dropped = missing_slices(two_balls, rng)
    assert 1 <= ((dropped != two_balls).any(axis=(0, 1))).sum() <= 3
