"""Training on sheets without a common shape: rough ones are repaired, smooth ones do not change."""

import numpy as np
import torch

from heartmend.repair.voxel_classifier.classifier import VoxelClassifier, new_network
from heartmend.repair.voxel_classifier.label_corruption import corrupt_mask
from heartmend.repair.voxel_classifier.training import ClassifierSettings, best_threshold, train_classifier
from support.sheets import sheets

SHORT = ClassifierSettings(rounds=2, examples=20_000, passes=5)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * int((a & b).sum()) / (int(a.sum()) + int(b.sum()))


def mean_dice(truth: list[np.ndarray], masks: list[np.ndarray]) -> float:
    return float(np.mean([dice(a, b) for a, b in zip(truth, masks, strict=True)]))


def corrupted(truth: list[np.ndarray]) -> list[np.ndarray]:
    return [corrupt_mask(mask, 0.8, np.random.default_rng([7, index])) for index, mask in enumerate(truth)]


def test_the_threshold_has_the_best_dice() -> None:
    """Two of three inside above 0.5: Dice 0.8; all three from -1 on, with one false positive: 6/7."""
    logits = np.array([2.0, 1.0, -0.95, -0.5, -3.0], dtype=np.float32)
    inside = np.array([True, True, True, False, False])
    assert best_threshold(logits, inside) < -0.95
    assert best_threshold(logits, np.array([True, True, False, False, False])) >= -0.5


def test_rough_sheets_are_repaired_without_a_truth() -> None:
    truth = sheets(24)
    labels = corrupted(truth)
    reports = []
    classifier = train_classifier(labels, SHORT, seed=1, report=lambda step, loss: reports.append((step, loss)))
    before = mean_dice(truth, labels)
    after = mean_dice(truth, [classifier.repair(label) for label in labels])
    assert after - before > 0.1 * (1 - before)
    assert reports[-1][0] <= SHORT.steps
    assert all(0 < loss < 0.7 for _, loss in reports)


def test_smooth_sheets_do_not_change() -> None:
    truth = sheets(12)
    classifier = train_classifier(truth, SHORT, seed=1)
    assert all((classifier.repair(mask) == mask).all() for mask in truth)


def test_training_is_deterministic() -> None:
    settings = ClassifierSettings(rounds=1, examples=1000, passes=1)
    first, second = (train_classifier(sheets(3), settings, seed=5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.net.parameters(), second.net.parameters(), strict=True))
    assert first.threshold == second.threshold


def test_an_empty_label_stays_empty() -> None:
    classifier = VoxelClassifier(new_network(), 0.0)
    assert (classifier.logits(np.zeros((8, 8, 8), dtype=bool)) < 0).all()


def test_images_improve_the_repair() -> None:
    truth = sheets(12)
    labels = corrupted(truth)
    rng = np.random.default_rng(3)
    images = [(130 * mask - 90 + rng.normal(0, 40, mask.shape)).astype(np.float32) for mask in truth]
    settings = ClassifierSettings(rounds=1, examples=12_000, passes=5)
    by_labels = train_classifier(labels, settings, seed=1)
    by_images = train_classifier(labels, settings, seed=1, images=images)
    without = mean_dice(truth, [by_labels.repair(label) for label in labels])
    with_images = mean_dice(truth, [by_images.repair(*pair) for pair in zip(labels, images, strict=True)])
    assert 1 - with_images < 0.8 * (1 - without)
