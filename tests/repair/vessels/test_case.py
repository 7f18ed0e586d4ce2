"""Repair of a thin vessel of a case, and the changes that are listed."""

import numpy as np

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.repair.case_volume import CaseVolume
from heartmend.repair.vessels.case import RepairedVessel, repair_vessel

SHAPE = (60, 40, 40)
BOX = tuple(slice(0, n) for n in SHAPE)
CORONARY = load_anatomy("heart").by_name("Coronary")


def vessel(radius: float) -> np.ndarray:
    at = np.indices(SHAPE)
    return (np.hypot(at[1] - 20, at[2] - 20) < radius) & (at[0] > 4) & (at[0] < 55)


def repaired(label: np.ndarray, calibre: Calibre, affine: np.ndarray | None = None) -> RepairedVessel:
    grid = Grid(SHAPE, np.eye(4) if affine is None else affine)
    return repair_vessel(CORONARY, label, {}, CaseVolume(grid, BOX), calibre)


def test_a_vessel_wider_than_the_cohort_is_narrowed_and_listed() -> None:
    calibre = Calibre(1.9, 0.06)
    wide, usual = repaired(vessel(3.1), calibre), repaired(vessel(2.1), calibre)
    assert wide.mask.sum() < 0.6 * vessel(3.1).sum()
    assert wide.reference.sum() < 0.6 * vessel(3.1).sum()
    (change,) = [c for c in wide.changes if c.rule == "calibre"]
    assert (change.action, change.severity) == ("narrowed", "review")
    assert "larger than expected" in change.note
    assert not [c for c in usual.changes if c.rule == "calibre"]
    assert (usual.reference == vessel(2.1)).all()


def test_the_box_of_a_bridge_is_in_mm_of_the_label_map() -> None:
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (100, 10, 20)
    interrupted = vessel(2.1)
    interrupted[28:33] = False
    result = repaired(interrupted, Calibre(2.1, 0.5), affine)
    (bridge,) = [c for c in result.changes if c.action == "bridged"]
    assert bridge.severity == "review"
    low, high = bridge.box_mm
    assert low[0] < 100 - 30 < high[0]
    assert low[1] < 30 < high[1]
    assert result.mask[30, 20, 20]
