"""Boundaries that an image knows better, and those that it does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from heartmend.repair.image_edges.snap import see, smooth_distances

SHAPE, SPACING = (48, 44, 40), (1.0, 1.0, 1.0)
LV, LA, MYO = 3, 2, 1


def ball(centre: tuple[float, float, float], radius: float) -> np.ndarray:
    at = np.moveaxis(np.indices(SHAPE), 0, -1)
    return np.asarray(np.linalg.norm(at - np.array(centre), axis=-1) < radius)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@dataclass(frozen=True, eq=False)
class Scene:
    """A ventricle in its wall, with an atrium beside it: the truth, a label with a bump and a bite, and a CT."""

    truth: np.ndarray
    label: np.ndarray
    image: np.ndarray


def scene(atrium_hu: float = 350.0, noise_hu: float = 25.0, seed: int = 0) -> Scene:
    truth = np.zeros(SHAPE, np.uint8)
    truth[ball((18, 22, 20), 14)] = MYO
    truth[ball((18, 22, 20), 10)] = LV
    truth[ball((36, 22, 20), 9) & (truth == 0)] = LA
    label = truth.copy()
    label[ball((18, 29, 20), 4.5) & (truth == MYO)] = LV
    label[ball((18, 13.5, 20), 3.2) & (truth == LV)] = MYO
    table = np.full(256, -90.0)
    table[[MYO, LV, LA]] = 110, 350, atrium_hu
    rng = np.random.default_rng(seed)
    image = gaussian_filter(table[truth], 0.6) + rng.normal(0, noise_hu, SHAPE)
    return Scene(truth, label, np.round(image).astype(np.int16))


def looked(scene: Scene, sighted: tuple[int, ...] = (MYO, LA, LV), image: np.ndarray | None = None) -> np.ndarray:
    fields = smooth_distances(scene.label, (MYO, LA, LV), SPACING)
    return see(scene.label, fields, scene.image if image is None else image, SPACING, sighted).labels


def test_a_bump_and_a_bite_go_where_the_image_has_an_edge() -> None:
    found = scene()
    seen = looked(found)
    before, after = (dice(found.truth == LV, labels == LV) for labels in (found.label, seen))
    assert before < 0.99
    assert 1 - after < 0.3 * (1 - before)


@pytest.mark.parametrize("invert", [1, -1])
def test_bright_or_dark_is_all_the_same(invert: int) -> None:
    found = scene()
    image = 150 + invert * (found.image.astype(int) - 150)
    seen = looked(found, image=image)
    assert dice(found.truth == LV, seen == LV) > 0.99


def test_turned_over_it_sees_the_same() -> None:
    found = scene()
    turned = Scene(found.truth[::-1], np.ascontiguousarray(found.label[::-1]), np.ascontiguousarray(found.image[::-1]))
    share = np.mean(looked(turned)[::-1] != looked(found))
    assert share < 2e-4


def test_a_border_that_the_image_does_not_show_stays() -> None:
    found = scene(atrium_hu=110.0)
    seen = looked(found)
    # Wall and atrium are equally bright here: neither gains from the other.
    touching = (smooth_distances(found.label, (MYO,), SPACING)[MYO] > -16) & (
        smooth_distances(found.label, (LA,), SPACING)[LA] > -16
    )
    inner = touching & (found.label > 0)
    assert np.mean(seen[inner] != found.label[inner]) < 0.02


def test_nothing_moves_without_an_image_s_say() -> None:
    found = scene()
    np.testing.assert_array_equal(looked(found, sighted=()), found.label)
    np.testing.assert_array_equal(looked(found, image=np.zeros(SHAPE)), found.label)
    noise = np.random.default_rng(5).normal(100, 25, SHAPE)
    assert np.mean(looked(found, image=noise) != found.label) < 0.003


def test_only_borders_between_sighted_structures_move() -> None:
    found = scene()
    seen = looked(found, sighted=(LA,))
    assert np.array_equal(seen == LV, found.label == LV)
    assert np.array_equal(seen == MYO, found.label == MYO)


@pytest.mark.parametrize("shift", [(3, -3, 2), (7, -6, 5), (12, 9, 9)])
def test_an_image_of_another_place_is_not_followed(shift: tuple[int, int, int]) -> None:
    found = scene()
    other = np.roll(found.image, shift, axis=(0, 1, 2))
    assert np.mean(looked(found, image=unknown_labels) != found.label) < 0.002


def test_a_heart_that_lies_beside_its_label_is_told() -> None:
    found = scene()
    other = np.roll(found.image, (2, -2, 1), axis=(0, 1, 2))
    seen = see(found.label, smooth_distances(found.label, (MYO, LA, LV), SPACING), other, SPACING, (MYO, LA, LV))
    assert seen.apart
    np.testing.assert_array_equal(seen.labels, found.label)
