"""Thin vessels in a run: the cohort says how wide they are, and what was done is told."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.repair.vessels.case import repair_vessel
from heartmend.run_folder.folder import Run
from heartmend.run_folder.records import calibres_of
from support.hearts import prepared, small_heart

SHAPE = (60, 40, 40)
BOX = tuple(slice(0, n) for n in SHAPE)
CORONARY = load_anatomy("heart").by_name("Coronary")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    (tmp_path / "labels").mkdir()
    with Run.open(tmp_path / "out", tmp_path / "labels") as run:
        yield run


def vessel(radius: float) -> np.ndarray:
    at = np.indices(SHAPE)
    return (np.hypot(at[1] - 20, at[2] - 20) < radius) & (at[0] > 4) & (at[0] < 55)


def test_the_cohort_says_how_wide_whatever_two_labels_say(run: Run) -> None:
    radii = [1.25, 1.3, 1.28, 1.9, 1.22, 1.31, 1.95, 1.27]
    for n, radius in enumerate(radii):
        replace(prepared(str(n), small_heart(1)), radii_mm={"Coronary": radius}).save(run)
    found = calibres_of(run, [str(n) for n in range(len(radii))])
    assert found["Coronary"].mean_mm == pytest.approx(1.27, abs=0.05)


def test_what_is_too_wide_is_drawn_in_and_told() -> None:
    grid = Grid(SHAPE, np.eye(4))
    calibre = Calibre(1.9, 0.06)
    tube = repair_vessel(CORONARY, vessel(3.1), {}, grid, BOX, calibre)
    sound = repair_vessel(CORONARY, vessel(2.1), {}, grid, BOX, calibre)
    assert tube.mask.sum() < 0.6 * vessel(3.1).sum()
    assert tube.drawn_in.sum() < 0.6 * vessel(3.1).sum()
    (change,) = [c for c in tube.changes if c.rule == "calibre"]
    assert (change.action, change.severity) == ("narrowed", "review")
    assert "too wide" in change.note
    assert not [c for c in sound.changes if c.rule == "calibre"]
    assert (sound.drawn_in == vessel(2.1)).all()


def test_a_bridge_is_told_where_it_is_in_the_millimetres_of_the_map() -> None:
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (100, 10, 20)
    broken = vessel(2.1)
    broken[28:33] = False
    tube = repair_vessel(CORONARY, broken, {}, Grid(SHAPE, affine), BOX, Calibre(2.1, 0.5))
    (bridge,) = [c for c in tube.changes if c.action == "bridged"]
    assert bridge.severity == "review"
    low, high = bridge.box_mm
    assert low[0] < 100 - 30 < high[0]
    assert low[1] < 30 < high[1]
    assert tube.mask[30, 20, 20]
