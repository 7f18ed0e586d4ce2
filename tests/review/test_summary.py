"""Tests of the summary of a case for its review, with values computed by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.repair.acceptance import Verdict
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.change_voxels import split_into_changes
from heartmend.repair.changes import Change
from heartmend.review.priority import ReviewPriority
from heartmend.review.summary import DisplayedChanges, ReviewSummary, by_priority, summarise_case

GRID = Grid((20, 10, 10), np.array([[-2.0, 0, 0, 50], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]))
HEART = load_anatomy("heart")


def maps() -> tuple[np.ndarray, np.ndarray]:
    """An LA of 100 voxels that loses 4 to the background and gains 10 of 20 from the RA; an LV that stays."""
    before = np.zeros(GRID.shape, dtype=np.uint8)
    before[0:10, 0:10, 0] = 2
    before[0:2, 0:10, 5] = 4
    before[19, 5, 5] = 3
    after = before.copy()
    after[8, 0:4, 0] = 0
    after[0, 0:10, 5] = 2
    return before, after


def summary(change_log: ChangeLog | None = None) -> ReviewSummary:
    before, after = maps()
    log = change_log or ChangeLog("7")
    changes = split_into_changes(before, after, GRID, HEART, log.changes)
    displayed = DisplayedChanges.of(log, changes, changes.volume(before.shape))
    return summarise_case(before, after, GRID, HEART, displayed, "stamp", False)


def test_added_and_removed_volumes_are_in_ml() -> None:
    found = {s.name: (s.before_ml, s.after_ml, s.added_ml, s.removed_ml) for s in summary().structures}
    voxel = 0.008
    assert found == {
        "LA": pytest.approx((100 * voxel, 106 * voxel, 10 * voxel, 4 * voxel)),
        "LV": pytest.approx((voxel, voxel, 0, 0)),
        "RA": pytest.approx((20 * voxel, 10 * voxel, 0, 10 * voxel)),
    }
    assert summary().changed_ml == pytest.approx(14 * voxel)
    assert summary().changed_structures == ("LA", "RA")
    assert summary().priority.changed_fraction == pytest.approx(14 / 121, abs=1e-5)


def test_the_point_of_a_change_is_on_a_changed_voxel() -> None:
    box = ((10.0, -5.0, -5.0), (60.0, 30.0, 30.0))
    unchanged_box = ((12.0, 10.0, 15.0), (14.0, 12.0, 17.0))
    change_log = ChangeLog(
        "7", (Change("swaps", "RA", "moved to LA", 10, 80, box), Change("holes", "LV", "filled", 1, 8, unchanged_box))
    )
    found = summary(change_log)
    before, after = maps()
    at = tuple(np.rint(GRID.world_to_index(found.changes[0].point_mm)).astype(int))
    assert (before[at], after[at]) == (4, 2)
    assert found.changes[1].point_mm == pytest.approx((13, 11, 16)) and not found.changes[1].key
    ra = next(s for s in found.structures if s.name == "RA")
    assert ra.point_mm is not None
    assert before[tuple(np.rint(GRID.world_to_index(ra.point_mm)).astype(int))] == 4


def test_severity_is_the_worst_of_the_changes_and_a_failed_acceptance_test_is_a_warning() -> None:
    box = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    change_log = ChangeLog(
        "7",
        (Change("holes", "LA", "filled", 1, 8, box), Change("tree", "LA", "kept", 0, 0, box, "review")),
        (Verdict("RA", False, 0.5, 7, "volume is 0.5 of what it was"), Verdict("LA", True, 1, 1)),
    )
    found = {s.name: (s.severity, s.acceptance_failure) for s in summary(change_log).structures}
    assert found == {"LA": ("review", ""), "LV": ("info", ""), "RA": ("warning", "volume is 0.5 of what it was")}


def test_a_summary_is_read_as_it_was_written() -> None:
    change_log = ChangeLog("7", (Change("holes", "LV", "filled", 1, 8, ((0, 0, 0), (1, 1, 1)), "review", "n"),))
    assert ReviewSummary.from_dict(json.loads(json.dumps(summary(change_log).to_dict()))) == summary(change_log)


def test_cases_are_sorted_by_descending_priority() -> None:
    """20 for a failed acceptance test, 10 for a warning, 0.5 for a change to review, 50 times the changed fraction."""
    priorities = {
        "c": ReviewPriority(0, 1, 0, 0.02),
        "a": ReviewPriority(1, 0, 0, 0.0),
        "b": ReviewPriority(0, 0, 6, 0.0),
        "d": ReviewPriority(0, 0, 6, 0.0),
    }
    cases = [replace(summary(), case=id, priority=priority) for id, priority in priorities.items()]
    assert [(d.case, d.priority.score) for d in by_priority(cases)] == [("a", 20), ("c", 11), ("b", 3), ("d", 3)]
