"""When a mended mask is taken."""

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


def test_the_same_is_kept() -> None:
    verdict = check_acceptance(block(), block(), HEART.by_name("LA"), UNIT)
    assert (verdict.accepted, verdict.volume_ratio, verdict.surface_mm) == (True, 1.0, 0.0)


def test_to_remove_an_island_is_no_harm() -> None:
    noisy = block()
    noisy[42:48, 42:48, 42:48] = True
    assert check_acceptance(noisy, block(), HEART.by_name("LA"), UNIT).surface_mm == 0.0


def test_to_lose_a_third_is_harm() -> None:
    less = block()
    less[5:12] = False
    verdict = check_acceptance(block(), less, HEART.by_name("LA"), UNIT)
    assert not verdict.accepted
    assert verdict.volume_ratio == pytest.approx(0.65)
    assert "volume ratio 0.65" in verdict.reason


def test_to_lie_elsewhere_is_harm_by_the_files_spacing() -> None:
    moved = np.roll(block(), 4, 0)
    assert check_acceptance(block(), moved, HEART.by_name("LA"), UNIT).accepted
    verdict = check_acceptance(block(), moved, HEART.by_name("LA"), (2.0, 1.0, 1.0))
    assert not verdict.accepted and "surface moved by 8.0 mm (HD95), more than 6 mm" in verdict.reason


@pytest.mark.parametrize(
    ("before", "after", "keep"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_absent_stays_absent_and_present_present(before: int, after: int, keep: bool) -> None:
    verdict = check_acceptance(block() & bool(before), block() & bool(after), HEART.by_name("LA"), UNIT)
    assert verdict.accepted is keep
    assert verdict.volume_ratio is None


def test_every_piece_of_a_broken_vessel_counts() -> None:
    tree = np.zeros((60, 10, 10), dtype=bool)
    tree[:40, 4:7, 4:7] = tree[44:48, 4:7, 4:7] = tree[55, 1, 1] = True
    assert without_negligible_components(tree, HEART.by_name("Coronary"), UNIT).sum() == tree.sum() - 1
    assert without_negligible_components(tree, HEART.by_name("PV"), UNIT).sum() == 360
