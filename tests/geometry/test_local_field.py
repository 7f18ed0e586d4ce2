"""Fields on a box of a volume."""

import numpy as np
import pytest

from heartmend.geometry.boxes import Box
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.local_field import LocalField

BOX: Box = (slice(2, 5), slice(1, 4), slice(3, 6))


@pytest.fixture
def field() -> LocalField:
    values = np.random.default_rng(0).normal(size=(3, 3, 3)).astype(np.float32)
    return LocalField(values, BOX, (7, 6, 8))


def test_the_whole_field_has_the_values_in_its_box(field: LocalField) -> None:
    whole = field.whole(-8.0)
    assert whole.shape == (7, 6, 8)
    assert (whole[BOX] == field.values).all()
    assert (whole == -8).sum() == whole.size - field.values.size


@pytest.mark.parametrize("start", [0, 2, 4])
def test_the_values_on_another_box_are_those_of_the_whole_field(field: LocalField, start: int) -> None:
    box = (slice(start, start + 3), slice(0, 6), slice(4, 5))
    assert (field.on(box, -8.0) == field.whole(-8.0)[box]).all()


def test_a_box_beside_the_field_is_outside(field: LocalField) -> None:
    assert (field.on((slice(5, 7), slice(0, 1), slice(0, 3)), -1.0) == -1).all()


def test_a_cropped_field_keeps_its_place(field: LocalField) -> None:
    inner = field.cropped((slice(1, 3), slice(0, 2), slice(1, 2)))
    assert inner.box == (slice(3, 5), slice(1, 3), slice(4, 5))
    assert (inner.values == field.whole(0.0)[inner.box]).all()


def test_a_whole_volume_is_its_own_field() -> None:
    volume = np.random.default_rng(1).normal(size=(3, 4, 5)).astype(np.float32)
    assert (LocalField.of_whole(volume).whole(-8.0) == volume).all()


@pytest.mark.parametrize("keep_inside", [False, True])
def test_the_distance_map_of_a_field_is_that_of_the_whole_volume(field: LocalField, keep_inside: bool) -> None:
    field.values[0, 0, 0] = 0.001
    found = DistanceMap.of_field(field, keep_inside=keep_inside)
    expected = DistanceMap.of_mm(field.whole(-8.0), keep_inside=keep_inside)
    assert (found.steps == expected.steps).all() and found.inside[2, 1, 3] == keep_inside
