"""Rough and biased surfaces have the given size."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.metrics.surface import assd
from heartmend.phantom.corruption.surfaces import bias, rough_structure, rough_surfaces
from heartmend.phantom.plan import Label

SPACING = np.array([1.0, 1.0, 1.0])


@pytest.mark.parametrize("size_mm", [0.5, 1.0, 1.5])
def test_rough_surfaces_have_about_the_given_size(
    two_balls: np.ndarray, rng: np.random.Generator, size_mm: float
) -> None:
    noisy = rough_surfaces(two_balls, SPACING, rng, size_mm, 4.0)
    moved = assd(noisy == Label.LV, two_balls == Label.LV, SPACING)
    assert 0.2 * size_mm < moved < 1.3 * size_mm
    assert set(np.unique(noisy)) == set(np.unique(two_balls))


def test_a_rough_structure_does_not_change_the_others(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    noisy = rough_structure(two_balls, SPACING, rng, Label.LV, 1.0, 3.0)
    np.testing.assert_array_equal(noisy == Label.LA, two_balls == Label.LA)
    assert ((noisy == Label.LV) & (two_balls == 0)).any() and ((noisy == 0) & (two_balls == Label.LV)).any()


def test_bias_grows_or_shrinks_a_structure(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    volume = (two_balls == Label.LA).sum()
    assert (bias(two_balls, SPACING, rng, Label.LA, 0.9) == Label.LA).sum() > 1.05 * volume
    assert (bias(two_balls, SPACING, rng, Label.LA, -0.9) == Label.LA).sum() < 0.95 * volume
