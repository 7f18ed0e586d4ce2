"""Tests of the location of edges in profiles whose edges are known."""

import numpy as np
import pytest
from scipy.special import ndtr

from heartmend.repair.shared_errors.edges import fit_blur_mm, nearest_steps, refine_offsets_mm
from heartmend.repair.shared_errors.measurement import DEPTHS_MM

BLUR_MM = 0.75
THICK = np.full(1, 6.0, np.float32)
EITHER = np.zeros(1, np.int8)


def profile(*levels: float, at: tuple[float, ...]) -> np.ndarray:
    """Levels from inside to outside, with blurred steps at the given depths."""
    values = np.full(len(DEPTHS_MM), levels[0], np.float64)
    for before, after, depth in zip(levels, levels[1:], at, strict=False):
        values += (after - before) * ndtr((DEPTHS_MM - depth) / BLUR_MM)
    return values[None].astype(np.float32)


def offset(values: np.ndarray, sign: int = 0, thickness_mm: float = 6.0) -> float:
    steps = nearest_steps(values, np.full(len(values), sign, np.int8))
    thickness = np.full(len(values), thickness_mm, np.float32)
    return float(refine_offsets_mm(values, steps, thickness, BLUR_MM)[0])


@pytest.mark.parametrize("depth", [-2.4, -1.0, -0.3, 0.0, 0.7, 1.9, 3.0])
@pytest.mark.parametrize("levels", [(400, -95), (110, 350)])
def test_a_single_step_is_found_where_it_is(depth: float, levels: tuple[float, float]) -> None:
    assert offset(profile(*levels, at=(depth,))) == pytest.approx(depth, abs=0.1)


@pytest.mark.parametrize("depth", [-1.0, 0.0, 1.0])
def test_a_thin_wall_behind_the_edge_does_not_move_it(depth: float) -> None:
    # Blood, 1.6 mm of wall, fat: the steepest place lies between the two steps.
    values = profile(350, 90, -95, at=(depth, depth + 1.6))
    steps = nearest_steps(values, EITHER)
    assert steps.offsets_mm[0] - depth > 0.15
    assert offset(values) == pytest.approx(depth, abs=0.15)


def test_a_flat_profile_has_no_edge() -> None:
    assert np.isnan(offset(profile(350, 330, at=(0.0,))))


def test_a_step_of_the_wrong_sign_does_not_count() -> None:
    # Behind a gap the neighbour is brighter: that edge is the neighbour's.
    values = profile(350, 100, 400, at=(0.0, 1.5))
    assert offset(values, sign=-1) == pytest.approx(0.0, abs=0.3)
    assert offset(profile(100, 400, at=(1.0,)), sign=1) == pytest.approx(1.0, abs=0.1)
    assert np.isnan(offset(profile(100, 400, at=(1.0,)), sign=-1))


def test_of_two_edges_the_nearer_one_counts() -> None:
    assert offset(profile(350, 110, 350, at=(-3.2, 0.5))) == pytest.approx(0.5, abs=0.3)


def test_beyond_the_reach_there_is_no_edge() -> None:
    assert np.isnan(offset(profile(350, -95, at=(5.0,))))


def test_the_blur_is_that_of_the_steepest_borders() -> None:
    rng = np.random.default_rng(0)
    sharp = [profile(400, 110, at=(depth,)) for depth in rng.uniform(-1, 1, 40)]
    walls = [profile(350, 90, -95, at=(depth, depth + 1.6)) for depth in rng.uniform(-1, 1, 60)]
    values = np.concatenate([*sharp, *walls])
    steps = nearest_steps(values, np.zeros(len(values), np.int8))
    borders = np.array([0] * 40 + [1] * 60)
    assert fit_blur_mm(values, steps, borders) == pytest.approx(BLUR_MM, abs=0.051)


def test_without_any_edge_the_blur_is_the_smallest() -> None:
    flat = profile(0, 0, at=(0.0,))
    assert fit_blur_mm(flat, nearest_steps(flat, EITHER), np.zeros(1, int)) == pytest.approx(0.4)


def test_a_thin_structure_is_fitted_on_its_own_side_of_the_middle() -> None:
    # A vessel of 4 mm between fat: the step into the vessel at -4 is not the edge at 0.
    values = profile(-95, 350, -95, at=(-4.0, 0.0))
    assert offset(values, sign=-1, thickness_mm=2.0) == pytest.approx(0.0, abs=0.15)
