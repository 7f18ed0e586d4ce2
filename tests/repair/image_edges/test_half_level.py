"""Vessels that are too narrow or too wide all around, in a blurred CT."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from heartmend.metrics.overlap import dice
from heartmend.repair.image_edges.half_level import move_to_half_level
from heartmend.types import Labels

MM = (0.8, 0.8, 0.8)
SHAPE = (40, 40, 40)
VEIN, ATRIUM = 10, 2
RADIUS_MM = 4.0


def vein(radius_mm: float = RADIUS_MM) -> Labels:
    """A vein along the first axis, and an atrium at its end."""
    _, y, z = np.indices(SHAPE)
    labels = np.where(np.hypot(y - 19.5, z - 19.5) * MM[0] < radius_mm, VEIN, 0).astype(np.uint8)
    labels[28:] = 0
    labels[28:, 8:32, 8:32] = ATRIUM
    return labels


def ct(contrast: float = 400.0) -> np.ndarray:
    blurred = gaussian_filter((vein() > 0).astype(float), 0.8 / MM[0])
    return contrast * blurred - 90 + np.random.default_rng(0).normal(0, 20, SHAPE)


@pytest.mark.parametrize("error_mm", [-1.0, -0.5, 0.6, 1.0])
def test_a_vein_of_a_wrong_width_gets_the_right_one(error_mm: float) -> None:
    labels, truth = vein(RADIUS_MM + error_mm), vein()
    moved = move_to_half_level(labels, ct(), MM, [VEIN])
    before, after = (dice(one == VEIN, truth == VEIN) for one in (labels, moved))
    assert after > 0.95 and after > before
    assert np.count_nonzero(moved == VEIN) == pytest.approx(np.count_nonzero(truth == VEIN), rel=0.07)
    assert np.array_equal(moved == ATRIUM, labels == ATRIUM), "borders with other structures stay"


def test_a_right_vein_stays_about_as_it_is() -> None:
    assert dice(move_to_half_level(vein(), ct(), MM, [VEIN]) == VEIN, vein() == VEIN) > 0.97


def test_nothing_moves_without_contrast_or_for_other_structures() -> None:
    labels = vein(3.0)
    assert np.array_equal(move_to_half_level(labels, ct(50.0), MM, [VEIN]), labels)
    assert np.array_equal(move_to_half_level(labels, ct(), MM, []), labels)
    assert np.array_equal(move_to_half_level(labels, ct(), MM, [7]), labels)
