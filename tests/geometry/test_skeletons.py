"""Skeletons of masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label
from skimage.morphology import skeletonize

from heartmend.geometry.skeletons import extract_skeleton


def test_the_skeleton_of_a_rod_is_its_axis() -> None:
    rod = np.zeros((20, 9, 9), bool)
    rod[3:17, 3:6, 3:6] = True
    line = np.argwhere(extract_skeleton(rod))
    assert set(map(tuple, line[:, 1:])) == {(4, 4)}


@pytest.mark.parametrize("width", [2, 3, 4, 5, 6, 8])
def test_a_rod_of_any_width_thins_to_its_whole_length(width: int) -> None:
    """The thinning alone leaves one voxel, or none, of a rod of even width."""
    rod = np.zeros((46, 12, 12), bool)
    rod[3:43, 2 : 2 + width, 2 : 2 + width] = True
    line = np.argwhere(extract_skeleton(rod))
    assert len(line) <= 42  # a line, no surface
    assert line[:, 0].min() <= 3 + width / 2 + 1 and line[:, 0].max() >= 42 - width / 2 - 1
    middle = 2 + (width - 1) / 2
    assert np.abs(line[:, 1:] - middle).max() <= max(width / 2 - 0.5, 0.5)
    assert label(extract_skeleton(rod), np.ones((3, 3, 3)))[1] == 1


def test_a_branch_of_even_width_is_not_lost() -> None:
    mask = np.zeros((60, 40, 9), bool)
    mask[2:58, 3:6, 3:6] = True
    mask[28:32, 6:38, 3:7] = True
    line = np.argwhere(extract_skeleton(mask))
    assert line[:, 1].max() >= 34


def test_the_skeleton_of_a_vessel_that_the_thinning_handles_does_not_change() -> None:
    at = np.indices((60, 30, 30))
    mask = (np.hypot(at[1] - 14 - 4 * np.sin(at[0] / 9), at[2] - 14) < 3.2) & (at[0] > 2) & (at[0] < 57)
    np.testing.assert_array_equal(extract_skeleton(mask), skeletonize(mask).astype(bool))


@settings(max_examples=40, deadline=None)
@given(arrays(bool, (6, 5, 4)))
def test_every_component_keeps_a_voxel_and_nothing_of_the_thinning_is_lost(mask: np.ndarray) -> None:
    skeleton, plain = extract_skeleton(mask), skeletonize(mask) if mask.any() else mask
    assert not (skeleton & ~mask).any() and not (plain & ~skeleton).any()
    components, count = label(mask, np.ones((3, 3, 3)))
    for component in range(1, count + 1):
        own = skeleton & (components == component)
        assert label(own, np.ones((3, 3, 3)))[1] <= max(label(plain & own, np.ones((3, 3, 3)))[1], 1)
        assert own.any()
