"""Skeletons of masks."""

import numpy as np
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


@settings(max_examples=40, deadline=None)
@given(arrays(bool, (6, 5, 4)))
def test_every_component_keeps_a_voxel_and_nothing_else_changes(mask: np.ndarray) -> None:
    skeleton, plain = extract_skeleton(mask), skeletonize(mask) if mask.any() else mask
    assert not (skeleton & ~mask).any() and not (plain & ~skeleton).any()
    components, count = label(mask, np.ones((3, 3, 3)))
    for component in range(1, count + 1):
        added = (skeleton & ~plain)[components == component].sum()
        assert added == (0 if plain[components == component].any() else 1)
