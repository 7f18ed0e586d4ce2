"""Gaussian filters on a set of voxels."""

import numpy as np
from scipy.ndimage import gaussian_filter

from heartmend.geometry.voxel_band import VoxelBand

SPACING_MM = (0.5, 1.0, 2.0)


def band(share: float) -> VoxelBand:
    return VoxelBand(np.random.default_rng(0).random((9, 8, 7)) < share, SPACING_MM)


def test_on_a_whole_volume_the_filter_is_that_of_the_volume() -> None:
    whole = VoxelBand(np.ones((9, 8, 7), bool), (1.0, 1.0, 1.0))
    volume = np.random.default_rng(1).standard_normal((9, 8, 7)).astype(np.float32)
    found = whole.volume(whole.gaussian(0.8).apply(whole.values(volume)))
    np.testing.assert_allclose(found, gaussian_filter(volume, 0.8, mode="constant", truncate=2.5), atol=1e-6)


def test_the_length_is_in_mm_along_each_axis() -> None:
    whole = VoxelBand(np.ones((9, 8, 7), bool), SPACING_MM)
    point = np.zeros((9, 8, 7), np.float32)
    point[4, 4, 3] = 1
    found = whole.volume(whole.gaussian(1.0).apply(whole.values(point)))
    # Two voxels along x are as far as one along y.
    np.testing.assert_allclose(found[6, 4, 3], found[4, 5, 3], rtol=1e-5)


def test_the_adjoint_is_the_transposed_filter() -> None:
    one, rng = band(0.4), np.random.default_rng(2)
    a, b = rng.standard_normal((2, len(one))).astype(np.float32)
    kernel = one.gaussian(0.9)
    np.testing.assert_allclose(kernel.apply(a) @ b, a @ kernel.adjoint(b), rtol=1e-4)


def test_the_gain_is_the_deviation_of_filtered_white_noise() -> None:
    one = band(0.5)
    kernel = one.gaussian(0.9)
    matrix = np.stack([kernel.apply(row) for row in np.eye(len(one), dtype=np.float32)], axis=1)
    np.testing.assert_allclose(kernel.gain, np.sqrt(np.square(matrix).sum(axis=1)), rtol=1e-4)


def test_values_and_volume_are_inverse() -> None:
    one = band(0.3)
    values = np.arange(len(one), dtype=np.float32)
    np.testing.assert_array_equal(one.values(one.volume(values)), values)
    assert (one.volume(values, outside=-1.0)[~one.mask] == -1).all()
    np.testing.assert_allclose(one.points_mm, np.argwhere(one.mask) * SPACING_MM)
