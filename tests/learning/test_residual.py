"""What a label says beyond the shape: the smooth part stays, noise goes."""

import numpy as np
import pytest

from heartmend.learning.residual import with_residual
from heartmend.learning.targets import signed_distance_mm
from support.hearts import ellipsoid

SPACING = (1.0, 1.0, 1.0)
SHAPE = (44, 44, 44)


def ball(radius: float) -> np.ndarray:
    return signed_distance_mm(ellipsoid(SHAPE, (22, 22, 22), (radius,) * 3), SPACING)


def test_without_a_length_the_shape_alone_decides() -> None:
    shape = ball(12)
    assert with_residual(shape, ball(15), SPACING, 0) is shape


def test_a_label_that_agrees_changes_nothing() -> None:
    assert np.allclose(with_residual(ball(12), ball(12), SPACING, 1.5), ball(12), atol=1e-6)


@pytest.mark.parametrize("offset", [-1.0, 0.7])
def test_what_is_the_same_over_centimetres_is_kept(offset: float) -> None:
    shape = ball(13)
    found = with_residual(shape, shape + offset, SPACING, 1.5)
    near = abs(shape) < 1.5
    assert np.allclose(found[near], shape[near] + offset, atol=0.03)


def test_noise_is_averaged_away() -> None:
    shape = ball(13)
    noise = np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)
    near = abs(shape) < 1.5
    left = {s: (with_residual(shape, shape + noise, SPACING, s) - shape)[near].std() for s in (1.0, 2.5)}
    assert left[2.5] < left[1.0] < 0.35


def test_a_leak_of_one_case_pulls_by_no_more_than_its_reach() -> None:
    shape, label = ball(10), ball(10)
    label[30:34, 20:24, 20:24] = 8
    found = with_residual(shape, label, SPACING, 1.5)
    assert abs(found - shape).max() < 2
    far = np.abs(np.indices(SHAPE)[0] - 32) > 10
    assert np.allclose(found[far], shape[far], atol=1e-3)


def test_millimetres_and_not_voxels() -> None:
    """A ripple along the thick axis of 4 mm a voxel outlives a length of 1.5 mm; one along the thin axis does not."""
    shape = np.zeros((40, 40, 40), dtype=np.float32)
    spacing = (0.5, 0.5, 4.0)
    ripple = np.where(np.arange(40) % 2, 0.5, -0.5).astype(np.float32)
    thick = with_residual(shape, shape + ripple[None, None, :], spacing, 1.5)
    thin = with_residual(shape, shape + ripple[:, None, None], spacing, 1.5)
    assert abs(thick[20, 20, 15:25]).min() > 0.3
    assert abs(thin[15:25, 20, 20]).max() < 0.02
