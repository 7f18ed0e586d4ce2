"""Noise of single voxels: smooth labels never change, noisy ones become better."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from heartmend.metrics.overlap import dice
from heartmend.repair.vessels.voxel_noise import without_voxel_noise
from heartmend.types import Mask


def oval_tube(radius_voxels: float, aspect: float = 1.0, bumps: float = 0.0) -> Mask:
    """A winding tube with oval cross-sections and lobes, which no disc describes."""
    x, y, z = np.indices((160, 40, 40)).astype(float)
    dy, dz = y - 20 - 5 * np.sin(x / 25), z - 20 - 4 * np.cos(x / 31)
    angle = np.arctan2(dz, dy)
    limit = radius_voxels * (1 + 0.15 * np.sin(x / 9) + bumps * np.cos(3 * angle + x / 12))
    return (np.hypot(dy / aspect, dz * aspect) < limit) & (x > 4) & (x < 155)


def noisy(mask: Mask, share: float, seed: int = 0) -> Mask:
    """Move a share of the voxels on both sides of the surface to the other side."""
    chosen = np.random.default_rng(seed).random(mask.shape) < share
    inner, outer = mask & ~binary_erosion(mask), binary_dilation(mask) & ~mask
    return (mask & ~(inner & chosen)) | (outer & chosen)


@pytest.mark.parametrize("radius", [1.4, 2.0, 3.0, 4.5])
@pytest.mark.parametrize(("aspect", "bumps"), [(1.0, 0.0), (1.25, 0.0), (1.1, 0.12)])
def test_a_smooth_label_does_not_change_whatever_its_cross_section(radius: float, aspect: float, bumps: float) -> None:
    label = oval_tube(radius, aspect, bumps)
    np.testing.assert_array_equal(without_voxel_noise(label), label)


@pytest.mark.parametrize("share", [0.15, 0.3])
def test_noise_of_single_voxels_is_removed(share: float) -> None:
    truth = oval_tube(3.5, 1.2, 0.1)
    label = noisy(truth, share)
    result = without_voxel_noise(label)
    assert 1 - dice(truth, result) < 0.7 * (1 - dice(truth, label))
    assert (truth & label & ~result).sum() < 0.02 * (truth & label).sum()


def test_the_volume_is_kept() -> None:
    label = noisy(oval_tube(3.5), 0.3)
    assert without_voxel_noise(label).sum() == pytest.approx(label.sum(), rel=0.03)


def test_the_result_does_not_depend_on_the_volume_around_it() -> None:
    label = noisy(oval_tube(3.0), 0.3)
    large = np.pad(label, ((7, 30), (0, 20), (11, 3)))
    np.testing.assert_array_equal(without_voxel_noise(large)[7:-30, :-20, 11:-3], without_voxel_noise(label))


def test_a_label_too_small_for_a_rate_and_an_empty_one_stay() -> None:
    small = np.zeros((9, 9, 9), bool)
    small[2:5, 2:5, 4] = True
    np.testing.assert_array_equal(without_voxel_noise(small), small)
    assert not without_voxel_noise(np.zeros((5, 5, 5), bool)).any()
