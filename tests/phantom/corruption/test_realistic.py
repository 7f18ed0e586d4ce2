"""The noise model of a network: its statistics, and what the cases of a data set share."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.geometry.components import count_components
from heartmend.phantom.cohort import PhantomSettings, make_case, make_cohort
from heartmend.phantom.corruption.realistic import (
    RealisticRecipe,
    Tendency,
    _draw,
    corrupt_as_network,
    draw_tendency,
    network_grid,
)
from heartmend.phantom.plan import Label

SPACING = np.array([1.0, 1.0, 1.0])


def names(seed: int, tendency: Tendency) -> list[str]:
    return [name for name, _ in _draw(RealisticRecipe(), np.random.default_rng(seed), SPACING, tendency)]


def test_the_rv_has_as_many_components_as_in_the_data_set() -> None:
    tendency = draw_tendency(np.random.default_rng(0))
    extra = np.array([sum(name.startswith("component:RV@") for name in names(seed, tendency)) for seed in range(4000)])
    # 998 cases: 1.16 components on average, more than one in 5 % of the cases; 2.6 standard errors of 4,000.
    assert 1 + extra.mean() == pytest.approx(1.16, abs=0.03)
    assert (extra > 0).mean() == pytest.approx(0.05, abs=0.009)


def test_what_all_cases_share_is_drawn_by_the_seed_of_the_cohort() -> None:
    settings = PhantomSettings(spacing_mm=4.0, vary_grid=False, images=False)
    widths = [
        next(name for name in make_case(index, seed, settings).corruptions if name.startswith("coronary_width"))
        for seed, index in ((1, 0), (1, 1), (2, 0))
    ]
    assert widths[0] == widths[1] != widths[2]
    rng = [np.random.default_rng(seed) for seed in (3, 3, 4)]
    first, again, other = (draw_tendency(one) for one in rng)
    assert first == again != other


def test_a_case_is_in_one_piece_but_for_additional_components() -> None:
    for case in make_cohort(3, 21, PhantomSettings(spacing_mm=2.0, vary_grid=False, images=False)):
        assert "network_grid@1.5mm" in case.corruptions
        assert (case.noisy != case.truth).any()
        extra = sum(name.startswith("component:RV") for name in case.corruptions)
        assert count_components(case.noisy == Label.RV) <= count_components(case.truth == Label.RV) + extra


def test_a_coarse_grid_has_steps_and_leaves_the_coronaries(two_balls: np.ndarray, tube: np.ndarray) -> None:
    noisy = network_grid(two_balls, np.array([0.5, 0.5, 0.5]), 1.5)
    for axis in range(3):
        blocks = np.moveaxis(noisy, axis, 0)
        assert np.array_equal(blocks[0:36:3], blocks[2:38:3])
    assert (noisy != two_balls).any()
    np.testing.assert_array_equal(network_grid(two_balls, np.full(3, 1.6), 1.5), two_balls)
    np.testing.assert_array_equal(network_grid(tube, np.full(3, 0.5), 1.5), tube)


def test_an_empty_map_stays_empty(rng: np.random.Generator) -> None:
    tendency = draw_tendency(rng)
    noisy, _ = corrupt_as_network(np.zeros((16, 16, 16), np.uint8), SPACING, rng, tendency)
    assert not noisy.any()
