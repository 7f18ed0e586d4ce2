"""Level and slope of an edge, and the distances of intensities to it, on ramps with a known edge."""

import numpy as np
import pytest

from heartmend.repair.image_edges.borders import Border
from heartmend.repair.image_edges.edges import EDGE_NOISE, Edge, find_edge, noise_of


def plane(seed: int = 0, count: int = 20_000) -> tuple[Border, np.ndarray]:
    """A flat border of 60 x 60 mm with voxels up to 2 mm on either side."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(-2, 2, count).astype(np.float32)
    positions = np.column_stack([depth + 2, *rng.uniform(0, 60, (2, count))]).astype(np.float32)
    return Border(0, 3, np.arange(count), depth), positions


def edge_of(intensity: np.ndarray, border: Border, positions: np.ndarray, **more: float) -> Edge:
    return find_edge(border, intensity.astype(np.float32), positions, 20.0, 1.0, **more)


@pytest.mark.parametrize("rise", [80.0, -80.0])
def test_the_intensity_of_a_voxel_gives_its_distance_to_the_edge(rise: float) -> None:
    border, positions = plane()
    offset = np.random.default_rng(1).normal(0, 0.4, len(border.depth_mm))
    edge = edge_of(150 + rise * (border.depth_mm + offset), border, positions)
    inner = np.abs(border.depth_mm) < 1.5
    error = edge.distance_mm - (border.depth_mm + offset)
    assert np.abs(error[inner]).mean() < 0.05
    assert edge.variance_mm2.mean() == pytest.approx(EDGE_NOISE * (20 / 80) ** 2 + 1 / 20, rel=0.1)


def test_an_error_of_the_label_in_one_patch_does_not_move_the_edge() -> None:
    border, positions = plane()
    # In a patch of 8 mm the label's surface is 1.5 mm too deep; the edge of the image is not.
    patch = np.hypot(positions[:, 1] - 30, positions[:, 2] - 30) < 4
    edge = edge_of(150 + 80 * (border.depth_mm + 1.5 * patch), border, positions)
    at_surface = patch & (np.abs(border.depth_mm) < 0.3)
    assert edge.distance_mm[at_surface].mean() == pytest.approx(1.5, abs=0.2)


def test_level_and_slope_vary_along_the_border() -> None:
    border, positions = plane()
    level = np.where(positions[:, 1] < 30, 100.0, 220.0)
    edge = edge_of(level + 60 * border.depth_mm, border, positions)
    ends = (np.abs(positions[:, 1] - 30) > 24) & (np.abs(border.depth_mm) < 1)
    assert np.abs(edge.distance_mm - border.depth_mm)[ends].mean() < 0.25


def test_without_an_edge_the_variance_is_infinite() -> None:
    border, positions = plane()
    edge = edge_of(np.full(len(border.depth_mm), 300.0), border, positions)
    assert np.all(np.isinf(edge.variance_mm2))
    assert np.all(edge.distance_mm == 0)
    noisy = edge_of(np.random.default_rng(2).normal(300, 20, len(border.depth_mm)), border, positions)
    assert np.median(noisy.variance_mm2) > 25


def test_unevenness_adds_the_variance_of_the_residuals() -> None:
    border, positions = plane()
    intensity = 150 + 80 * border.depth_mm + np.random.default_rng(3).normal(0, 40, len(border.depth_mm))
    plain, uneven = edge_of(intensity, border, positions), edge_of(intensity, border, positions, unevenness=1.0)
    added = np.median(uneven.variance_mm2) - np.median(plain.variance_mm2)
    assert added == pytest.approx((40 / 80) ** 2, rel=0.15)


def test_noise_is_measured_inside_structures_without_bright_spots() -> None:
    rng = np.random.default_rng(4)
    image = rng.normal(350, 25, (40, 40, 40)).astype(np.float32)
    image[10:12, 10:12, 10:12] = 1200
    inside = np.zeros(image.shape, bool)
    inside[5:35, 5:35, 5:35] = True
    assert noise_of(image, [inside], (1.0, 1.0, 1.0)) == pytest.approx(25, rel=0.06)
    assert noise_of(image, [np.zeros_like(inside)], (1.0, 1.0, 1.0)) == 0
