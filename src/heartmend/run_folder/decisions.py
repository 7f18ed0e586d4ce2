"""Who decided what and when: an embedded data base (SQLite) in which every decision is kept, and none overwritten.

A decision is one row. The newest row of a case's structure is what holds; its number is what a page must have seen to
write the next one. A write is in the file, and synced, before the function returns.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from heartmend.errors import BadInputError, RunError
from heartmend.run_folder.finished import FinishedRun

Choice = Literal["accept", "keep", "manual", "corrected", "open"]
"""Take the mended one, keep the original, correct it by hand, taken from a hand-corrected map, or not decided (any
more)."""
CHOICES: tuple[str, ...] = get_args(Choice)
VERB = "review"
"""The folder of the run that holds decisions and what the page shows."""
NOTE_LENGTH, WHO_LENGTH = 2000, 80

_SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    case_id TEXT NOT NULL, structure TEXT NOT NULL, choice TEXT NOT NULL, note TEXT NOT NULL,
    who TEXT NOT NULL, at TEXT NOT NULL, stamp TEXT NOT NULL,
    act INTEGER NOT NULL,  -- rows that were written together
    undoes INTEGER,        -- the act that this one takes back
    restores INTEGER       -- the row that holds again through this one
);
CREATE INDEX IF NOT EXISTS newest ON decisions (case_id, structure, number);
"""
_COLUMNS = "number, case_id, structure, choice, note, who, at, stamp"
_ROW_BEFORE = (
    f"SELECT {_COLUMNS} FROM decisions WHERE case_id = ? AND structure = ? AND number < ? ORDER BY number DESC LIMIT 1"
)
_INSERT = (
    "INSERT INTO decisions (case_id, structure, choice, note, who, at, stamp, act, undoes, restores) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_LAST_ACT = (
    "SELECT MAX(act) FROM decisions WHERE who = ? AND undoes IS NULL "
    "AND act NOT IN (SELECT undoes FROM decisions WHERE undoes IS NOT NULL)"
)
_NEWEST = (
    f"SELECT {_COLUMNS} FROM decisions WHERE number IN (SELECT MAX(number) FROM decisions GROUP BY case_id, structure)"
)


@dataclass(frozen=True)
class Decision:
    """What someone decided about one structure of a case. stamp: the maps that were seen; at: UTC, ISO 8601."""

    number: int
    case: str
    structure: str
    choice: Choice
    note: str
    who: str
    at: str
    stamp: str


@dataclass(frozen=True)
class DecisionRequest:
    """A decision that is to be written; `seen` is the number of the one that it follows, 0 for none."""

    case: str
    structure: str
    choice: Choice
    note: str
    stamp: str
    seen: int


class ConflictError(RunError):
    """Someone else decided in the meantime; `newer` are the decisions that hold now."""

    def __init__(self, newer: Sequence[Decision]) -> None:
        self.newer = tuple(newer)
        names = ", ".join(f"{d.case} {d.structure} ({d.choice}, {d.who})" for d in newer)
        super().__init__(f"decided in the meantime: {names}; look again, then decide")


class Decisions:
    """The data base of a run's decisions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as base:
            base.executescript(_SCHEMA)

    def current(self, since: int = 0) -> list[Decision]:
        """What holds now, of those newer than the decision `since`, oldest first."""
        with self._open() as base:
            rows = base.execute(f"{_NEWEST} AND number > ? ORDER BY number", (since,)).fetchall()
        return [Decision(*row) for row in rows]

    def history(self) -> list[Decision]:
        """All that was ever decided, oldest first."""
        with self._open() as base:
            return [Decision(*row) for row in base.execute(f"SELECT {_COLUMNS} FROM decisions ORDER BY number")]

    def write(self, wishes: Sequence[DecisionRequest], who: str, at: str | None = None) -> list[Decision]:
        """Write all of the wishes as one act, or none.

        Raises ConflictError when one of them follows a decision that is not the newest any more, BadInputError for
        a choice that is none and texts that are too long.
        """
        _check(wishes, who)
        with self._open() as base, _transaction(base):
            newest = {(d.case, d.structure): d for d in (Decision(*row) for row in base.execute(_NEWEST))}
            overtaken = [
                found for w in wishes if (found := newest.get((w.case, w.structure))) and found.number != w.seen
            ]
            unknown = [w for w in wishes if w.seen and (w.case, w.structure) not in newest]
            if overtaken or unknown:
                raise ConflictError(overtaken)
            return _insert(base, wishes, who, at or now())

    def undo(self, who: str) -> list[Decision]:
        """Take back the newest act of a person that is not taken back yet; what held before holds again.

        Returns the decisions that now hold, none when there is nothing to undo. Raises ConflictError when someone
        decided anew about what the act had decided.
        """
        with self._open() as base, _transaction(base):
            act = base.execute(_LAST_ACT, (who,)).fetchone()[0]
            if act is None:
                return []
            done = [Decision(*row) for row in base.execute(f"SELECT {_COLUMNS} FROM decisions WHERE act = ?", (act,))]
            newest = {(d.case, d.structure): d for d in (Decision(*row) for row in base.execute(_NEWEST))}
            origin = dict(base.execute("SELECT number, COALESCE(restores, number) FROM decisions"))
            if overtaken := [n for d in done if origin[(n := newest[d.case, d.structure]).number] != d.number]:
                raise ConflictError(overtaken)
            back, restored = [], []
            for d in done:
                row = base.execute(_ROW_BEFORE, (d.case, d.structure, d.number)).fetchone()
                was = Decision(*row) if row else Decision(0, d.case, d.structure, "open", "", who, "", d.stamp)
                back.append(DecisionRequest(d.case, d.structure, was.choice, was.note, was.stamp, d.number))
                restored.append(origin.get(was.number))
            return _insert(base, back, who, now(), act, restored)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=10, isolation_level=None)) as base:
                base.execute("PRAGMA synchronous = FULL")
                yield base
        except sqlite3.Error as error:
            raise RunError(f"{self.path}: the decisions cannot be read or written: {error}") from error


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _transaction(base: sqlite3.Connection) -> Iterator[None]:
    base.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        base.execute("ROLLBACK")
        raise
    base.execute("COMMIT")


def _insert(
    base: sqlite3.Connection,
    wishes: Sequence[DecisionRequest],
    who: str,
    at: str,
    undoes: int | None = None,
    restores: Sequence[int | None] | None = None,
) -> list[Decision]:
    act = base.execute("SELECT COALESCE(MAX(act), 0) + 1 FROM decisions").fetchone()[0]
    written = []
    for w, restored in zip(wishes, restores or [None] * len(wishes), strict=True):
        row = (w.case, w.structure, w.choice, w.note, who, at, w.stamp, act, undoes, restored)
        number = base.execute(_INSERT, row).lastrowid
        written.append(Decision(number or 0, w.case, w.structure, w.choice, w.note, who, at, w.stamp))
    return written


def _check(wishes: Sequence[DecisionRequest], who: str) -> None:
    if not who.strip() or len(who) > WHO_LENGTH:
        raise BadInputError(f"who decides must be a name of 1 to {WHO_LENGTH} letters, not {who[:100]!r}")
    if len({(w.case, w.structure) for w in wishes}) < len(wishes):
        raise BadInputError("one structure of a case is decided twice in one act")
    for w in wishes:
        if w.choice not in CHOICES:
            raise BadInputError(f"no choice is called {w.choice!r}; there are {', '.join(CHOICES)}")
        if len(w.note) > NOTE_LENGTH:
            raise BadInputError(
                f"the note of {w.case} {w.structure} has {len(w.note)} letters of at most {NOTE_LENGTH}"
            )


DATA_BASE = "decisions.sqlite"


def decisions_of(subject: FinishedRun) -> Decisions:
    """The data base of a run's decisions."""
    return Decisions(subject.run.folder(VERB) / DATA_BASE)
