"""Distortion of shapes: each kind separately, and reproducibility."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion
from shape_distortion import Distortion, distort

from support.sheets import sheet

NONE = Distortion(cubes=(0, 0), rim=0.0, speckle=0.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_without_distortions_the_mask_is_unchanged() -> None:
    mask = sheet(0)
    assert (distort(mask, rng(), NONE) == mask).all()


def test_one_cube_is_added_or_removed_at_the_boundary() -> None:
    mask = sheet(1)
    added = removed = 0
    for seed in range(12):
        changed = distort(mask, rng(seed), replace(NONE, cubes=(1, 1), sides=(5, 5))) ^ mask
        where = np.argwhere(changed)
        assert 0 < len(where) < 5**3
        assert (np.ptp(where, axis=0) < 5).all()
        added += bool((changed & ~mask).any())
        removed += bool((changed & mask).any())
    assert added
    assert removed
    assert added + removed == 12


def test_the_rim_is_dilated_in_some_places_and_eroded_in_others() -> None:
    mask = sheet(2)
    worse = distort(mask, rng(), replace(NONE, rim=0.5))
    assert (worse & ~mask).any()
    assert (mask & ~worse).any()
    assert not (worse & ~binary_dilation(mask)).any()
    assert not (binary_erosion(mask) & ~worse).any()


def test_speckle_has_the_given_density_near_the_shape() -> None:
    mask = sheet(3)
    near = binary_dilation(mask, iterations=4)
    flipped = distort(mask, rng(), replace(NONE, speckle=0.1)) ^ mask
    assert not (flipped & ~near).any()
    assert flipped.sum() / near.sum() == pytest.approx(0.1, abs=0.015)


def test_the_same_seed_gives_the_same_distortion() -> None:
    mask = sheet(4)
    assert (distort(mask, rng(5)) == distort(mask, rng(5))).all()
    assert (distort(mask, rng(5)) != distort(mask, rng(6))).any()
