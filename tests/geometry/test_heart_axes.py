"""Tests of the axes of the heart and of the planes of cardiac imaging."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from heartmend.geometry.grid import Grid
from heartmend.geometry.heart_axes import HeartAxes, find_heart_axes
from heartmend.types import Mask
from support.hearts import upright_heart

SHAPE = (80, 60, 80)
GRID = Grid(SHAPE, np.eye(4))
Masks = tuple[Mask, Mask, Mask]


def phantom() -> Masks:
    """LV with its mitral plane between z = 50 and 51, LA above it, RV at greater x."""
    labels = upright_heart()
    return labels == 3, labels == 2, labels == 5


def axes_of(masks: Masks, grid: Grid = GRID) -> HeartAxes:
    found = find_heart_axes(*masks, grid)
    assert found is not None
    return found


def test_the_long_axis_is_from_the_mitral_plane_to_the_apex() -> None:
    found = axes_of(phantom())
    assert found.base_mm == pytest.approx((40, 30, 50.5))
    assert found.apex_mm[:2] == pytest.approx((40, 30))
    # The tip is at z = 20; the apex is the mean of the lowest 18 or more voxels.
    assert 20 <= found.apex_mm[2] < 22
    assert found.long == pytest.approx((0, 0, -1)) and found.septal == pytest.approx((1, 0, 0))


def test_the_planes_show_each_wall_where_it_is_expected() -> None:
    """Left is away from the right ventricle (-x); long is down (-z); so anterior is (0, 0, -1) x (-1, 0, 0) = +y."""
    short, four, two = axes_of(phantom()).planes()
    assert (short.right.tolist(), short.up.round(9).tolist()) == ([-1, 0, 0], [0, 1, 0])
    assert four.right == pytest.approx((-1, 0, 0)) and four.up == pytest.approx((0, 0, -1))
    assert two.right == pytest.approx((0, 1, 0)) and two.up == pytest.approx((0, 0, -1))
    # The short axis is seen from the apex, from below.
    assert np.cross(short.right, short.up) == pytest.approx((0, 0, -1))
    for plane in (short, four, two):
        assert plane.centre_mm[:2] == pytest.approx((40, 30)) and plane.right @ plane.up == pytest.approx(0)


def test_the_axes_turn_with_the_heart() -> None:
    turn = Rotation.from_euler("xyz", (0.4, -0.7, 1.1)).as_matrix()
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn, (5, -70, 11)
    found, turned = axes_of(phantom()), axes_of(phantom(), Grid(SHAPE, affine))
    assert turned.long == pytest.approx(turn @ found.long) and turned.septal == pytest.approx(turn @ found.septal)
    assert turned.base_mm == pytest.approx(turn @ found.base_mm + affine[:3, 3])


def test_there_are_no_axes_without_the_mitral_plane_or_a_right_ventricle() -> None:
    left_ventricle, left_atrium, right_ventricle = phantom()
    empty = np.zeros(SHAPE, bool)
    assert find_heart_axes(left_ventricle, empty, right_ventricle, GRID) is None
    assert find_heart_axes(left_ventricle, np.roll(left_atrium, 3, axis=2), right_ventricle, GRID) is None
    assert find_heart_axes(left_ventricle, left_atrium, empty, GRID) is None
    assert find_heart_axes(left_ventricle, left_atrium, np.roll(right_ventricle, -20, axis=0), GRID) is None
