"""Corruption of masks: its strength, its distance from the surface, and the estimate of its strength."""

import numpy as np
import pytest

from heartmend.geometry.distance import signed_distance_mm
from heartmend.repair.voxel_classifier.label_corruption import (
    REACH,
    corrupt_mask,
    estimate_strength,
    rough_voxel_ratio,
)
from support.sheets import sheet, sheets


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * int((a & b).sum()) / (int(a.sum()) + int(b.sum()))


def test_strength_0_changes_nothing_and_an_empty_mask_stays_empty() -> None:
    mask = sheet(0)
    copy = corrupt_mask(mask, 0, np.random.default_rng(0))
    assert (copy == mask).all()
    assert copy is not mask
    assert not corrupt_mask(np.zeros_like(mask), 1.5, np.random.default_rng(0)).any()


def test_a_higher_strength_gives_lower_dice_and_rougher_masks() -> None:
    found = []
    for strength in (0.2, 0.6, 1.2):
        pairs = [(mask, corrupt_mask(mask, strength, np.random.default_rng(1))) for mask in sheets(6)]
        roughness = np.mean([rough_voxel_ratio(corrupted) for _, corrupted in pairs])
        found.append([np.mean([dice(*p) for p in pairs]), -roughness])
    assert (np.diff(found, axis=0) < 0).all()
    assert 0.4 < found[-1][0] < found[0][0] < 0.99


def test_voxels_are_added_near_the_surface_only() -> None:
    mask = sheet(1, side=44)
    corrupted = corrupt_mask(mask, 1.0, np.random.default_rng(2))
    farthest = signed_distance_mm(mask, (1, 1, 1), clip_mm=30)[corrupted].min()
    # A leak of the largest radius at the surface, and flipped voxels about it.
    assert farthest > -(5.0 * 1.3 + 1 + REACH + 2)
    assert (corrupted & ~mask).any()
    assert (mask & ~corrupted).any()


def test_the_rough_voxels_of_a_cube_are_its_corners_and_edges() -> None:
    """The majority of the 27 voxels about a corner (8) or an edge (12) is outside, that about a face (18) inside.

    Of the 216 voxels of a cube of 6³, 8 corners and 48 edge voxels are rough. Of the other 160, 4³ have six neighbours,
    and so do none of the six faces of 4².
    """
    mask = np.zeros((12, 12, 12), dtype=bool)
    mask[3:9, 3:9, 3:9] = True
    assert rough_voxel_ratio(mask) == pytest.approx((8 + 48) / (160 - 64))
    assert rough_voxel_ratio(np.zeros_like(mask)) == 0


@pytest.mark.parametrize("strength", [0.4, 0.9])
def test_the_strength_of_a_corruption_is_estimated(strength: float) -> None:
    corrupted = [corrupt_mask(mask, strength, np.random.default_rng([3, at])) for at, mask in enumerate(sheets(12))]
    assert estimate_strength(corrupted, np.random.default_rng(4)) == pytest.approx(strength, rel=0.4)


def test_the_estimate_of_smooth_masks_is_near_0() -> None:
    assert estimate_strength(sheets(6), np.random.default_rng(0)) < 0.1
