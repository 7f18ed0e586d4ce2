"""Tests of the width of a vessel label against the lumen in the CT."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from heartmend.geometry.distance import signed_distance_mm
from heartmend.repair.vessels.lumen_width import lumen_shift_mm, measure_lumen

SPACING_MM = (0.6, 0.6, 0.6)
SHAPE = (48, 48, 110)


def centre_distance_mm() -> np.ndarray:
    """Distance of each voxel from a slightly bent line along z."""
    x, y, z = np.indices(SHAPE) * 0.6
    return np.hypot(x - 14 - 1.5 * np.sin(z / 12), y - 14)


def radius_mm(mean_mm: float) -> np.ndarray:
    """Radius at each voxel of a vessel that tapers by 0.6 mm to each side of its mean."""
    return mean_mm + 0.6 - 1.2 * np.indices(SHAPE)[2] / SHAPE[2]


def scan(mean_mm: float, blur_mm: float = 0.6) -> np.ndarray:
    """CT of a vessel of 400 HU, with fat on one side and muscle on the other, and noise."""
    rng = np.random.default_rng(3)
    hu = np.where(np.indices(SHAPE)[0] * 0.6 < 14, -90.0, 110.0)
    share = np.clip((radius_mm(mean_mm) - centre_distance_mm()) / 0.6 + 0.5, 0, 1)
    hu = share * 400 + (1 - share) * hu
    return gaussian_filter(hu, blur_mm / 0.6) + rng.normal(0, 20, SHAPE)


def label(mean_mm: float) -> np.ndarray:
    return centre_distance_mm() < radius_mm(mean_mm)


@pytest.mark.parametrize("true_mm", [1.4, 1.8])
@pytest.mark.parametrize("error_mm", [-0.4, 0.0, 0.8])
def test_the_radius_of_the_lumen_is_measured(true_mm: float, error_mm: float) -> None:
    mask = label(true_mm + error_mm)
    found = measure_lumen(mask, mask.astype(np.uint8), scan(true_mm), SPACING_MM)
    assert found is not None
    assert found.offset_mm == pytest.approx(-error_mm, abs=0.15)
    assert found.level_hu == pytest.approx(400, abs=40)


def test_the_moved_label_has_the_volume_of_the_lumen() -> None:
    mask = label(2.2)
    shift = lumen_shift_mm(mask, mask.astype(np.uint8), scan(1.5), SPACING_MM)
    assert shift is not None
    moved = signed_distance_mm(mask, SPACING_MM) + shift > 0
    assert np.count_nonzero(moved) == pytest.approx(np.count_nonzero(label(1.5)), rel=0.12)


def test_a_sound_label_does_not_move() -> None:
    mask = label(1.5)
    assert lumen_shift_mm(mask, mask.astype(np.uint8), scan(1.5), SPACING_MM) == 0.0


def test_calcium_does_not_widen_the_lumen() -> None:
    mask, image = label(1.5), scan(1.5)
    image[centre_distance_mm() < 1.0] += 600 * (np.indices(SHAPE)[2] % 40 < 4)[centre_distance_mm() < 1.0]
    found = measure_lumen(mask, mask.astype(np.uint8), image, SPACING_MM)
    assert found is not None and abs(found.offset_mm) <= 0.15


def test_a_vessel_without_contrast_is_not_measured() -> None:
    mask = label(1.5)
    image = np.random.default_rng(0).normal(60, 20, SHAPE)
    assert measure_lumen(mask, mask.astype(np.uint8), image, SPACING_MM) is None


def test_a_vessel_inside_other_structures_is_not_measured() -> None:
    mask = label(1.5)
    assert measure_lumen(mask, np.where(mask, 9, 5).astype(np.uint8), scan(1.5), SPACING_MM) is None
    assert measure_lumen(np.zeros(SHAPE, bool), np.zeros(SHAPE, np.uint8), scan(1.5), SPACING_MM) is None
