"""The data base of decisions: nothing is overwritten, nothing is lost."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from heartmend.errors import BadInputError, RunError
from heartmend.run_folder.decisions import ConflictError, DecisionRequest, Decisions


def wish(
    structure: str = "LA", choice: str = "accept", seen: int = 0, case: str = "1", note: str = ""
) -> DecisionRequest:
    return DecisionRequest(case, structure, choice, note, "stamp", seen)  # type: ignore[arg-type]


@pytest.fixture
def decisions(tmp_path: Path) -> Decisions:
    return Decisions(tmp_path / "decisions.sqlite")


def test_what_was_written_holds_with_who_and_when(decisions: Decisions) -> None:
    (first,) = decisions.write([wish(note="fine")], "Anna")
    again = Decisions(decisions.path)
    assert again.current() == [first]
    assert (first.choice, first.who, first.note) == ("accept", "Anna", "fine")
    assert first.at.endswith("+00:00")
    (second,) = again.write([wish(choice="keep", seen=first.number)], "Ben")
    assert again.current() == [second]
    assert again.history() == [first, second]
    assert again.current(since=first.number) == [second]
    assert again.current(since=second.number) == []


def test_whoever_did_not_see_the_newest_is_told_and_writes_nothing(decisions: Decisions) -> None:
    (first,) = decisions.write([wish()], "Anna")
    with pytest.raises(ConflictError, match=r"1 LA \(accept, Anna\)") as caught:
        decisions.write([wish("LV", "keep"), wish("LA", "keep")], "Ben")
    assert caught.value.newer == (first,)
    assert decisions.current() == [first]


def test_undo_takes_back_act_by_act_and_only_ones_own(decisions: Decisions) -> None:
    (a,) = decisions.write([wish("LA", "accept", note="n")], "Anna")
    decisions.write([wish("RA", "manual")], "Ben")
    both = decisions.write([wish("LA", "keep", a.number), wish("LV", "keep")], "Anna")
    assert [(d.structure, d.choice, d.note) for d in decisions.undo("Anna")] == [
        ("LA", "accept", "n"),
        ("LV", "open", ""),
    ]
    assert {d.structure: d.choice for d in decisions.current()} == {"LA": "accept", "LV": "open", "RA": "manual"}
    assert [(d.structure, d.choice) for d in decisions.undo("Anna")] == [("LA", "open")]
    assert decisions.undo("Anna") == []
    assert {d.structure: d.choice for d in decisions.current()} == {"LA": "open", "LV": "open", "RA": "manual"}
    assert set(both) <= set(decisions.history())


def test_undo_does_not_take_back_what_another_decided_since(decisions: Decisions) -> None:
    (a,) = decisions.write([wish()], "Anna")
    (b,) = decisions.write([wish(choice="keep", seen=a.number)], "Ben")
    with pytest.raises(ConflictError):
        decisions.undo("Anna")
    assert decisions.current() == [b]


@pytest.mark.parametrize(
    ("wishes", "who", "says"),
    [
        ([wish(choice="perhaps")], "Anna", "'perhaps'"),
        ([wish(note="x" * 2001)], "Anna", "2001 letters of at most 2000"),
        ([wish()], "  ", "a name of 1 to 80"),
        ([wish(), wish()], "Anna", "decided twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    decisions: Decisions, wishes: list[DecisionRequest], who: str, says: str
) -> None:
    with pytest.raises(BadInputError, match=says):
        decisions.write(wishes, who)
    assert decisions.history() == []


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "d.sqlite").write_bytes(b"no data base at all" * 100)
    with pytest.raises(RunError, match=r"d\.sqlite"):
        Decisions(tmp_path / "d.sqlite")


def test_what_a_writer_was_told_survives_its_kill(decisions: Decisions) -> None:
    code = f"""
import sys
from pathlib import Path
from heartmend.review.decisions import Decisions, DecisionRequest
base = Decisions(Path({str(decisions.path)!r}))
for n in range(1000):
    base.write([DecisionRequest(str(n), "LA", "accept", "", "", 0)], "Anna")
    print(n, flush=True)
"""
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    told = [int(writer.stdout.readline()) for _ in range(5)]
    os.kill(writer.pid, signal.SIGKILL)
    told += [int(line) for line in writer.stdout.read().split()]
    writer.wait()
    assert {str(n) for n in told} <= {d.case for d in decisions.current()}
    decisions.write([wish(case="after")], "Anna")
