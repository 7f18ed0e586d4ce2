"""Noise along the course of a vessel: found by its wiggle, and averaged away."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from heartmend.geometry.centrelines.measurement import measure_tree
from heartmend.metrics.overlap import dice
from heartmend.repair.vessels.course_noise import (
    FOR_WIGGLES,
    average_along_course,
    course_wiggle_mm,
    section_curves,
    sound_wiggle_mm,
)
from heartmend.repair.vessels.settings import TreeSettings
from heartmend.repair.vessels.tree_repair import repair_tree
from heartmend.types import FloatArray, Mask

SPACING = (0.5, 0.5, 0.5)
LENGTH = 140


def tube(wiggle_voxels: float = 0.0, aspect: float = 1.2, lobes: float = 0.1) -> Mask:
    """A winding tube with oval, lobed cross-sections; each is moved sideways by noise with a range of 2 mm."""
    x, y, z = np.indices((LENGTH, 44, 44)).astype(float)
    moved = gaussian_filter1d(np.random.default_rng(1).standard_normal((2, LENGTH)), 2.0, axis=1)
    moved *= wiggle_voxels / moved.std()
    dy = y - 22 - 5 * np.sin(x / 25) - moved[0][:, None, None]
    dz = z - 22 - 4 * np.cos(x / 31) - moved[1][:, None, None]
    angle = np.arctan2(dz, dy)
    limit = 3.4 * (1 + 0.1 * np.sin(x / 12) + lobes * np.cos(3 * angle + x / 14))
    return (np.hypot(dy / aspect, dz * aspect) < limit) & (x > 4) & (x < LENGTH - 5)


def wiggle(mask: Mask) -> float:
    return course_wiggle_mm(mask, measure_tree(mask, SPACING), SPACING)


@pytest.mark.parametrize(("aspect", "lobes"), [(1.0, 0.0), (1.2, 0.1), (1.3, 0.0)])
def test_a_smooth_vessel_has_no_wiggle_and_its_label_does_not_change(aspect: float, lobes: float) -> None:
    mask = tube(0.0, aspect, lobes)
    assert wiggle(mask) < sound_wiggle_mm(SPACING)
    result = repair_tree(mask, SPACING, settings=TreeSettings(calibre=None))
    np.testing.assert_array_equal(result.mask, mask)


def test_the_wiggle_is_that_of_the_cross_sections() -> None:
    # What varies as slowly as the course itself is not measured, so less than the 0.4 mm are found.
    assert 0.15 < wiggle(tube(0.8)) < 0.45
    assert wiggle(tube(0.4)) < wiggle(tube(0.8)) < wiggle(tube(1.2))


def test_a_wiggle_is_averaged_away() -> None:
    truth, label = tube(), tube(0.9)
    result = repair_tree(label, SPACING, settings=TreeSettings(calibre=None))
    assert 1 - dice(truth, result.mask) < 0.92 * (1 - dice(truth, label))
    assert (truth & label & ~result.mask).sum() < 0.02 * (truth & label).sum()
    assert result.smoothed.any() and not (result.mask ^ label)[~result.smoothed].any()
    assert result.mask.sum() == pytest.approx(label.sum(), rel=0.08)


def test_thick_slices_of_a_vessel_are_no_noise() -> None:
    """Across slices of 3 mm the cross-sections of a sound vessel jump by themselves."""
    spacing = (*SPACING[:2], 3.0)
    mask = tube(0.9)[..., :: round(3.0 / SPACING[2])]
    result = repair_tree(mask, spacing, settings=TreeSettings(calibre=None))
    assert mask.any() and not result.smoothed.any()


def test_the_average_does_not_depend_on_the_volume_around_the_label() -> None:
    label = tube(0.9)
    large = np.pad(label, ((3, 9), (0, 12), (5, 0)))
    found = [average_along_course(one, measure_tree(one, SPACING), SPACING, FOR_WIGGLES) for one in (label, large)]
    np.testing.assert_array_equal(found[1][3:-9, :-12, 5:], found[0])


def test_a_short_vessel_and_one_without_a_centreline_have_no_wiggle() -> None:
    short = tube(0.9)
    short[20:] = False
    assert wiggle(short) == 0.0
    nothing = np.zeros((9, 9, 9), bool)
    tree = measure_tree(nothing, SPACING)
    assert section_curves(tree, 2.0) == [] and course_wiggle_mm(nothing, tree, SPACING) == 0.0
    assert not average_along_course(nothing, tree, SPACING, FOR_WIGGLES).any()


def test_curves_have_the_step_and_the_ends_of_their_vessel() -> None:
    mask = tube()
    tree = measure_tree(mask, SPACING)
    (curve,) = section_curves(tree, 3.0)
    ends: FloatArray = tree.points_mm[tree.ends]
    for end in ends:
        assert np.linalg.norm(curve.points_mm[[0, -1]] - end, axis=1).min() < 0.5
    assert curve.step_mm == pytest.approx(0.5, abs=0.05)
