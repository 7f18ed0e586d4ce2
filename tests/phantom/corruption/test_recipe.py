"""A recipe corrupts a case, and lists what it did."""

from __future__ import annotations

import numpy as np

from heartmend.phantom.cohort import PhantomCase
from heartmend.phantom.corruption.recipe import CorruptionRecipe, corrupt

SPACING = np.array([1.0, 1.0, 1.0])
CLEAN = CorruptionRecipe(
    rough_surfaces_chance=0, rough_structure_chance=0, bias_chance=0, slice_staircase_chance=0, coarse_grid_chance=0,
    small_components=0, holes=0, leaks=0, label_swaps=0, vessel_gap_chance=0, coronary_gaps=0, coronary_width_chance=0,
    coronary_end_chance=0, slice_shift_chance=0, missing_slices_chance=0, speckle_chance=0,
)  # fmt: skip


def test_an_empty_recipe_changes_nothing(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    noisy, names = corrupt(two_balls, SPACING, rng, CLEAN)
    assert names == () and noisy is not two_balls
    np.testing.assert_array_equal(noisy, two_balls)


def test_the_default_recipe_corrupts_and_lists_the_corruptions(hearts: list[PhantomCase]) -> None:
    assert sum(bool(case.corruptions) for case in hearts) >= len(hearts) - 1
    for case in hearts:
        assert bool(case.corruptions) == bool((case.noisy != case.truth).any())
    assert len({name.split("@")[0].split(":")[0] for case in hearts for name in case.corruptions}) >= 5


def test_an_empty_map_stays_empty(rng: np.random.Generator) -> None:
    empty = np.zeros((16, 16, 16), np.uint8)
    noisy, _ = corrupt(empty, SPACING, rng)
    assert not noisy.any()
