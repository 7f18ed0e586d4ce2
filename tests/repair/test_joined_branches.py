"""What joins two branches of a vessel, between slabs whose volumes are known."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.geometry.grid import Grid
from heartmend.geometry.local_field import LocalField
from heartmend.repair.joined_branches import find_joined_branches

SHAPE = (30, 40, 40)
WHOLE = Grid(SHAPE, np.eye(4))
BRANCHES = (slice(8, 20), slice(6, 14), slice(5, 35)), (slice(8, 20), slice(18, 26), slice(5, 35))
BETWEEN = slice(8, 20), slice(14, 18), slice(5, 20)
"""Two branches, 4 mm apart, and what joins them over half of their length: 12 x 4 x 15 voxels of 1 mm³."""


def label_with(*parts: tuple[slice, ...]) -> np.ndarray:
    label = np.zeros(SHAPE, dtype=bool)
    for part in (*BRANCHES, *parts):
        label[part] = True
    return label


def shape_of(label: np.ndarray, beside_mm: float = -2.0) -> LocalField:
    """The shape of the two branches: 2 mm deep inside, `beside_mm` outside them."""
    return LocalField.of_whole(np.where(label, np.float32(2.0), np.float32(beside_mm)))


def test_what_joins_two_branches_is_found() -> None:
    (found,) = find_joined_branches(label_with(BETWEEN), shape_of(label_with()), [], 0.3, WHOLE)
    assert found.voxels == 12 * 4 * 15
    mask = np.zeros(SHAPE, dtype=bool)
    mask[found.box] = found.mask
    assert mask[BETWEEN].all()


def test_the_same_on_a_box_of_the_volume() -> None:
    cut = slice(4, 25), slice(3, 30), slice(2, 38)
    field = LocalField(shape_of(label_with()).values[cut], cut, SHAPE)
    (found,) = find_joined_branches(label_with(BETWEEN)[cut], field, [], 0.3, WHOLE)
    assert found.box == BETWEEN


@pytest.mark.parametrize(
    "bump",
    [(slice(20, 24), slice(6, 14), slice(5, 20)), (slice(8, 20), slice(26, 30), slice(5, 20))],
    ids=["on top of one branch", "beside it"],
)
def test_noise_on_one_side_is_not(bump: tuple[slice, ...]) -> None:
    assert not find_joined_branches(label_with(bump), shape_of(label_with()), [], 0.3, WHOLE)


def test_a_hole_of_the_shape_is_not() -> None:
    label = label_with(BETWEEN)
    field = shape_of(label)
    field.values[10:18, 8:12, 10:18] = -2.0
    assert not find_joined_branches(label, field, [], 0.3, WHOLE)


def test_what_another_structure_claims_is_not() -> None:
    other = np.full(SHAPE, -8.0, dtype=np.float32)
    other[BETWEEN] = 1.0
    claims = [LocalField.of_whole(other)]
    assert not find_joined_branches(label_with(BETWEEN), shape_of(label_with()), claims, 0.3, WHOLE)


def test_what_a_shape_misses_everywhere_is_not() -> None:
    label, shape = label_with(BETWEEN), shape_of(label_with())
    assert find_joined_branches(label, shape, [], 1.3, WHOLE)
    assert not find_joined_branches(label, shape, [], 1.4, WHOLE), "1.5 times the misfit is more than 2 mm"


def test_a_small_part_is_not() -> None:
    for voxel_mm, is_found in ((0.5, False), (0.6, True)):
        grid = Grid(SHAPE, np.diag([voxel_mm] * 3 + [1.0]))
        found = find_joined_branches(label_with(BETWEEN), shape_of(label_with()), [], 0.3, grid)
        assert bool(found) == is_found, "720 voxels, 90 and 156 mm³"
