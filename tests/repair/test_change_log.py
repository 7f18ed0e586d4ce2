"""The audit as a file and as a person reads it."""

import json
from io import StringIO

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from heartmend.repair.acceptance import Verdict
from heartmend.repair.change_log import ChangeLog, change_log_from_json, change_log_to_json, explain, summary_table
from heartmend.repair.changes import Change

CHANGE = Change("holes", "LA", "filled", 8, 12.5, ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)))
BRIDGE = Change("cut_vessels", "PA", "joined", 90, 81.0, ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), "review", "4.0 mm apart")


def shown(what: RenderableType) -> str:
    console = Console(file=StringIO(), width=120)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined]


@given(
    voxels=st.integers(0, 10**6),
    volume=st.floats(0, 1e6),
    corners=st.tuples(*[st.tuples(*[st.floats(-1e3, 1e3)] * 3)] * 2),
    severity=st.sampled_from(["info", "review", "warning"]),
    note=st.text(),
    ratio=st.one_of(st.none(), st.floats(0, 10)),
)
def test_it_goes_through_json_and_back(voxels, volume, corners, severity, note, ratio) -> None:  # type: ignore[no-untyped-def]
    change = Change("holes", "LA", "filled", voxels, volume, corners, severity, note)
    audit = ChangeLog("case 7", (change, CHANGE), (Verdict("LA", ratio is None, ratio, ratio, note),))
    assert change_log_from_json(change_log_to_json(audit)) == audit


def test_the_json_says_what_where_and_how_much() -> None:
    table = json.loads(change_log_to_json(ChangeLog("007", (CHANGE, BRIDGE))))
    assert table["case"] == "007" and table["severity"] == "review"
    assert table["changes"][0]["box_mm"] == [[1, 2, 3], [4, 5, 6]]
    assert table["changes"][1]["volume_mm3"] == 81


def test_a_mask_that_was_not_taken_is_a_warning() -> None:
    assert ChangeLog("a").severity == "info"
    assert ChangeLog("a", (CHANGE,), (Verdict("LA", False, 3.0, 1.0, "too large"),)).severity == "warning"


def test_a_person_can_read_it() -> None:
    audit = ChangeLog("007", (CHANGE, BRIDGE), (Verdict("RV", False, 3.0, 1.0, "volume is 3.00"),))
    text = shown(explain(audit))
    for part in ("007: 2 of 2 changes", "holes", "filled", "joined", "4.0 mm apart", "2, 4, 4", "RV: kept as it came"):
        assert part in text
    text = shown(explain(audit, least="review"))
    assert "1 of 2 changes" in text and "holes" not in text


def test_a_cohort_is_summed_up() -> None:
    text = shown(summary_table([ChangeLog("1", (CHANGE, CHANGE)), ChangeLog("2", (CHANGE, BRIDGE))]))
    row = next(line.split() for line in text.splitlines() if "holes" in line)
    assert row == ["holes", "LA", "filled", "2", "3", "38", "0", "0"]
