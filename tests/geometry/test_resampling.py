"""Resampling along axes, compared with hand calculations."""

import numpy as np
import pytest

from heartmend.geometry.resampling import apply_along_axes, linear_weights, nearest_voxels


@pytest.mark.parametrize(
    ("length", "count", "voxels"),
    [
        (3, 3, [0, 1, 2]),
        (2, 4, [0, 0, 1, 1]),
        (9, 3, [1, 4, 7]),
        # Each centre is on a face between two voxels: the later one counts.
        (4, 2, [1, 3]),
        (12, 2, [3, 9]),
        (5, 1, [2]),
    ],
)
def test_the_nearest_voxels_agree_with_a_hand_calculation(length: int, count: int, voxels: list[int]) -> None:
    assert nearest_voxels(length, count).tolist() == voxels


def test_the_weights_agree_with_a_hand_calculation() -> None:
    weights, inside = linear_weights(np.array([-0.6, -0.4, 0.25, 2.0, 3.5]), 0, 3, 0.5)
    assert inside.tolist() == [False, True, True, True, False]
    assert np.allclose(weights.toarray()[1:4], [[1, 0, 0], [0.75, 0.25, 0], [0, 0, 1]])


def test_a_step_of_two_voxels_has_weights_on_four_of_them() -> None:
    weights, _ = linear_weights(np.array([3.5]), 0, 8, 2.0)
    assert np.allclose(weights.toarray(), [[0, 0, 0.125, 0.375, 0.375, 0.125, 0, 0]])


def test_each_axis_has_its_own_matrix() -> None:
    volume = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    weights = [
        linear_weights(np.linspace(0, n - 1, m), 0, n, 1.0)[0] for n, m in zip((3, 4, 5), (2, 6, 7), strict=True)
    ]
    expected = np.einsum("abc,ia,jb,kc->ijk", volume, *[w.toarray() for w in weights])
    assert np.allclose(apply_along_axes(volume, weights), expected, atol=1e-6)
