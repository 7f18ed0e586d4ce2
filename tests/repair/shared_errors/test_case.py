"""Correction of one case: a movement of a vessel is applied, unless hardly anything would be left of it."""

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.repair.changes import ORIGINAL_KEPT
from heartmend.repair.shared_errors.case import CaseCorrection, CorrectedCase, correct_case
from heartmend.repair.shared_errors.correction import Correction
from heartmend.types import Labels

HEART = load_anatomy("heart")
GRID = Grid((40, 40, 40), np.eye(4))


@pytest.fixture(scope="module")
def labels() -> Labels:
    """A vessel of 5 x 5 voxels."""
    labels = np.zeros(GRID.shape, np.uint8)
    labels[4:36, 18:23, 18:23] = 9
    return labels


def corrected(labels: Labels, shift_mm: float) -> CorrectedCase:
    roi = Roi.around(labels, GRID, HEART)
    correction = Correction(np.zeros((4, 4, 4, 1), np.float32), ("LV",), {"Coronary": shift_mm})
    return correct_case({}, labels[roi.source_box()], roi, HEART, CaseCorrection(correction, lambda points: points))


def test_a_vessel_becomes_thinner_by_the_movement(labels: Labels) -> None:
    result = corrected(labels, -1.0)
    assert result.tubes["Coronary"].sum() == 30 * 3 * 3
    (change,) = result.changes
    assert (change.structure, change.action) == ("Coronary", "moved")
    assert change.voxels == 32 * 25 - 30 * 9


def test_a_movement_that_leaves_hardly_anything_is_not_applied(labels: Labels) -> None:
    result = corrected(labels, -2.0)
    assert not result.tubes
    (change,) = result.changes
    assert (change.action, change.severity) == (ORIGINAL_KEPT, "warning")
    assert "-2.0 mm, which leaves 4 % of it" in change.note
