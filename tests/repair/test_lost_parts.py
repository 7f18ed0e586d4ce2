"""Lost parts: what a structure loses far from what remains of it is named once."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.repair.changes import Change
from heartmend.repair.lost_parts import RULE, name_lost_parts

HEART, GRID = load_anatomy("heart"), Grid((60, 20, 20), np.eye(4))
AORTA = 6


def before() -> np.ndarray:
    """A block of aorta with a rod of 4 x 4 voxels that leaves it."""
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    labels[2:20, 2:18, 2:18] = AORTA
    labels[20:58, 8:12, 8:12] = AORTA
    return labels


def without_rod() -> np.ndarray:
    labels = before()
    labels[20:] = 0
    return labels


def test_a_lost_vessel_is_named_with_its_whole_volume() -> None:
    (change,) = name_lost_parts(before(), without_rod(), GRID, HEART, [])
    assert (change.rule, change.structure, change.action, change.severity) == (RULE, "Aorta", "removed", "review")
    assert change.voxels == 38 * 16 and change.box_mm == ((19.5, 7.5, 7.5), (57.5, 11.5, 11.5))


def test_a_surface_that_moved_is_no_lost_part() -> None:
    after = before()
    after[2:4], after[:20, :, 16:], after[:20, 2:4] = 0, 0, 0
    assert not name_lost_parts(before(), after, GRID, HEART, [])


@pytest.mark.parametrize(
    ("structure", "volume_mm3", "is_named"), [("Aorta", 600.0, False), ("LV", 600.0, True), ("Aorta", 50.0, True)]
)
def test_what_a_rule_has_listed_is_not_named_again(structure: str, volume_mm3: float, is_named: bool) -> None:
    box = ((19.5, 0.0, 0.0), (60.0, 20.0, 20.0))
    listed = Change("components", structure, "removed", int(volume_mm3), volume_mm3, box)
    assert bool(name_lost_parts(before(), without_rod(), GRID, HEART, [listed])) is is_named


def test_small_parts_are_not_named() -> None:
    labels = before()
    labels[28:] = 0
    after = labels.copy()
    after[20:] = 0
    labels[24:] = 0  # 64 mm³
    assert not name_lost_parts(labels, after, GRID, HEART, [])
