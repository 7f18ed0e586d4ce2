"""Removal of components far from the heart, on small label maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.repair.changes import ORIGINAL_KEPT, Change
from heartmend.repair.far_components import without_far_components

HEART = load_anatomy("heart")
MYO, LA, LV, RA, RV, AORTA, PA, LAA, CORONARY, PV = range(1, 11)


def heart(shape: tuple[int, int, int] = (60, 30, 30)) -> np.ndarray:
    """A heart of five touching blocks of 6 voxels a side at one end of the volume."""
    labels = np.zeros(shape, dtype=np.uint8)
    for number, id in enumerate((LA, LV, RA, RV, PV)):
        labels[2 + 6 * (number % 2) : 8 + 6 * (number % 2), 2:8, 2 + 6 * (number // 2) : 8 + 6 * (number // 2)] = id
    return labels


def clean(labels: np.ndarray, **more: object) -> tuple[np.ndarray, list[Change]]:
    original = labels.copy()
    result, changes = without_far_components(labels, Grid(labels.shape, np.eye(4)), HEART, **more)  # type: ignore[arg-type]
    assert np.array_equal(labels, original)
    return result, changes


def test_a_far_region_goes_even_where_it_is_larger_than_its_structure() -> None:
    labels = heart()
    expected = labels.copy()
    labels[40:60, :20, :20] = LV
    result, changes = clean(labels)
    assert np.array_equal(result, expected)
    (change,) = changes
    assert (change.structure, change.action, change.voxels, change.volume_mm3) == ("LV", "removed", 8000, 8000)
    assert change.severity == "review" and change.box_mm[0][0] == 39.5


def test_what_is_within_10_mm_of_the_heart_stays() -> None:
    labels = heart()
    labels[20:24, 2:8, 2:8] = LV  # 6 voxels of background between
    result, changes = clean(labels)
    assert result is labels and not changes


def test_small_far_components_are_one_change() -> None:
    labels = heart()
    labels[40, 5, 5] = labels[58, 25, 25] = labels[58, 2, 2] = RA
    result, changes = clean(labels)
    assert np.array_equal(result, heart())
    assert [(c.structure, c.voxels, c.severity) for c in changes] == [("RA", 3, "info")]


def test_a_structure_that_the_heart_lacks_stays_with_a_warning() -> None:
    labels = heart()
    labels[40:46, 2:8, 2:8] = PA
    result, changes = clean(labels)
    assert np.array_equal(result, labels)
    assert [(c.structure, c.action, c.severity) for c in changes] == [("PA", ORIGINAL_KEPT, "warning")]


def test_a_second_part_that_the_anatomy_expects_stays() -> None:
    labels = heart()
    labels[2:8, 8:14, 2:8] = AORTA
    labels[40:46, 2:8, 2:8] = AORTA  # a descending aorta without its arch
    labels[40:43, 20:23, 20:23] = AORTA  # a false positive: an eighth of it
    result, _ = clean(labels)
    labels[40:43, 20:23, 20:23] = 0
    assert np.array_equal(result, labels)


def test_a_vein_far_from_the_atrium_that_it_must_touch_goes() -> None:
    labels = heart()
    labels[40:46, 2:8, 2:8] = PV
    assert np.array_equal(clean(labels)[0], heart())


def test_in_a_map_of_vessels_alone_nothing_is_far() -> None:
    """The two trees of coronary arteries without a heart, 30 mm apart."""
    labels = np.zeros((60, 12, 12), np.uint8)
    labels[2:14, 4:7, 4:7], labels[44:50, 4:7, 4:7] = 9, 9
    cleaned, changes = without_far_components(labels, Grid(labels.shape, np.eye(4)), load_anatomy("heart"))
    assert cleaned is labels and changes == []
    labels[2:14, 7:11, 4:7] = 6
    assert without_far_components(labels, Grid(labels.shape, np.eye(4)), load_anatomy("heart"))[1]


def test_a_second_heart_stays() -> None:
    labels = heart()
    labels[40:54] = np.roll(heart(), 38, axis=0)[40:54]
    result, changes = clean(labels)
    assert result is labels and not changes


def test_only_the_wanted_structures_change() -> None:
    labels = heart()
    labels[40:46, 2:8, 2:8], labels[40:46, 20:26, 2:8] = LV, RA
    result, changes = clean(labels, structures=("RA",))
    labels[40:46, 20:26, 2:8] = 0
    assert np.array_equal(result, labels)
    assert [c.structure for c in changes] == ["RA"]


def test_ids_that_the_anatomy_does_not_have_stay() -> None:
    labels = heart()
    labels[50, 5, 5] = 99
    result, changes = clean(labels)
    assert result is labels and not changes


@pytest.mark.parametrize("spacing", [0.3, 1.0, 3.5])
def test_distances_are_in_mm(spacing: float) -> None:
    labels = heart()
    labels[40:44, 2:6, 2:6] = LV  # 26 voxels away: 7.8, 26 and 91 mm
    grid = Grid(labels.shape, np.diag([spacing] * 3 + [1.0]))
    result, _ = without_far_components(labels, grid, HEART)
    assert (result is labels) == (spacing == 0.3)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(3)), st.lists(st.booleans(), min_size=3, max_size=3), st.integers(0, 2**32 - 1))
def test_the_order_and_direction_of_the_axes_do_not_matter(order: list[int], flips: list[bool], seed: int) -> None:
    labels, rng = heart(), np.random.default_rng(seed)
    for id in (LV, RA, PV):
        x, y, z = (int(rng.integers(low, high)) for low, high in ((30, 56), (0, 26), (0, 26)))
        labels[x : x + 4, y : y + 4, z : z + 4] = id
    axes = tuple(axis for axis in range(3) if flips[axis])
    turned = np.flip(labels.transpose(order), axes)
    assert np.array_equal(clean(turned)[0], np.flip(clean(labels)[0].transpose(order), axes))
