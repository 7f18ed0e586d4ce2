"""Tests of the facts about a run: command, dates, versions, review."""

from datetime import UTC, datetime
from pathlib import Path

from heartmend.report.changes import change_of
from heartmend.report.provenance import review_text, run_facts
from heartmend.run_folder.decision_records import DecisionRequest
from heartmend.run_folder.decisions import open_decisions
from heartmend.run_folder.finished import FinishedRun
from heartmend.run_folder.folder import RunFolder
from support.runs import finished_run


def test_the_command_has_no_folders_of_this_machine_and_the_times_are_those_of_the_history(tmp_path: Path) -> None:
    out = finished_run(tmp_path)
    run = RunFolder.at(out)
    finished = FinishedRun.open(out)
    changes = [change_of(finished, case) for case in finished]
    now = datetime(2026, 1, 31, 12, 5, tzinfo=UTC)
    assert [name for name, _ in run_facts(finished, changes, now)] == ["versions", "report", "review"]
    run.note_start(("heartmend", "run", str(tmp_path / "labels"), "--output", f"{out}/"))
    run.note_start(("heartmend", "run", str(tmp_path / "labels"), "--output", str(out), "--device", "cpu"))
    run.write_versions()
    facts = dict(run_facts(finished, changes, now))
    assert facts["command"] == "heartmend run labels --output out --device cpu"
    assert facts["run"].startswith("started 20") and "; last continued 20" in facts["run"]
    assert facts["report"].startswith("written 2026-01-31 12:05 UTC with Heartmend ")
    assert facts["versions"].startswith("Heartmend ") and "Python 3." in facts["versions"]


def test_decisions_are_counted_by_choice_and_reviewer(tmp_path: Path) -> None:
    finished = FinishedRun.open(finished_run(tmp_path))
    changes = [change_of(finished, case) for case in finished]
    # LA, LV, RA and RV of three cases; the second one has no RA, so nothing moved from it to the LA.
    assert sum(len(c.changed_structures) for c in changes) == 10
    assert review_text(finished, changes) == "nothing is decided yet; 10 changed structures in 3 cases"
    database, stamp = open_decisions(finished), finished.stamp(finished.cohort["1"])
    database.write([DecisionRequest("1", "LV", "accept", "", stamp, 0)], "Anna")
    database.write([DecisionRequest("1", "LA", "reject", "", stamp, 0)], "Anna")
    database.write([DecisionRequest("1", "RV", "correct", "", stamp, 0)], "Ben")
    database.write([DecisionRequest("3", "RV", "accept", "", "of an earlier map", 0)], "Ben")
    text = review_text(finished, changes)
    assert (
        text
        == "3 structures decided by Anna (2), Ben (1): 1 accepted, 1 rejected, 1 to be corrected; 7 structures open"
    )
