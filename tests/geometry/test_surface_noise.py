"""Surface noise of smooth and rough balls."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from heartmend.geometry.surface_noise import lowest_surface_noise_mm2, noise_on_voxels_mm2, surface_noise_mm2

SHAPE, SPACING = (56, 56, 56), (1.0, 1.0, 1.0)


def ball(noise_mm: float) -> np.ndarray:
    at = np.moveaxis(np.indices(SHAPE), 0, -1)
    noise = gaussian_filter(np.random.default_rng(1).standard_normal(SHAPE), 1.5)
    distance = 18 - np.linalg.norm(at - np.array((27.3, 28.1, 27.8)), axis=-1)
    return np.asarray(distance + noise_mm * noise / noise.std() > 0)


def test_surface_noise_rises_with_roughness() -> None:
    values = [surface_noise_mm2(ball(noise_mm), SPACING) for noise_mm in (0.0, 0.5, 1.0)]
    assert values == sorted(values) and values[2] > 1.5 * values[0]
    assert surface_noise_mm2(np.zeros(SHAPE, bool), SPACING) == 0


def test_the_lowest_surface_noise_is_a_low_quantile_of_enough_cases() -> None:
    assert lowest_surface_noise_mm2([0.2, 0.1, 0.3], [1.0] * 3) == float("inf")
    assert lowest_surface_noise_mm2([0.1 * n for n in range(1, 22)], [1.0] * 21) == pytest.approx(0.2)


@pytest.mark.parametrize("voxel_mm", [0.5, 0.9, 1.5, 2.0])
def test_a_smooth_label_of_larger_voxels_is_no_rougher_than_the_cleanest_of_small_ones(voxel_mm: float) -> None:
    """Otherwise a map of 1.5 mm among maps of 0.8 mm counts as noise and follows the shape."""

    def noise_mm2(side_mm: float) -> float:
        at_mm = np.moveaxis(np.indices([round(48 / side_mm)] * 3), 0, -1) * side_mm
        return surface_noise_mm2(np.linalg.norm(at_mm - (23.4, 24.1, 23.8), axis=-1) < 17, [side_mm] * 3)

    lowest = lowest_surface_noise_mm2([noise_mm2(0.8)] * 6, [0.8] * 6)
    assert noise_on_voxels_mm2(lowest, voxel_mm) == pytest.approx(noise_mm2(voxel_mm), rel=0.12)
    assert noise_on_voxels_mm2(lowest, 0.8) == pytest.approx(noise_mm2(0.8))
