"""Judged by surroundings: windows by hand, sheets mended that no template could hold, smooth ones left alone."""

import numpy as np
import pytest
import torch

from heartmend.repair.voxel_classifier.classifier import (
    FEATURES,
    IMAGE_FEATURES,
    ClassifierSettings,
    Levels,
    VoxelClassifier,
    best_threshold,
    learn,
    new_net,
    uncertain_voxels,
    windows,
)
from heartmend.repair.voxel_classifier.label_corruption import corrupt_mask
from support.sheets import sheets

SHORT = ClassifierSettings(rounds=2, examples=20_000, passes=5)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * int((a & b).sum()) / (int(a.sum()) + int(b.sum()))


def test_a_window_shows_what_is_about_a_voxel() -> None:
    mask = np.zeros((30, 30, 30), dtype=bool)
    mask[15, 14, 17] = True
    seen = windows(mask, np.array([[15, 15, 15], [0, 0, 0]])).float()
    assert seen.shape == (2, FEATURES)
    near, wide = seen[0, :729].reshape(9, 9, 9), seen[0, 729:].reshape(9, 9, 9)
    assert near[4, 3, 6] == 1
    assert near.sum() == 1 - 728
    # Of the cells of 3³ only the one about a voxel 3 further along the last axis holds it, with 1 of its 27.
    assert wide[4, 4, 5] == pytest.approx(2 / 27 - 1, abs=1e-3)
    assert (wide > -0.999).sum() == 1
    assert (seen[1] == -1).all()


def test_beyond_the_volume_it_goes_on_as_at_its_border() -> None:
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[:4] = True
    seen = windows(mask, np.array([[0, 10, 10]])).float()[0, :729].reshape(9, 9, 9)
    assert (seen[:8] == 1).all()
    assert (seen[8] == -1).all()


def test_every_voxel_of_the_label_is_in_doubt_and_few_others() -> None:
    mask = sheets(1)[0]
    found = uncertain_voxels(mask)
    assert found[mask].all()
    assert mask.sum() < found.sum() < 3 * mask.sum()


def test_the_best_threshold_by_hand() -> None:
    """Two of three inside ones above 0.5: Dice 0.8; all three from -1 on, with one false: 6/7."""
    logits = np.array([2.0, 1.0, -0.95, -0.5, -3.0], dtype=np.float32)
    inside = np.array([True, True, True, False, False])
    assert best_threshold(logits, inside) < -0.95
    assert best_threshold(logits, np.array([True, True, False, False, False])) >= -0.5


def test_sheets_are_mended_without_the_truth() -> None:
    truth = sheets(24)
    noisy = [corrupt_mask(mask, 0.8, np.random.default_rng([7, at])) for at, mask in enumerate(truth)]
    told = []
    judge = learn(noisy, SHORT, seed=1, progress=lambda step, loss: told.append((step, loss)))
    before = np.mean([dice(a, b) for a, b in zip(truth, noisy, strict=True)])
    after = np.mean([dice(a, judge.mended(b)) for a, b in zip(truth, noisy, strict=True)])
    assert after - before > 0.1 * (1 - before)
    assert told[-1][0] <= SHORT.steps
    assert all(0 < loss < 0.7 for _, loss in told)


def test_smooth_sheets_stay_as_they_are() -> None:
    truth = sheets(12)
    judge = learn(truth, SHORT, seed=1)
    assert all((judge.mended(mask) == mask).all() for mask in truth)


def test_the_same_seed_learns_the_same() -> None:
    settings = ClassifierSettings(rounds=1, examples=1000, passes=1)
    first, again = (learn(sheets(3), settings, seed=5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.net.parameters(), again.net.parameters(), strict=True))
    assert first.threshold == again.threshold


def test_nothing_in_nothing_out() -> None:
    judge = VoxelClassifier(new_net(), 0.0)
    assert (judge.logits(np.zeros((8, 8, 8), dtype=bool)) < 0).all()


def test_a_window_shows_the_image_too() -> None:
    mask, image = np.zeros((12, 12, 12), dtype=bool), np.zeros((12, 12, 12), dtype=np.float32)
    image[6, 5, 8] = 3
    seen = windows(mask, np.array([[6, 6, 6]]), image).float()
    assert seen.shape == (1, FEATURES + IMAGE_FEATURES)
    cube = seen[0, FEATURES:].reshape(5, 5, 5)
    assert cube[2, 1, 4] == 3
    assert cube.sum() == 3


def test_levels_by_hand() -> None:
    """Half of the voxels that are in doubt 100, half 300: mean 200, deviation 100; far beyond, all is alike."""
    mask, image = np.ones((2, 4, 4), dtype=bool), np.full((2, 4, 4), 100, dtype=np.float32)
    image[1] = 300
    levels = Levels.of([mask], [image])
    assert (levels.mean, levels.deviation) == (200, 100)
    np.testing.assert_allclose(levels.scaled(np.array([[[100, 250, 3000]]], dtype=np.float32)), [[[-1, 0.5, 5]]])


def test_an_image_tells_more_than_labels_alone() -> None:
    truth = sheets(12)
    noisy = [corrupt_mask(mask, 0.8, np.random.default_rng([7, at])) for at, mask in enumerate(truth)]
    rng = np.random.default_rng(3)
    images = [(130 * mask - 90 + rng.normal(0, 40, mask.shape)).astype(np.float32) for mask in truth]
    settings = ClassifierSettings(rounds=1, examples=12_000, passes=5)
    blind, seeing = learn(noisy, settings, seed=1), learn(noisy, settings, seed=1, images=images)
    by_label = np.mean([dice(a, blind.mended(b)) for a, b in zip(truth, noisy, strict=True)])
    by_both = np.mean([dice(a, seeing.mended(b, i)) for a, b, i in zip(truth, noisy, images, strict=True)])
    assert 1 - by_both < 0.8 * (1 - by_label)
