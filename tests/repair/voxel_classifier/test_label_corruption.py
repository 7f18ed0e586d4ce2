"""Spoiling: as hard as asked, near the surface alone, and as hard as labels are when it is to be like them."""

import numpy as np
import pytest

from heartmend.geometry.distance import signed_distance_mm
from heartmend.repair.voxel_classifier.label_corruption import REACH, corrupt_mask, raggedness, strength_of
from support.sheets import sheet, sheets


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * int((a & b).sum()) / (int(a.sum()) + int(b.sum()))


def test_no_strength_is_no_change_and_nothing_stays_nothing() -> None:
    mask = sheet(0)
    copy = corrupt_mask(mask, 0, np.random.default_rng(0))
    assert (copy == mask).all()
    assert copy is not mask
    assert not corrupt_mask(np.zeros_like(mask), 1.5, np.random.default_rng(0)).any()


def test_the_harder_the_worse_and_the_more_ragged() -> None:
    found = []
    for strength in (0.2, 0.6, 1.2):
        pairs = [(mask, corrupt_mask(mask, strength, np.random.default_rng(1))) for mask in sheets(6)]
        found.append([np.mean([dice(*p) for p in pairs]), -np.mean([raggedness(worse) for _, worse in pairs])])
    assert (np.diff(found, axis=0) < 0).all()
    assert 0.4 < found[-1][0] < found[0][0] < 0.99


def test_far_from_the_shape_nothing_is_added() -> None:
    mask = sheet(1, side=44)
    worse = corrupt_mask(mask, 1.0, np.random.default_rng(2))
    reach = signed_distance_mm(mask, (1, 1, 1), clip_mm=30)[worse].min()
    # A leak of the largest radius about the surface, and salt about that.
    assert reach > -(5.0 * 1.3 + 1 + REACH + 2)
    assert (worse & ~mask).any()
    assert (mask & ~worse).any()


def test_raggedness_by_hand() -> None:
    """A cube of 6³ loses its 8 corners and 12 edges of 4 to the majority; what is left has 152 - 56 + ... voxels."""
    mask = np.zeros((12, 12, 12), dtype=bool)
    mask[3:9, 3:9, 3:9] = True
    # A corner has 8 of 27 inside, an edge 12, a face 18. Left: 216 - 8 - 48 = 160, of which 4³ have all six
    # neighbours; the six faces of 4² lack one.
    assert raggedness(mask) == pytest.approx((8 + 48) / (160 - 64))
    assert raggedness(np.zeros_like(mask)) == 0


@pytest.mark.parametrize("strength", [0.4, 0.9])
def test_the_strength_of_masks_that_were_spoiled(strength: float) -> None:
    worse = [corrupt_mask(mask, strength, np.random.default_rng([3, at])) for at, mask in enumerate(sheets(12))]
    assert strength_of(worse, np.random.default_rng(4)) == pytest.approx(strength, rel=0.4)


def test_smooth_masks_are_not_spoiled() -> None:
    assert strength_of(sheets(6), np.random.default_rng(0)) < 0.1
