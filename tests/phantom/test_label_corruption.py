"""Each corruption makes the error of its name, with the given strength, and no other."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.metrics.surface import assd
from heartmend.metrics.topology import components
from heartmend.phantom.cohort import PhantomCase
from heartmend.phantom.label_corruption import (
    CorruptionRecipe,
    bias,
    corrupt,
    hole,
    label_swap,
    leak,
    missing_end,
    missing_slices,
    rough_structure,
    rough_surfaces,
    slice_shift,
    slice_staircase,
    small_component,
    speckle,
    vessel_gap,
)
from heartmend.phantom.plan import Label

SPACING = np.array([1.0, 1.0, 1.0])
CLEAN = CorruptionRecipe(
    rough_surfaces_chance=0, rough_structure_chance=0, bias_chance=0, slice_staircase_chance=0, coarse_grid_chance=0,
    small_components=0, holes=0, leaks=0, label_swaps=0, vessel_gap_chance=0, coronary_gaps=0, coronary_width_chance=0,
    coronary_end_chance=0, slice_shift_chance=0, missing_slices_chance=0, speckle_chance=0,
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


def test_an_empty_recipe_changes_nothing(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    noisy, names = corrupt(two_balls, SPACING, rng, CLEAN)
    assert names == () and noisy is not two_balls
    np.testing.assert_array_equal(noisy, two_balls)


def test_the_default_recipe_corrupts_and_lists_the_corruptions(hearts: list[PhantomCase]) -> None:
    assert sum(bool(case.corruptions) for case in hearts) >= len(hearts) - 1
    for case in hearts:
        assert bool(case.corruptions) == bool((case.noisy != case.truth).any())
    assert len({name.split("@")[0].split(":")[0] for case in hearts for name in case.corruptions}) >= 5


def test_a_corruption_does_not_change_its_input(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    original = two_balls.copy()
    for corruption in (small_component, hole, leak, label_swap):
        corruption(two_balls, SPACING, rng, 4.0)
    rough_surfaces(two_balls, SPACING, rng, 1.0, 3.0)
    rough_structure(two_balls, SPACING, rng, Label.LV, 1.0, 3.0)
    speckle(two_balls, rng, 0.05)
    np.testing.assert_array_equal(two_balls, original)


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


def test_a_slice_staircase_repeats_slices_along_one_axis(two_balls: np.ndarray) -> None:
    noisy = slice_staircase(two_balls, SPACING, [0, 0, 4.0])
    for first in range(0, 40, 4):
        assert (noisy[:, :, first : first + 4] == noisy[:, :, first : first + 1]).all()
    np.testing.assert_array_equal(slice_staircase(noisy, SPACING, [0, 0, 4.0]), noisy)
    np.testing.assert_array_equal(slice_staircase(two_balls, SPACING, [0.5, 0, 1.0]), two_balls)


def test_small_components_are_added_to_the_background(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    noisy = two_balls
    for _ in range(6):
        noisy = small_component(noisy, SPACING, rng, 2.5)
    changed = noisy != two_balls
    assert changed.any() and (two_balls[changed] == 0).all()
    assert components(noisy > 0) > 1


def test_holes_only_remove_labels(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    noisy = hole(two_balls, SPACING, rng, 3.0)
    changed = noisy != two_balls
    assert 20 < changed.sum() < 400 and (noisy[changed] == 0).all()


def test_a_leak_crosses_the_boundary_of_neighbours(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    noisy = leak(two_balls, SPACING, rng, 4.0)
    assert ((noisy != two_balls) & (two_balls > 0) & (noisy > 0)).any()


def test_a_label_swap_relabels_a_patch(two_balls: np.ndarray) -> None:
    patched = [label_swap(two_balls, SPACING, np.random.default_rng(seed), 5.0) for seed in range(8)]
    changed = [noisy != two_balls for noisy in patched]
    assert any(where.any() for where in changed)
    assert all(
        (two_balls[where] > 0).all() and (noisy[where] > 0).all() for noisy, where in zip(patched, changed, strict=True)
    )


def test_a_gap_divides_a_vessel_and_a_missing_end_does_not(tube: np.ndarray) -> None:
    parts = [
        components(vessel_gap(tube, SPACING, np.random.default_rng(seed), Label.CORONARY, 6.0) > 0) for seed in range(8)
    ]
    assert max(parts) == 2
    lost = missing_end(tube, SPACING, np.random.default_rng(0), Label.CORONARY, 15.0)
    left = np.flatnonzero(lost.any(axis=(1, 2)))
    assert components(lost > 0) == 1 and 45 <= len(left) <= 62


def test_slices_are_shifted_or_missing(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    shifted = slice_shift(two_balls, SPACING, rng, 3.0)
    assert (shifted > 0).sum() == (two_balls > 0).sum()
    assert 1 <= (shifted != two_balls).any(axis=(0, 1)).sum() <= 14
    dropped = missing_slices(two_balls, rng)
    assert 1 <= ((dropped != two_balls).any(axis=(0, 1))).sum() <= 3


def test_speckle_is_sparse(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    share = (speckle(two_balls, rng, 0.02) != two_balls).mean()
    assert 0 < share < 0.02


def test_an_empty_map_stays_empty(rng: np.random.Generator) -> None:
    empty = np.zeros((16, 16, 16), np.uint8)
    noisy, _ = corrupt(empty, SPACING, rng)
    assert not noisy.any()
