"""Boundaries that move to the edges of an image, and boundaries that stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from heartmend.repair.image_edges.snap import SnapResult, smooth_maps, snap_to_image_edges

SHAPE, SPACING = (48, 44, 40), (1.0, 1.0, 1.0)
LV, LA, MYO = 3, 2, 1


def ball(centre: tuple[float, float, float], radius: float) -> np.ndarray:
    at = np.moveaxis(np.indices(SHAPE), 0, -1)
    return np.asarray(np.linalg.norm(at - np.array(centre), axis=-1) < radius)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@dataclass(frozen=True, eq=False)
class Heart:
    """A ventricle in its wall with an atrium beside it: the truth, a label with a bump and a dent, and a CT image."""

    truth: np.ndarray
    label: np.ndarray
    image: np.ndarray


def heart(atrium_hu: float = 350.0, noise_hu: float = 25.0, seed: int = 0) -> Heart:
    truth = np.zeros(SHAPE, np.uint8)
    truth[ball((18, 22, 20), 14)] = MYO
    truth[ball((18, 22, 20), 10)] = LV
    truth[ball((36, 22, 20), 9) & (truth == 0)] = LA
    label = truth.copy()
    label[ball((18, 29, 20), 4.5) & (truth == MYO)] = LV
    label[ball((18, 13.5, 20), 3.2) & (truth == LV)] = MYO
    hu = np.full(256, -90.0)
    hu[[MYO, LV, LA]] = 110, 350, atrium_hu
    rng = np.random.default_rng(seed)
    image = gaussian_filter(hu[truth], 0.6) + rng.normal(0, noise_hu, SHAPE)
    return Heart(truth, label, np.round(image).astype(np.int16))


def result_of(heart: Heart, movable: tuple[int, ...] = (MYO, LA, LV), image: np.ndarray | None = None) -> SnapResult:
    maps = smooth_maps(heart.label, (MYO, LA, LV), SPACING)
    return snap_to_image_edges(heart.label, maps, heart.image if image is None else image, SPACING, movable)


def test_a_bump_and_a_dent_move_to_the_edge_of_the_image() -> None:
    given = heart()
    before, after = (dice(given.truth == LV, labels == LV) for labels in (given.label, result_of(given).labels))
    assert before < 0.99
    assert 1 - after < 0.3 * (1 - before)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_edge_may_rise_or_fall(sign: int) -> None:
    given = heart()
    labels = result_of(given, image=150 + sign * (given.image.astype(int) - 150)).labels
    assert dice(given.truth == LV, labels == LV) > 0.99


def test_a_flipped_volume_gives_the_flipped_result() -> None:
    given = heart()
    flipped = Heart(given.truth[::-1], np.ascontiguousarray(given.label[::-1]), np.ascontiguousarray(given.image[::-1]))
    assert np.mean(result_of(flipped).labels[::-1] != result_of(given).labels) < 2e-4


def test_a_border_without_an_edge_in_the_image_stays() -> None:
    given = heart(atrium_hu=110.0)
    labels = result_of(given).labels
    # Wall and atrium have the same intensity here.
    maps = smooth_maps(given.label, (MYO, LA), SPACING)
    inner = (maps[MYO].steps > -16) & (maps[LA].steps > -16) & (given.label > 0)
    assert np.mean(labels[inner] != given.label[inner]) < 0.02


def test_nothing_moves_without_movable_structures_or_without_edges() -> None:
    given = heart()
    np.testing.assert_array_equal(result_of(given, movable=()).labels, given.label)
    np.testing.assert_array_equal(result_of(given, image=np.zeros(SHAPE)).labels, given.label)
    noise = np.random.default_rng(5).normal(100, 25, SHAPE)
    assert np.mean(result_of(given, image=noise).labels != given.label) < 0.003


def test_only_borders_between_movable_structures_move() -> None:
    given = heart()
    labels = result_of(given, movable=(LA,)).labels
    assert np.array_equal(labels == LV, given.label == LV)
    assert np.array_equal(labels == MYO, given.label == MYO)


@pytest.mark.parametrize("shift", [(3, -3, 2), (7, -6, 5), (12, 9, 9)])
def test_boundaries_do_not_follow_a_shifted_image(shift: tuple[int, int, int]) -> None:
    given = heart()
    shifted = np.roll(given.image, shift, axis=(0, 1, 2))
    assert np.mean(result_of(given, image=shifted).labels != given.label) < 0.002


def test_an_image_that_does_not_fit_its_labels_is_a_mismatch() -> None:
    given = heart()
    result = result_of(given, image=np.roll(given.image, (2, -2, 1), axis=(0, 1, 2)))
    assert result.mismatch
    np.testing.assert_array_equal(result.labels, given.label)
