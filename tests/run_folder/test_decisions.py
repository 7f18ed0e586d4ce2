"""Tests of the database of decisions."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from heartmend.errors import BadInputError, ConflictError, RunError
from heartmend.run_folder.decision_records import DecisionBatch, DecisionRequest, Undone, now, parse_time
from heartmend.run_folder.decisions import Decisions


def request(
    structure: str = "LA", choice: str = "accept", follows: int = 0, case: str = "1", note: str = ""
) -> DecisionRequest:
    return DecisionRequest(case, structure, choice, note, "stamp", follows)  # type: ignore[arg-type]


@pytest.fixture
def decisions(tmp_path: Path) -> Decisions:
    return Decisions(tmp_path / "decisions.sqlite")


def test_a_written_decision_is_current_with_reviewer_and_time(decisions: Decisions) -> None:
    (first,) = decisions.write([request(note="fine")], "Anna")
    again = Decisions(decisions.path)
    assert again.current() == [first]
    assert (first.choice, first.reviewer, first.note) == ("accept", "Anna", "fine")
    assert first.decided_at.endswith("+00:00")
    (second,) = again.write([request(choice="reject", follows=first.number)], "Ben")
    assert again.current() == [second]
    assert again.history() == [first, second]
    assert again.current(since=first.number) == [second]
    assert again.current(since=second.number) == []


def test_a_request_that_does_not_follow_the_current_decision_is_a_conflict_and_writes_nothing(
    decisions: Decisions,
) -> None:
    (first,) = decisions.write([request()], "Anna")
    with pytest.raises(ConflictError, match=r"1 LA \(accept, Anna\)") as caught:
        decisions.write([request("LV", "reject"), request("LA", "reject")], "Ben")
    assert caught.value.newer == (first,)
    assert decisions.current() == [first]


def test_undo_restores_batch_by_batch_and_only_of_the_same_reviewer(decisions: Decisions) -> None:
    (a,) = decisions.write([request("LA", "accept", note="n")], "Anna")
    decisions.write([request("RA", "correct")], "Ben")
    both = decisions.write([request("LA", "reject", a.number), request("LV", "reject")], "Anna")
    assert [(d.structure, d.choice, d.note) for d in decisions.undo("Anna").restored] == [
        ("LA", "accept", "n"),
        ("LV", "open", ""),
    ]
    assert {d.structure: d.choice for d in decisions.current()} == {"LA": "accept", "LV": "open", "RA": "correct"}
    assert [(d.structure, d.choice) for d in decisions.undo("Anna").restored] == [("LA", "open")]
    assert decisions.undo("Anna") == Undone()
    assert {d.structure: d.choice for d in decisions.current()} == {"LA": "open", "LV": "open", "RA": "correct"}
    assert set(both) <= set(decisions.history())


def test_undo_keeps_a_later_decision_of_another_reviewer(decisions: Decisions) -> None:
    (a,) = decisions.write([request()], "Anna")
    (b,) = decisions.write([request(choice="reject", follows=a.number)], "Ben")
    with pytest.raises(ConflictError):
        decisions.undo("Anna")
    assert decisions.current() == [b]


@pytest.mark.parametrize(
    ("requests", "reviewer", "message"),
    [
        ([request(choice="perhaps")], "Anna", "'perhaps'"),
        ([request(note="x" * 2001)], "Anna", "2001 characters; at most 2000"),
        ([request()], "  ", "1 to 80 characters"),
        ([request("RA"), request(), request()], "Anna", r"decided more than once: 1 LA \(entries 2, 3\)"),
        ([request(note="a\0b")], "Anna", "the note has a character that cannot be stored"),
        ([request(note="\ud800")], "Anna", "the note has a character that cannot be stored"),
        ([request(case="1" * 301)], "Anna", "the case id has 301 characters; at most 300"),
        ([], "A\0", "the reviewer has a character"),
    ],
)
def test_an_invalid_request_is_an_error(
    decisions: Decisions, requests: list[DecisionRequest], reviewer: str, message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        decisions.write(requests, reviewer)
    assert decisions.history() == []


@pytest.mark.parametrize(
    "text",
    [
        "yesterday", "", "2026", "2026-02-30T00:00:00Z", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00",
        "2026-01-01T00:00Z", "2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00z", "20260101T000000Z", "2026-W01-1",
        "٢٠٢٦-01-01T00:00:00Z", "2026-01-01T00:00:00Z\n", "2026-01-01T24:00:00Z", "9" * 10_000,
        "9999-12-31T23:59:59Z", "9999-12-31T23:59:59+00:00",
    ],
)  # fmt: skip
def test_a_wrong_time_is_an_error(decisions: Decisions, text: str) -> None:
    with pytest.raises(BadInputError, match=r"is no time|in the future"):
        decisions.write([request()], "Anna", text)
    assert decisions.history() == []


def test_a_time_is_at_most_a_day_ahead() -> None:
    assert parse_time(now()) <= datetime.now(UTC)
    clock = datetime.now(UTC)
    assert parse_time((clock + timedelta(hours=23)).isoformat()) == clock + timedelta(hours=23)
    with pytest.raises(BadInputError, match="in the future; correct it, or the clock"):
        parse_time((clock + timedelta(hours=25)).isoformat())


@pytest.mark.parametrize("fault", ["conflict", "unknown", "repeated", "time", "reviewer"])
def test_all_batches_are_written_or_none(decisions: Decisions, fault: str) -> None:
    decisions.write([request("RA")], "Ben")
    first = DecisionBatch([request("LA"), request("LV")], "Anna", "2026-01-01T00:00:00+00:00")
    last = {
        "conflict": DecisionBatch([request("RA")], "Anna"),
        "unknown": DecisionBatch([request("RV", follows=7)], "Anna"),
        "repeated": DecisionBatch([request("LA")], "Ben"),
        "time": DecisionBatch([request("RV")], "Anna", "9999-01-01T00:00:00+00:00"),
        "reviewer": DecisionBatch([request("RV")], ""),
    }[fault]
    with pytest.raises((ConflictError, BadInputError)):
        decisions.write_batches([first, last])
    assert [d.structure for d in decisions.history()] == ["RA"]
    assert [d.structure for d in decisions.write_batches([first])] == ["LA", "LV"]


def test_a_damaged_file_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "d.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(RunError, match=r"d\.sqlite"):
        Decisions(tmp_path / "d.sqlite")


def test_a_database_of_the_first_version_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "decisions.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE decisions (number INTEGER, case_id TEXT, choice TEXT)")
        database.commit()
    with pytest.raises(RunError, match="schema version 1, this version of Heartmend reads version 3"):
        Decisions(path)


def test_a_database_of_the_second_version_is_read_and_gets_changes(tmp_path: Path) -> None:
    path = tmp_path / "decisions.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.executescript("""
            CREATE TABLE decisions (
                number INTEGER PRIMARY KEY AUTOINCREMENT, case_id TEXT NOT NULL, structure TEXT NOT NULL,
                choice TEXT NOT NULL, note TEXT NOT NULL, reviewer TEXT NOT NULL, decided_at TEXT NOT NULL,
                stamp TEXT NOT NULL, batch INTEGER NOT NULL, undoes INTEGER, restores INTEGER);
            CREATE INDEX newest ON decisions (case_id, structure, number);
            INSERT INTO decisions VALUES (1, '1', 'LA', 'reject', 'n', 'Anna', '2026-01-01T00:00:00+00:00', 's', 1,
                NULL, NULL);
            PRAGMA user_version = 2;
        """)
    decisions = Decisions(path)
    (old,) = decisions.current()
    assert (old.target, old.choice, old.note) == (("1", "LA", ""), "reject", "n")
    decisions.write([DecisionRequest("1", "LA", "accept", "", "stamp", 0, "c1")], "Ben")
    assert {(d.change, d.choice) for d in Decisions(path).current()} == {("", "reject"), ("c1", "accept")}


def test_changes_and_their_structure_are_decided_independently(decisions: Decisions) -> None:
    one = DecisionRequest("1", "LA", "reject", "", "stamp", 0, "c1")
    (whole,) = decisions.write([request()], "Anna")
    (change,) = decisions.write([one], "Anna")
    assert decisions.current() == [whole, change]
    with pytest.raises(ConflictError):
        decisions.write([one], "Ben")
    undone = decisions.undo("Anna")
    assert [(d.change, d.choice) for d in undone.undone] == [("c1", "reject")]
    assert [(d.change, d.choice) for d in undone.restored] == [("c1", "open")]
    assert whole in decisions.current()


def test_undo_returns_the_note_that_it_took_back(decisions: Decisions) -> None:
    (flag,) = decisions.write([request("RA", "correct")], "Anna")
    decisions.write([request("RA", "correct", flag.number, note="lateral wall")], "Anna")
    found = decisions.undo("Anna")
    assert [(d.choice, d.note) for d in found.undone] == [("correct", "lateral wall")]
    assert [(d.choice, d.note) for d in found.restored] == [("correct", "")]


def test_a_corrected_map_that_was_replaced_cannot_be_restored(decisions: Decisions) -> None:
    (first,) = decisions.write([request(choice="corrected")], "Anna")
    (second,) = decisions.write([request(choice="corrected", follows=first.number)], "Anna")
    with pytest.raises(BadInputError, match="1 LA: the corrected map before this one was replaced"):
        decisions.undo("Anna")
    decisions.write([request(choice="corrected", follows=second.number, note="apex")], "Anna")
    assert [d.note for d in decisions.undo("Anna").restored] == [""]


def test_a_written_decision_survives_the_kill_of_its_process(decisions: Decisions) -> None:
    code = f"""
import sys
from pathlib import Path
from heartmend.run_folder.decision_records import DecisionRequest
from heartmend.run_folder.decisions import Decisions
database = Decisions(Path({str(decisions.path)!r}))
for n in range(1000):
    database.write([DecisionRequest(str(n), "LA", "accept", "", "", 0)], "Anna")
    print(n, flush=True)
"""
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    numbers = [int(writer.stdout.readline()) for _ in range(5)]
    os.kill(writer.pid, signal.SIGKILL)
    numbers += [int(line) for line in writer.stdout.read().split()]
    writer.wait()
    assert {str(n) for n in numbers} <= {d.case for d in decisions.current()}
    decisions.write([request(case="after")], "Anna")
