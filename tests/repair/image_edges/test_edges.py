"""The level and the slope of an edge, and what an intensity then says, on ramps whose answer is known."""

import numpy as np
import pytest

from heartmend.repair.image_edges.borders import Border
from heartmend.repair.image_edges.edges import EDGE_NOISE, Edge, edge_of, noise_of


def plane(seed: int = 0, count: int = 20_000) -> tuple[Border, np.ndarray]:
    """A flat border of 60 x 60 mm, its voxels up to 2 mm on either side."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(-2, 2, count).astype(np.float32)
    places = np.column_stack([depth + 2, *rng.uniform(0, 60, (2, count))]).astype(np.float32)
    return Border(0, 3, np.arange(count), depth), places


def ask(intensity: np.ndarray, border: Border, places: np.ndarray, noise: float = 20.0, **more: float) -> Edge:
    return edge_of(border, intensity.astype(np.float32), places, noise, 1.0, **more)


@pytest.mark.parametrize("rise", [80.0, -80.0])
def test_each_voxel_says_where_it_lies_by_its_own_intensity(rise: float) -> None:
    border, places = plane()
    beside = np.random.default_rng(1).normal(0, 0.4, len(border.depth_mm))
    edge = ask(150 + rise * (border.depth_mm + beside), border, places)
    inner = np.abs(border.depth_mm) < 1.5
    error = edge.distance_mm - (border.depth_mm + beside)
    assert np.abs(error[inner]).mean() < 0.05
    assert edge.variance_mm2.mean() == pytest.approx(EDGE_NOISE * (20 / 80) ** 2 + 1 / 20, rel=0.1)


def test_a_patch_of_the_label_cannot_move_the_edge() -> None:
    border, places = plane()
    # A patch of 8 mm where the label lies 1.5 mm too deep: the image's edge is where it was.
    patch = np.hypot(places[:, 1] - 30, places[:, 2] - 30) < 4
    edge = ask(150 + 80 * (border.depth_mm + 1.5 * patch), border, places)
    there = patch & (np.abs(border.depth_mm) < 0.3)
    assert edge.distance_mm[there].mean() == pytest.approx(1.5, abs=0.2)


def test_level_and_slope_follow_the_border() -> None:
    border, places = plane()
    bright = np.where(places[:, 1] < 30, 100.0, 220.0)
    edge = ask(bright + 60 * border.depth_mm, border, places)
    ends = (np.abs(places[:, 1] - 30) > 24) & (np.abs(border.depth_mm) < 1)
    assert np.abs(edge.distance_mm - border.depth_mm)[ends].mean() < 0.25


def test_no_edge_no_say() -> None:
    border, places = plane()
    edge = ask(np.full(len(border.depth_mm), 300.0), border, places)
    assert np.all(np.isinf(edge.variance_mm2))
    assert np.all(edge.distance_mm == 0)
    noisy = ask(np.random.default_rng(2).normal(300, 20, len(border.depth_mm)), border, places)
    assert np.median(noisy.variance_mm2) > 25


def test_what_a_line_does_not_explain_counts_as_noise_where_asked() -> None:
    border, places = plane()
    intensity = 150 + 80 * border.depth_mm + np.random.default_rng(3).normal(0, 40, len(border.depth_mm))
    plain, careful = ask(intensity, border, places), ask(intensity, border, places, unevenness=1.0)
    gained = np.median(careful.variance_mm2) - np.median(plain.variance_mm2)
    assert gained == pytest.approx((40 / 80) ** 2, rel=0.15)


def test_noise_is_measured_inside_and_spots_do_not_count() -> None:
    rng = np.random.default_rng(4)
    image = rng.normal(350, 25, (40, 40, 40)).astype(np.float32)
    image[10:12, 10:12, 10:12] = 1200
    inside = np.zeros(image.shape, bool)
    inside[5:35, 5:35, 5:35] = True
    assert noise_of(image, [inside], (1.0, 1.0, 1.0)) == pytest.approx(25, rel=0.06)
    assert noise_of(image, [np.zeros_like(inside)], (1.0, 1.0, 1.0)) == 0
