"""Tests of the split of a difference into changes, with voxels counted by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.repair.change_voxels import RULE, split_into_changes
from heartmend.repair.changes import Change, box_in_mm

HEART = load_anatomy("heart")
GRID = Grid((20, 12, 10), np.array([[-2.0, 0, 0, 50], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]))


def box(*ranges: tuple[int, int]) -> tuple:
    return box_in_mm(tuple(slice(*pair) for pair in ranges), GRID)


def test_each_entry_of_the_log_gets_the_voxels_that_its_action_explains() -> None:
    before = np.zeros(GRID.shape, np.uint8)
    before[0:6, 0:6, 0:6] = 3
    before[2:4, 2:4, 2:4] = 0
    before[10:12, 2:4, 2:4] = 4
    after = before.copy()
    after[2:4, 2:4, 2:4] = 3
    after[10:12, 2:4, 2:4] = 2
    after[5, 0, 0] = 0
    log = (
        Change("holes", "LV", "filled", 8, 64.0, box((0, 6), (0, 6), (0, 6))),
        Change("swaps", "RA", "moved to LA", 8, 64.0, box((10, 12), (2, 4), (2, 4)), "review"),
        Change("components", "PV", "original kept", 0, 0.0, box((10, 12), (2, 4), (2, 4)), "review"),
        Change("holes", "RV", "filled", 3, 24.0, box((0, 2), (0, 2), (0, 2))),
    )
    found = split_into_changes(before, after, GRID, HEART, log)
    listed = [(c.change.rule, c.change.structure, c.change.voxels, c.structures, bool(c.key)) for c in found.changes]
    assert listed == [
        ("holes", "LV", 8, ("LV",), True),
        ("swaps", "RA", 8, ("LA", "RA"), True),
        ("components", "PV", 0, ("PV",), False),
        # Overwritten since: nothing is left to decide.
        ("holes", "RV", 3, ("RV",), False),
        # The lost corner is in the box of the filled hole, but filling explains no loss.
        (RULE, "LV", 1, ("LV",), True),
    ]
    volume = found.volume(before.shape)
    assert (volume[10:12, 2:4, 2:4] == 2).all() and volume[5, 0, 0] == 5 and (volume > 0).sum() == 17


def test_the_smaller_of_two_boxes_is_served_first() -> None:
    before = np.zeros(GRID.shape, np.uint8)
    after = before.copy()
    after[0:10, 5, 5] = 9
    log = (
        Change("tree", "Coronary", "smoothed", 0, 0.0, box((0, 20), (0, 12), (0, 10))),
        Change("tree", "Coronary", "bridged", 0, 0.0, box((4, 7), (4, 7), (4, 7)), "review"),
    )
    found = split_into_changes(before, after, GRID, HEART, log)
    assert [(c.change.action, c.change.voxels) for c in found.changes] == [("smoothed", 7), ("bridged", 3)]


def test_a_negative_count_of_an_older_run_is_a_count() -> None:
    before = np.zeros(GRID.shape, np.uint8)
    after = before.copy()
    after[0:10, 5, 5] = 9
    log = (
        Change("calibre", "Coronary", "widened", -23, -18.0, box((0, 20), (0, 12), (0, 10)), "review"),
        Change("calibre", "LV", "widened", -23, -18.0, box((0, 20), (0, 12), (0, 10)), "review"),
    )
    found = split_into_changes(before, after, GRID, HEART, log)
    assert [(c.change.structure, c.change.voxels) for c in found.changes] == [("Coronary", 10), ("LV", -23)]


def test_specks_all_over_the_heart_do_not_get_the_moved_surface() -> None:
    """The log counts two specks; the box of all of them contains a surface that lost 60 voxels too."""
    before = np.zeros(GRID.shape, np.uint8)
    before[4:10, 0:10, 0:5] = 2
    before[0, 0, 9], before[19, 11, 9] = 2, 2
    after = before.copy()
    after[0, 0, 9], after[19, 11, 9] = 0, 0
    after[4:10, 0:10, 0] = 0
    log = (Change("speckle", "LA", "moved to neighbours", 2, 16.0, box((0, 20), (0, 12), (0, 10))),)
    found = split_into_changes(before, after, GRID, HEART, log)
    assert [(c.change.rule, c.change.voxels) for c in found.changes] == [("speckle", 2), (RULE, 60)]
    assert found.volume(before.shape)[0, 0, 9] == 1 and found.volume(before.shape)[5, 5, 0] == 2


def test_an_entry_about_all_structures_is_one_change_for_each() -> None:
    before = np.zeros(GRID.shape, np.uint8)
    before[0:2], before[4:6] = 2, 3
    after = np.roll(before, 1, axis=2)
    after[0, 0, 0] = 5
    log = (Change("shifts", "", "shifted", 1, 8.0, box((0, 20), (0, 12), (0, 10)), "review"),)
    found = split_into_changes(before, after, GRID, HEART, log)
    assert [(c.change.structure, c.change.voxels) for c in found.changes] == [("RV", 1)]


def test_a_thick_part_of_a_moved_surface_is_a_change_of_its_own() -> None:
    before = np.zeros(GRID.shape, np.uint8)
    after = before.copy()
    after[:, :, 0] = 2
    after[2:8, 2:8, 0:6] = 2
    found = split_into_changes(before, after, GRID, HEART, ())
    thick, rest = found.changes
    assert thick.change.severity == "review" and rest.change.severity == "info"
    assert thick.change.voxels > 150 and thick.change.voxels + rest.change.voxels == (before != after).sum()
    number = found.volume(before.shape)
    assert number[4, 4, 3] == 1 and number[19, 11, 0] == 2


MAPS = arrays(np.uint8, (6, 5, 4), elements=st.integers(0, 4))
SMALL = Grid((6, 5, 4), np.diag([1.0, 1.0, 1.0, 1.0]))


@given(MAPS, MAPS, st.booleans())
def test_every_changed_voxel_belongs_to_one_change_and_keys_follow_the_voxels(
    before: np.ndarray, after: np.ndarray, in_other_order: bool
) -> None:
    everywhere = box_in_mm((slice(0, 3), slice(0, 5), slice(0, 4)), SMALL)
    log = (Change("holes", "LA", "filled", 1, 1.0, everywhere), Change("a", "", "shifted", 1, 1.0, everywhere))
    found = split_into_changes(before, after, SMALL, HEART, log)
    assert found.voxels.tolist() == np.flatnonzero(before != after).tolist()
    for number, one in enumerate(found.changes):
        own = found.voxels[found.numbers == number]
        assert bool(one.key) == (len(own) > 0)
        if one.key:
            values = set(before.ravel()[own]) | set(after.ravel()[own])
            assert {HEART.by_name(name).id for name in one.structures} == values - {0}
            assert one.change.voxels == len(own)
    keys = [one.key for one in found.changes if one.key]
    assert len(set(keys)) == len(keys)
    if in_other_order:
        fortran = split_into_changes(np.asfortranarray(before), np.asfortranarray(after), SMALL, HEART, log)
        assert [one.key for one in fortran.changes] == [one.key for one in found.changes]
    different = after.copy()
    different[0, 0, 0] = (after[0, 0, 0] + 1) % 5
    other = split_into_changes(before, different, SMALL, HEART, log)
    touched = {one.key for n, one in enumerate(found.changes) if 0 in found.voxels[found.numbers == n]}
    assert not touched & {one.key for one in other.changes if one.key}
