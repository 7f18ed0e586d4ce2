"""The change log as a JSON file."""

import json

from hypothesis import given
from hypothesis import strategies as st

from heartmend.repair.acceptance import Verdict
from heartmend.repair.change_log import (
    ChangeLog,
    change_log_from_json,
    change_log_to_json,
)
from heartmend.repair.changes import Change

CHANGE = Change("holes", "LA", "filled", 8, 12.5, ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)))
BRIDGE = Change("cut_vessels", "PA", "joined", 90, 81.0, ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), "review", "gap of 4.0 mm")


@given(
    voxels=st.integers(0, 10**6),
    volume=st.floats(0, 1e6),
    corners=st.tuples(*[st.tuples(*[st.floats(-1e3, 1e3)] * 3)] * 2),
    severity=st.sampled_from(["info", "review", "warning"]),
    note=st.text(),
    ratio=st.one_of(st.none(), st.floats(0, 10)),
)
def test_a_log_is_the_same_after_json(voxels, volume, corners, severity, note, ratio) -> None:  # type: ignore[no-untyped-def]
    change = Change("holes", "LA", "filled", voxels, volume, corners, severity, note)
    log = ChangeLog("case 7", (change, CHANGE), (Verdict("LA", ratio is None, ratio, ratio, note),))
    assert change_log_from_json(change_log_to_json(log)) == log


def test_json_contains_place_and_volume_of_each_change() -> None:
    table = json.loads(change_log_to_json(ChangeLog("007", (CHANGE, BRIDGE))))
    assert table["case"] == "007" and table["severity"] == "review"
    assert table["changes"][0]["box_mm"] == [[1, 2, 3], [4, 5, 6]]
    assert table["changes"][1]["volume_mm3"] == 81


def test_a_rejected_mask_has_the_severity_warning() -> None:
    assert ChangeLog("a").severity == "info"
    assert ChangeLog("a", (CHANGE,), (Verdict("LA", False, 3.0, 1.0, "too large"),)).severity == "warning"
