"""Tables of changes for a terminal."""

from dataclasses import replace
from io import StringIO

from rich.console import Console, RenderableType

from heartmend.repair.acceptance import Verdict
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.change_table import change_table, summary_table, worst_first
from heartmend.repair.changes import Change

SMALL = Change("holes", "LA", "filled", 8, 12.5, ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)))
LARGE = replace(SMALL, structure="PA", volume_mm3=1677.0, box_mm=((-300.0, -280.0, 60.0), (-162.0, -158.0, 70.0)))
BRIDGE = Change("cut_vessels", "PA", "joined", 90, 81.0, ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), "review", "gap of 4.0 mm")
WARNED = replace(BRIDGE, severity="warning", structure="", volume_mm3=3.0)


def lines_of(renderable: RenderableType, width: int = 80) -> list[str]:
    console = Console(file=StringIO(), width=width)
    console.print(renderable)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_the_most_severe_and_the_largest_change_comes_first() -> None:
    assert worst_first([SMALL, BRIDGE, LARGE, WARNED]) == [WARNED, BRIDGE, LARGE, SMALL]


def test_small_changes_are_summed_by_rule_unless_all_are_wanted() -> None:
    others = [replace(SMALL, structure=name) for name in ("LA", "LV", "RA", "RV")]
    log = ChangeLog("007", (SMALL, *others, LARGE, BRIDGE), (Verdict("RV", False, 3.0, 1.0, "3 times as large"),))
    lines = lines_of(change_table(log))
    assert lines[0] == "007: 7 changes, 5 of them small (--all lists them)"
    assert lines[1] == "RV: original kept: 3 times as large"
    rows = [line.split() for line in lines[5:] if line]
    assert rows[0][:7] == ["review", "PA", "81", "2", "4", "4", "joined"]
    # The note goes on in the next line.
    assert " ".join([*rows[0], *rows.pop(1)]).endswith("joined (cut_vessels): gap of 4.0 mm")
    assert rows[1] == ["PA", "1,677", "-231", "-219", "65", "filled", "(holes)"]
    # 5 x 12.5 mm3 in LA, LV, RA and RV.
    assert rows[2][:6] == ["4", "structures", "62", "5", "small", "changes:"]
    assert "LA, LV, RA and 1 more" in " ".join(" ".join(row) for row in rows[2:])
    everything = lines_of(change_table(log, show_all=True))
    assert everything[0] == "007: 7 changes" and sum("filled (holes)" in line for line in everything) == 6


def test_a_case_without_a_change_has_no_table() -> None:
    assert lines_of(change_table(ChangeLog("1"))) == ["1: 0 changes"]


def test_the_summary_counts_cases_and_changes_and_has_the_worst_first() -> None:
    logs = [ChangeLog("1", (SMALL, SMALL, LARGE)), ChangeLog("2", (SMALL, BRIDGE), (Verdict("RV", False, 3, 1, "x"),))]
    lines = lines_of(summary_table(logs))
    rows = [line.split() for line in lines[4:] if line]
    assert rows == [
        ["acceptance", "RV", "original", "kept", "1", "1"],
        ["cut_vessels", "PA", "joined", "1", "1", "81", "1"],
        ["holes", "PA", "filled", "1", "1", "1,677"],
        ["holes", "LA", "filled", "2", "3", "38"],
    ]


def test_both_tables_fit_80_columns_without_a_cut_word() -> None:
    long = replace(BRIDGE, rule="field_of_view", structure="Myocardium", action="moved to neighbours", volume_mm3=24e3)
    for table in (change_table(ChangeLog("1", (long,))), summary_table([ChangeLog("1", (long,) * 30)])):
        lines = lines_of(table)
        assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines)
