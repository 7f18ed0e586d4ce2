"""Calcified plaques that belong to a vessel, or do not."""

import numpy as np

from heartmend.geometry.components import count_components
from heartmend.repair.vessels.calcium import Calcium, with_calcium
from heartmend.repair.vessels.lumen_model import FittedLumen

SHAPE = (24, 24, 40)
SPACING_MM = (0.5, 0.5, 0.5)
X, Y, Z = np.indices(SHAPE)
LABEL = np.hypot(X - 12, Y - 12) < 4
NOTHING = np.zeros(SHAPE, bool)
NONE = np.zeros(0)
LUMEN = FittedLumen(
    np.zeros(SHAPE, np.float32), NONE.astype(int), NONE, NONE, np.full(SHAPE, 400, np.float32),
    np.full(SHAPE, -50, np.float32), 0.5, 20.0,
)  # fmt: skip


def scan(plaque: np.ndarray, hu: float = 900.0) -> np.ndarray:
    return np.where(plaque, hu, np.where(LABEL, 400.0, -50.0)).astype(np.float32)


def changed(label: np.ndarray, image: np.ndarray, calcium: Calcium, others: np.ndarray = NOTHING) -> np.ndarray:
    return with_calcium(label, others, image, LUMEN, SPACING_MM, calcium)


def test_a_plaque_in_the_wall_is_removed_added_or_left() -> None:
    plaque = (np.abs(X - 16) <= 1) & (np.abs(Y - 12) <= 1) & (np.abs(Z - 20) <= 2)  # half of it outside the label
    image = scan(plaque)
    np.testing.assert_array_equal(changed(LABEL, image, "included"), LABEL | plaque)
    np.testing.assert_array_equal(changed(LABEL, image, "excluded"), LABEL & ~plaque)
    assert changed(LABEL, image, "as_labelled") is LABEL


def test_the_blurred_rim_outwards_of_an_excluded_plaque_is_no_lumen() -> None:
    plaque = (np.abs(X - 14) <= 1) & (np.abs(Y - 12) <= 1) & (np.abs(Z - 20) <= 2)
    found = changed(LABEL, scan(plaque), "excluded")
    outwards = LABEL & (X == 15) & (Y == 12) & (Z == 20) | LABEL & (X > 15) & (Y == 12) & (Z == 20)
    assert not found[outwards].any()
    assert found[11, 12, 20]  # the other side stays


def test_brightness_within_the_noise_is_no_calcium() -> None:
    spot = (np.abs(X - 15) <= 1) & (np.abs(Y - 12) <= 1) & (np.abs(Z - 20) <= 1)
    assert (changed(LABEL, scan(spot, hu=400 + 120), "excluded") == LABEL).all()
    assert (changed(LABEL, scan(spot, hu=400 + 140), "excluded") != LABEL).any()


def test_a_plaque_that_fills_the_vessel_does_not_interrupt_it() -> None:
    block = LABEL & (np.abs(Z - 20) <= 3)
    wall = (np.abs(X - 16) <= 1) & (np.abs(Y - 12) <= 1) & (np.abs(Z - 32) <= 1)
    found = changed(LABEL, scan(block | wall), "excluded")
    assert count_components(found) == 1 and found[block].all()
    assert not found[wall].any()  # the other plaque is removed all the same


def test_other_structures_and_large_objects_are_no_plaques() -> None:
    plaque = (np.abs(X - 17) <= 1) & (np.abs(Y - 12) <= 1) & (np.abs(Z - 20) <= 2)
    assert (changed(LABEL, scan(plaque), "included", others=plaque & ~LABEL) == LABEL).all()
    slab = (X > 15) & ~LABEL
    assert np.count_nonzero(slab) * 0.125 > 500
    beyond = scan(slab)
    assert np.count_nonzero(changed(LABEL, beyond, "included") & ~LABEL) < 0.3 * np.count_nonzero(slab)
