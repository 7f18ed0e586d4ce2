"""Features of voxels and the scale of intensities, calculated by hand."""

import numpy as np
import pytest

from heartmend.repair.voxel_classifier.features import (
    FEATURES,
    IMAGE_FEATURES,
    IntensityScale,
    uncertain_voxels,
    window_features,
)
from support.sheets import sheets


def test_the_windows_contain_the_voxels_about_a_voxel() -> None:
    mask = np.zeros((30, 30, 30), dtype=bool)
    mask[15, 14, 17] = True
    features = window_features(mask, np.array([[15, 15, 15], [0, 0, 0]])).float()
    assert features.shape == (2, FEATURES)
    fine, coarse = features[0, :729].reshape(9, 9, 9), features[0, 729:].reshape(9, 9, 9)
    assert fine[4, 3, 6] == 1
    assert fine.sum() == 1 - 728
    # Only the cell of 3³ voxels about the voxel 3 further along the last axis contains it, as 1 of 27.
    assert coarse[4, 4, 5] == pytest.approx(2 / 27 - 1, abs=1e-3)
    assert (coarse > -0.999).sum() == 1
    assert (features[1] == -1).all()


def test_beyond_the_volume_the_label_continues_as_at_the_border() -> None:
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[:4] = True
    fine = window_features(mask, np.array([[0, 10, 10]])).float()[0, :729].reshape(9, 9, 9)
    assert (fine[:8] == 1).all()
    assert (fine[8] == -1).all()


def test_the_window_of_an_image_is_added() -> None:
    mask, image = np.zeros((12, 12, 12), dtype=bool), np.zeros((12, 12, 12), dtype=np.float32)
    image[6, 5, 8] = 3
    features = window_features(mask, np.array([[6, 6, 6]]), image).float()
    assert features.shape == (1, FEATURES + IMAGE_FEATURES)
    window = features[0, FEATURES:].reshape(5, 5, 5)
    assert window[2, 1, 4] == 3
    assert window.sum() == 3


def test_all_voxels_of_the_label_and_few_others_are_uncertain() -> None:
    mask = sheets(1)[0]
    found = uncertain_voxels(mask)
    assert found[mask].all()
    assert mask.sum() < found.sum() < 3 * mask.sum()


def test_the_scale_is_the_mean_and_deviation_of_uncertain_voxels() -> None:
    """Half of the uncertain voxels have 100, half 300: mean 200, deviation 100; high intensities are clipped."""
    mask, image = np.ones((2, 4, 4), dtype=bool), np.full((2, 4, 4), 100, dtype=np.float32)
    image[1] = 300
    scale = IntensityScale.of([mask], [image])
    assert (scale.mean, scale.deviation) == (200, 100)
    np.testing.assert_allclose(scale.scaled(np.array([[[100, 250, 3000]]], dtype=np.float32)), [[[-1, 0.5, 5]]])
