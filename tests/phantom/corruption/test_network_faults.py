"""Errors as networks make them: smooth surfaces, straight planes, vessels that end early."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.geometry.components import count_components
from heartmend.geometry.surface_noise import surface_noise_mm2
from heartmend.metrics.surface import assd
from heartmend.phantom.corruption.network_faults import early_end, smooth_surfaces, straight_plane
from heartmend.phantom.corruption.patches import component_of
from heartmend.phantom.corruption.surfaces import rough_structure
from heartmend.phantom.plan import Label

SPACING = np.array([1.0, 1.0, 1.0])
NO_BIAS: dict[int, float] = {}


def test_inputs_are_not_changed(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    original = two_balls.copy()
    smooth_surfaces(two_balls, SPACING, rng, {Label.LV: 1.0}, 0.5, 6.0)
    straight_plane(two_balls, SPACING, rng, (Label.LA, Label.LV), 1.0, 5.0)
    early_end(two_balls, SPACING, Label.LA, Label.LV, 0.5)
    component_of(two_balls, SPACING, rng, Label.LV, 2.0)
    np.testing.assert_array_equal(two_balls, original)


def test_without_bias_and_size_surfaces_stay(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    np.testing.assert_array_equal(smooth_surfaces(two_balls, SPACING, rng, NO_BIAS, 0.0, 6.0), two_balls)


@pytest.mark.parametrize("mm", [-1.0, 1.0])
def test_a_bias_moves_the_surface_by_its_size(two_balls: np.ndarray, mm: float) -> None:
    volumes = [
        (smooth_surfaces(two_balls, SPACING, np.random.default_rng(seed), {Label.LV: mm}, 0.0, 6.0) == Label.LV).sum()
        for seed in range(20)
    ]
    radii = (np.array(volumes) * 3 / (4 * np.pi)) ** (1 / 3)
    # Uneven along the surface, and so different from case to case, with a standard deviation of about 0.4 mm.
    assert (radii.mean() - 12.5) / mm == pytest.approx(1.0, abs=0.35)


def test_smooth_surfaces_are_smoother_than_rough_ones_of_the_same_size(two_balls: np.ndarray) -> None:
    noisy = smooth_surfaces(two_balls, SPACING, np.random.default_rng(0), NO_BIAS, 0.8, 10.0) == Label.LV
    rough = rough_structure(two_balls, SPACING, np.random.default_rng(0), Label.LV, 0.8, 1.5) == Label.LV
    truth = two_balls == Label.LV
    assert 0.3 < assd(noisy, truth, SPACING) < 1.2
    assert count_components(noisy) == 1
    assert surface_noise_mm2(noisy, (1.0, 1.0, 1.0)) < 0.5 * surface_noise_mm2(rough, (1.0, 1.0, 1.0))


def test_a_straight_plane_is_where_it_is_put(rng: np.random.Generator) -> None:
    labels = np.zeros((40, 30, 30), np.uint8)
    labels[4:20, 5:25, 5:25] = Label.LA
    labels[20:36, 5:25, 5:25] = Label.LV
    # A step in the valve, which a plane has not.
    labels[20:22, 5:15, 5:25] = Label.LA
    straight = straight_plane(labels, SPACING, rng, (Label.LA, Label.LV), 0.0)
    heights = (straight == Label.LA).sum(axis=0)[6:24, 6:24]
    assert np.ptp(np.diff(heights.mean(axis=1))) < 1.1, "the step of two voxels is now a slope"
    moved = straight_plane(labels, SPACING, rng, (Label.LA, Label.LV), 3.0)
    assert (moved == Label.LA).sum() - (straight == Label.LA).sum() == pytest.approx(3 * 20 * 20, rel=0.15)
    assert np.array_equal(moved > 0, labels > 0)


def test_structures_that_do_not_touch_have_no_plane(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    apart = np.where((two_balls == Label.LV) & (np.arange(64)[:, None, None] > 30), 0, two_balls).astype(np.uint8)
    np.testing.assert_array_equal(straight_plane(apart, SPACING, rng, (Label.LA, Label.LV), 2.0), apart)
    np.testing.assert_array_equal(straight_plane(apart, SPACING, rng, (Label.RA, Label.RV), 2.0), apart)


def test_a_vessel_ends_early_along_its_course(tube: np.ndarray) -> None:
    labels = tube.copy()
    labels[0:5, 5:15, 5:15] = Label.AORTA
    # The course turns back beside its start: there the straight distance to the root is short.
    labels[74, 9:16, 9:12] = Label.CORONARY
    labels[10:75, 14:16, 9:12] = Label.CORONARY
    kept = early_end(labels, SPACING, Label.CORONARY, Label.AORTA, 0.5)
    lost = (labels == Label.CORONARY) & (kept != Label.CORONARY)
    assert lost[12, 14:16, 9:12].all() and not lost[5:70, 9:12].any()
    assert count_components(kept == Label.CORONARY) == 1
    assert lost.sum() == pytest.approx(0.5 * (labels == Label.CORONARY).sum(), rel=0.3)
    np.testing.assert_array_equal(early_end(tube, SPACING, Label.CORONARY, Label.AORTA, 0.5), tube)


def test_an_additional_component_is_of_its_structure_and_detached(
    two_balls: np.ndarray, rng: np.random.Generator
) -> None:
    noisy = component_of(two_balls, SPACING, rng, Label.LA, 2.0)
    changed = noisy != two_balls
    assert changed.any() and (two_balls[changed] == 0).all() and (noisy[changed] == Label.LA).all()
    assert count_components(noisy == Label.LA) == 2
    np.testing.assert_array_equal(component_of(two_balls, SPACING, rng, Label.PA, 2.0), two_balls)
