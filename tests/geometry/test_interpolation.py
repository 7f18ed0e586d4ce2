"""Fields that are interpolated along one axis, and averaged over blocks."""

import numpy as np
import pytest

from heartmend.geometry.interpolation import block_means, interpolate_along


@pytest.mark.parametrize("axis", range(3))
def test_a_linear_field_is_exact_between_its_voxels(axis: int) -> None:
    field = (2.0 * np.indices((5, 6, 7))[axis] + 1).astype(np.float32)
    positions = np.array([0.0, 0.25, 1.5, 3.0])
    found = np.moveaxis(interpolate_along(field, positions, axis), axis, 0)
    assert found.dtype == np.float32
    assert found.shape[0] == 4
    assert (found == (2 * positions + 1).reshape(4, 1, 1)).all()


def test_the_last_voxel_continues() -> None:
    field = np.array([1.0, 4.0], dtype=np.float32)
    assert interpolate_along(field, np.array([1.0, 1.5, 9.0]), 0).tolist() == [4.0, 4.0, 4.0]


def test_block_means_keep_the_sum() -> None:
    field = np.random.default_rng(0).random((6, 9, 4)).astype(np.float32)
    means = block_means(field, (2, 3, 1))
    assert means.dtype == np.float32
    assert means.shape == (3, 3, 4)
    assert means[1, 2, 3] == pytest.approx(field[2:4, 6:9, 3].mean())
    assert 6 * means.sum() == pytest.approx(field.sum(), rel=1e-5)


def test_the_last_block_can_be_smaller() -> None:
    assert block_means(np.arange(5, dtype=np.float32), (3,)).tolist() == [1.0, 3.5]
