"""A case in numbers, by hand."""

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.repair.acceptance import Verdict
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.changes import Change
from heartmend.review.summary import Digest, digest, by_priority
from heartmend.review.priority import Doubt

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


def made(audit: ChangeLog | None = None) -> Digest:
    before, after = maps()
    return digest("7", "stamp", before, after, GRID, HEART, audit or ChangeLog("7"), False)


def test_gains_and_losses_in_ml() -> None:
    found = {s.name: (s.before_ml, s.after_ml, s.gained_ml, s.lost_ml) for s in made().structures}
    voxel = 0.008
    assert found == {
        "LA": pytest.approx((100 * voxel, 106 * voxel, 10 * voxel, 4 * voxel)),
        "LV": pytest.approx((voxel, voxel, 0, 0)),
        "RA": pytest.approx((20 * voxel, 10 * voxel, 0, 10 * voxel)),
    }
    assert made().changed_ml == pytest.approx(14 * voxel)
    assert made().to_decide == ("LA", "RA")
    assert made().doubt.share == pytest.approx(14 / 121, abs=1e-5)


def test_places_lie_on_what_changed() -> None:
    box = ((10.0, -5.0, -5.0), (60.0, 30.0, 30.0))
    nothing_there = ((12.0, 10.0, 15.0), (14.0, 12.0, 17.0))
    audit = ChangeLog(
        "7", (Change("swaps", "RA", "moved to LA", 10, 80, box), Change("holes", "LV", "filled", 1, 8, nothing_there))
    )
    found = made(audit)
    before, after = maps()
    at = tuple(np.rint(GRID.world_to_index(found.places_mm[0])).astype(int))
    assert (before[at], after[at]) == (4, 2)
    assert found.places_mm[1] == pytest.approx((13, 11, 16))
    ra = next(s for s in found.structures if s.name == "RA")
    assert ra.at_mm is not None
    assert before[tuple(np.rint(GRID.world_to_index(ra.at_mm)).astype(int))] == 4


def test_severity_is_that_of_the_gravest_and_of_masks_not_taken() -> None:
    box = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    audit = ChangeLog(
        "7",
        (Change("holes", "LA", "filled", 1, 8, box), Change("tree", "LA", "kept", 0, 0, box, "review")),
        (Verdict("RA", False, 0.5, 7, "volume is 0.5 of what it was"), Verdict("LA", True, 1, 1)),
    )
    found = {s.name: (s.severity, s.kept) for s in made(audit).structures}
    assert found == {"LA": ("review", ""), "LV": ("info", ""), "RA": ("warning", "volume is 0.5 of what it was")}


def test_it_is_read_as_it_was_written() -> None:
    import json

    audit = ChangeLog("7", (Change("holes", "LV", "filled", 1, 8, ((0, 0, 0), (1, 1, 1)), "review", "n"),))
    assert Digest.from_json(json.dumps(made(audit).to_dict())) == made(audit)


def test_the_most_doubtful_comes_first() -> None:
    """By hand: 20 a mask not taken, 10 a warning, a half a remark, 50 times the share."""
    doubts = {"c": Doubt(0, 1, 0, 0.02), "a": Doubt(1, 0, 0, 0.0), "b": Doubt(0, 0, 6, 0.0), "d": Doubt(0, 0, 6, 0.0)}
    cases = [Digest(**{**made().__dict__, "case": id, "doubt": doubt}) for id, doubt in doubts.items()]
    assert [(d.case, d.doubt.score) for d in by_priority(cases)] == [("a", 20), ("c", 11), ("b", 3), ("d", 3)]
