"""Phantom coronary trees: two trees at the aorta, volumes and cross-sections in the range of real trees."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.geometry.components import label_components
from heartmend.phantom.coronary_tree import SEGMENTS, STEP_MM, CoronaryPhantom, draw_tree, sample_tree
from heartmend.phantom.plan import Label


def phantom(seed: int, spacing_mm: float = 0.8) -> CoronaryPhantom:
    rng = np.random.default_rng(seed)
    return draw_tree(sample_tree(rng), (spacing_mm,) * 3, rng)


@pytest.mark.parametrize("seed", [0, 1])
def test_there_are_two_trees_of_real_size_that_touch_the_aorta(seed: int) -> None:
    one = phantom(seed)
    vessels = one.labels == Label.CORONARY
    components, sizes = label_components(vessels)
    assert len(sizes) == 3  # the background and two trees
    assert 3.0 < vessels.sum() * 0.8**3 / 1000 < 9.0  # ml
    assert 350 < sum(len(branch.path) - 1 for branch in one.branches) * STEP_MM < 700
    aorta = np.argwhere(one.labels == Label.AORTA)
    for number in (1, 2):
        voxels = np.argwhere(components == number)
        assert min(np.abs(aorta - v).max(axis=1).min() for v in voxels[::3]) <= 3


def test_the_distance_to_the_wall_is_negative_in_the_vessels() -> None:
    one = phantom(2)
    inside = one.wall_mm < 0
    assert (inside >= (one.labels == Label.CORONARY)).all()
    assert (one.labels[inside & (one.labels != Label.CORONARY)] == Label.AORTA).all()
    assert np.isinf(one.wall_mm).mean() > 0.5


def test_every_voxel_of_a_vessel_has_a_segment() -> None:
    one = phantom(2)
    np.testing.assert_array_equal(one.segments > 0, one.labels == Label.CORONARY)
    names = {SEGMENTS[i - 1] for i in np.unique(one.segments) if i}
    assert {"LM", "LAD", "LCx", "RCA", "PDA", "PLA"} <= names


def test_a_seed_gives_the_same_tree_and_another_one_another() -> None:
    np.testing.assert_array_equal(phantom(3).labels, phantom(3).labels)
    assert phantom(3).labels.shape != phantom(4).labels.shape


def test_cross_sections_are_no_discs() -> None:
    modes = np.concatenate([branch.modes for branch in phantom(0).branches])
    assert 0.04 < modes[:, :2].std() < 0.3
    # A closed curve around the centreline: the radius is positive at every angle.
    assert np.abs(modes).max() <= 0.45
