"""Each fault does what its name says, as strong as it is told, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.metrics.surface import assd
from heartmend.metrics.topology import components
from heartmend.phantom.cohort import PhantomCase
from heartmend.phantom.label_corruption import (
    Recipe,
    bias,
    corrupt,
    cut,
    drop_slices,
    hole,
    leak,
    lose_end,
    ragged,
    rough,
    shift_slices,
    small_component,
    speckle,
    staircases,
    swap,
)
from heartmend.phantom.plan import Label

SPACING = np.array([1.0, 1.0, 1.0])
CLEAN = Recipe(
    rough_chance=0, ragged_chance=0, bias_chance=0, stairs_chance=0, coarse_chance=0, small_components=0, holes=0, leaks=0,
    swaps=0, cut_vessel_chance=0, coronary_gaps=0, coronary_width_chance=0, coronary_end_chance=0,
    slice_shift_chance=0, slice_drop_chance=0, salt_chance=0,
)  # fmt: skip


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(8)


@pytest.fixture
def two_balls() -> np.ndarray:
    """An LV of radius 12 that touches an LA of radius 10, at 1 mm."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (64, 40, 40)), indexing="ij"), axis=-1)
    labels = np.zeros(grid.shape[:3], np.uint8)
    labels[np.linalg.norm(grid - [44, 20, 20], axis=-1) < 10] = Label.LA
    labels[np.linalg.norm(grid - [22, 20, 20], axis=-1) < 12.5] = Label.LV
    return labels


@pytest.fixture
def tube() -> np.ndarray:
    labels = np.zeros((80, 20, 20), np.uint8)
    labels[5:75, 9:12, 9:12] = Label.CORONARY
    return labels


def test_a_recipe_of_nothing_changes_nothing(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    noisy, modes = corrupt(two_balls, SPACING, rng, CLEAN)
    assert modes == () and noisy is not two_balls
    np.testing.assert_array_equal(noisy, two_balls)


def test_the_default_recipe_spoils_and_says_so(hearts: list[PhantomCase]) -> None:
    assert sum(bool(case.modes) for case in hearts) >= len(hearts) - 1
    for case in hearts:
        assert bool(case.modes) == bool((case.noisy != case.truth).any())
    assert len({mode.split("@")[0].split(":")[0] for case in hearts for mode in case.modes}) >= 5


def test_a_fault_leaves_its_input_alone(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    kept = two_balls.copy()
    for fault in (small_component, hole, leak, swap):
        fault(two_balls, SPACING, rng, 4.0)
    rough(two_balls, SPACING, rng, 1.0, 3.0)
    ragged(two_balls, SPACING, rng, Label.LV, 1.0, 3.0)
    speckle(two_balls, rng, 0.05)
    np.testing.assert_array_equal(two_balls, kept)


@pytest.mark.parametrize("size_mm", [0.5, 1.0, 1.5])
def test_rough_surfaces_move_about_as_far_as_told(
    two_balls: np.ndarray, rng: np.random.Generator, size_mm: float
) -> None:
    noisy = rough(two_balls, SPACING, rng, size_mm, 4.0)
    moved = assd(noisy == Label.LV, two_balls == Label.LV, SPACING)
    assert 0.2 * size_mm < moved < 1.3 * size_mm
    assert set(np.unique(noisy)) == set(np.unique(two_balls))


def test_ragged_touches_one_structure_and_takes_nothing_from_others(
    two_balls: np.ndarray, rng: np.random.Generator
) -> None:
    noisy = ragged(two_balls, SPACING, rng, Label.LV, 1.0, 3.0)
    np.testing.assert_array_equal(noisy == Label.LA, two_balls == Label.LA)
    assert ((noisy == Label.LV) & (two_balls == 0)).any() and ((noisy == 0) & (two_balls == Label.LV)).any()


def test_bias_grows_or_shrinks(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    volume = (two_balls == Label.LA).sum()
    assert (bias(two_balls, SPACING, rng, Label.LA, 0.9) == Label.LA).sum() > 1.05 * volume
    assert (bias(two_balls, SPACING, rng, Label.LA, -0.9) == Label.LA).sum() < 0.95 * volume


def test_stairs_repeat_along_one_axis_only(two_balls: np.ndarray) -> None:
    noisy = staircases(two_balls, SPACING, [0, 0, 4.0])
    for first in range(0, 40, 4):
        assert (noisy[:, :, first : first + 4] == noisy[:, :, first : first + 1]).all()
    np.testing.assert_array_equal(staircases(noisy, SPACING, [0, 0, 4.0]), noisy)
    np.testing.assert_array_equal(staircases(two_balls, SPACING, [0.5, 0, 1.0]), two_balls)


def test_crumbs_are_added_in_the_background(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    noisy = two_balls
    for _ in range(6):
        noisy = small_component(noisy, SPACING, rng, 2.5)
    changed = noisy != two_balls
    assert changed.any() and (two_balls[changed] == 0).all()
    assert components(noisy > 0) > 1


def test_holes_only_take_away(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    noisy = hole(two_balls, SPACING, rng, 3.0)
    changed = noisy != two_balls
    assert 20 < changed.sum() < 400 and (noisy[changed] == 0).all()


def test_a_leak_crosses_the_border_of_neighbours(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    noisy = leak(two_balls, SPACING, rng, 4.0)
    assert ((noisy != two_balls) & (two_balls > 0) & (noisy > 0)).any()


def test_a_swap_renames_a_patch(two_balls: np.ndarray) -> None:
    renamed = [swap(two_balls, SPACING, np.random.default_rng(seed), 5.0) for seed in range(8)]
    changed = [noisy != two_balls for noisy in renamed]
    assert any(where.any() for where in changed)
    assert all(
        (two_balls[where] > 0).all() and (noisy[where] > 0).all() for noisy, where in zip(renamed, changed, strict=True)
    )


def test_a_cut_parts_a_vessel_and_an_end_is_lost_from_an_end(tube: np.ndarray) -> None:
    parts = [components(cut(tube, SPACING, np.random.default_rng(seed), Label.CORONARY, 6.0) > 0) for seed in range(8)]
    assert max(parts) == 2
    lost = lose_end(tube, SPACING, np.random.default_rng(0), Label.CORONARY, 15.0)
    left = np.flatnonzero(lost.any(axis=(1, 2)))
    assert components(lost > 0) == 1 and 45 <= len(left) <= 62


def test_slices_shift_and_drop(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    shifted = shift_slices(two_balls, SPACING, rng, 3.0)
    assert (shifted > 0).sum() == (two_balls > 0).sum()
    assert 1 <= (shifted != two_balls).any(axis=(0, 1)).sum() <= 14
    dropped = drop_slices(two_balls, rng)
    assert 1 <= ((dropped != two_balls).any(axis=(0, 1))).sum() <= 3


def test_salt_is_sparse(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    share = (speckle(two_balls, rng, 0.02) != two_balls).mean()
    assert 0 < share < 0.02


def test_an_empty_map_stays_empty(rng: np.random.Generator) -> None:
    empty = np.zeros((16, 16, 16), np.uint8)
    noisy, _ = corrupt(empty, SPACING, rng)
    assert not noisy.any()
