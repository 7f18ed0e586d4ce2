"""Fields that are interpolated along one axis."""

import numpy as np
import pytest

from heartmend.geometry.interpolation import interpolate_along


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
