"""Borders of scans inside the array, on a ball of three structures that a plane cuts."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.repair.changes import Change
from heartmend.repair.scan_border import name_scan_border

HEART = load_anatomy("heart")
RA, AORTA, PA = 4, 6, 7
SHAPE = (90, 90, 90)


def remarks(beyond: np.ndarray, size: int = 90) -> list[Change]:
    points = np.indices(SHAPE) - 46.0
    labels = np.where(np.linalg.norm(points, axis=0) <= 30, AORTA, 0).astype(np.uint8)
    labels[(labels > 0) & (points[0] > 8)] = RA
    labels[(labels > 0) & (points[0] < -8)] = PA
    labels[:, beyond] = 0
    labels = np.ascontiguousarray(labels[:, :, :size])
    grid = Grid(labels.shape, np.eye(4))
    roi = Roi.around(labels, grid, HEART, 10)
    return name_scan_border(np.ascontiguousarray(labels[roi.source_box()]), roi, HEART)


Y, Z = np.ogrid[:90, :90]
OBLIQUE, STRAIGHT, NOTHING = (Y - 46) * 0.4 + (Z - 46) * 0.92 > 15, (Z > 61) & (Y >= 0), (Y < 0) & (Z < 0)


@pytest.mark.parametrize(("beyond", "is_oblique"), [(OBLIQUE, True), (STRAIGHT, False)])
def test_each_structure_at_the_plane_is_named(beyond: np.ndarray, is_oblique: bool) -> None:
    found = remarks(beyond)
    assert {one.structure for one in found} == {"Aorta", "PA", "RA"} and {one.action for one in found} == {"cut off"}
    assert all(("an oblique plane" in one.note) == is_oblique and "inside the array" in one.note for one in found)


def test_a_whole_heart_has_no_remark() -> None:
    assert remarks(NOTHING) == []


def test_the_border_of_the_array_is_left_to_the_rule() -> None:
    assert remarks(NOTHING, size=62) == []
