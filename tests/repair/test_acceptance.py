"""Repaired masks that are accepted and masks that are rejected."""

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.repair.acceptance import check_acceptance, without_negligible_components

HEART = load_anatomy("heart")
UNIT = (1.0, 1.0, 1.0)


def block(size: int = 20, at: int = 5) -> np.ndarray:
    mask = np.zeros((50, 50, 50), dtype=bool)
    mask[at : at + size, at : at + size, at : at + size] = True
    return mask


def test_an_unchanged_mask_is_accepted() -> None:
    verdict = check_acceptance(block(), block(), HEART.by_name("LA"), UNIT)
    assert (verdict.accepted, verdict.volume_ratio, verdict.surface_mm) == (True, 1.0, 0.0)


def test_the_removal_of_a_small_component_does_not_count() -> None:
    noisy = block()
    noisy[42:48, 42:48, 42:48] = True
    assert check_acceptance(noisy, block(), HEART.by_name("LA"), UNIT).surface_mm == 0.0


def test_a_mask_that_lost_a_third_of_its_volume_is_rejected() -> None:
    smaller = block()
    smaller[5:12] = False
    verdict = check_acceptance(block(), smaller, HEART.by_name("LA"), UNIT)
    assert not verdict.accepted
    assert verdict.volume_ratio == pytest.approx(0.65)
    assert "volume ratio 0.65" in verdict.reason


def test_the_surface_distance_is_measured_in_mm() -> None:
    shifted = np.roll(block(), 4, 0)
    assert check_acceptance(block(), shifted, HEART.by_name("LA"), UNIT).accepted
    verdict = check_acceptance(block(), shifted, HEART.by_name("LA"), (2.0, 1.0, 1.0))
    assert not verdict.accepted
    assert "surface moved by 8.0 mm (HD95), more than 6 mm" in verdict.reason


def test_the_volume_about_both_masks_makes_no_difference() -> None:
    before, after, lv = block(), block(16, at=7), HEART.by_name("LV")
    padded = (np.pad(mask, ((30, 1), (0, 9), (4, 4))) for mask in (before, after))
    assert check_acceptance(*padded, lv, UNIT) == check_acceptance(before, after, lv, UNIT)


@pytest.mark.parametrize(
    ("before", "after", "accepted"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_an_absent_structure_must_stay_absent_and_a_present_one_present(
    before: int, after: int, accepted: bool
) -> None:
    verdict = check_acceptance(block() & bool(before), block() & bool(after), HEART.by_name("LA"), UNIT)
    assert verdict.accepted is accepted
    assert verdict.volume_ratio is None


def test_every_segment_of_an_interrupted_vessel_counts() -> None:
    tree = np.zeros((60, 10, 10), dtype=bool)
    tree[:40, 4:7, 4:7] = tree[44:48, 4:7, 4:7] = tree[55, 1, 1] = True
    assert without_negligible_components(tree, HEART.by_name("Coronary"), UNIT).sum() == tree.sum() - 1
    assert without_negligible_components(tree, HEART.by_name("PV"), UNIT).sum() == 360
