"""Distortions: each fault alone does what it says, together they are those of the seed."""

from dataclasses import replace

import numpy as np
import pytest
from distort import Distortion, distorted
from scipy.ndimage import binary_dilation, binary_erosion

from support.sheets import sheet

NONE = Distortion(cubes=(0, 0), rim=0.0, speckle=0.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_without_faults_nothing_happens() -> None:
    mask = sheet(0)
    assert (distorted(mask, rng(), NONE) == mask).all()


def test_one_cube_is_added_or_cut_at_the_boundary() -> None:
    mask = sheet(1)
    added = cut = 0
    for seed in range(12):
        changed = distorted(mask, rng(seed), replace(NONE, cubes=(1, 1), sides=(5, 5))) ^ mask
        where = np.argwhere(changed)
        assert 0 < len(where) < 5**3
        assert (np.ptp(where, axis=0) < 5).all()
        added += bool((changed & ~mask).any())
        cut += bool((changed & mask).any())
    assert added
    assert cut
    assert added + cut == 12


def test_the_rim_is_dilated_here_and_eroded_there() -> None:
    mask = sheet(2)
    worse = distorted(mask, rng(), replace(NONE, rim=0.5))
    assert (worse & ~mask).any()
    assert (mask & ~worse).any()
    assert not (worse & ~binary_dilation(mask)).any()
    assert not (binary_erosion(mask) & ~worse).any()


def test_salt_is_as_thick_as_asked_and_near() -> None:
    mask = sheet(3)
    near = binary_dilation(mask, iterations=4)
    flipped = distorted(mask, rng(), replace(NONE, speckle=0.1)) ^ mask
    assert not (flipped & ~near).any()
    assert flipped.sum() / near.sum() == pytest.approx(0.1, abs=0.015)


def test_the_same_seed_distorts_the_same() -> None:
    mask = sheet(4)
    assert (distorted(mask, rng(5)) == distorted(mask, rng(5))).all()
    assert (distorted(mask, rng(5)) != distorted(mask, rng(6))).any()
