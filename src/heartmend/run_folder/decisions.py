"""Review decisions of a run, stored in an SQLite database.

A decision is one row, and no row is ever changed. The newest row of a structure of a case is the current decision. A
new decision names the number of the decision that it follows, so that two reviewers cannot overwrite each other.
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

Choice = Literal["accept", "reject", "correct", "corrected", "open"]
"""`accept`: take the repaired structure. `reject`: keep the original structure. `correct`: to be corrected by hand.
`corrected`: taken from a hand-corrected label map. `open`: not decided."""
CHOICES: tuple[str, ...] = get_args(Choice)
SCHEMA_VERSION = 2
MAX_NOTE_LENGTH, MAX_REVIEWER_LENGTH = 2000, 80

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS decisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    case_id TEXT NOT NULL, structure TEXT NOT NULL, choice TEXT NOT NULL, note TEXT NOT NULL,
    reviewer TEXT NOT NULL, decided_at TEXT NOT NULL, stamp TEXT NOT NULL,
    batch INTEGER NOT NULL,  -- rows that were written together
    undoes INTEGER,          -- the batch that this row undoes
    restores INTEGER         -- the row that is current again because of this row
);
CREATE INDEX IF NOT EXISTS newest ON decisions (case_id, structure, number);
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_COLUMNS = "number, case_id, structure, choice, note, reviewer, decided_at, stamp"
_ROW_BEFORE = (
    f"SELECT {_COLUMNS} FROM decisions WHERE case_id = ? AND structure = ? AND number < ? ORDER BY number DESC LIMIT 1"
)
_INSERT = (
    "INSERT INTO decisions (case_id, structure, choice, note, reviewer, decided_at, stamp, batch, undoes, restores) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_LAST_BATCH = (
    "SELECT MAX(batch) FROM decisions WHERE reviewer = ? AND undoes IS NULL "
    "AND batch NOT IN (SELECT undoes FROM decisions WHERE undoes IS NOT NULL)"
)
_NEWEST = (
    f"SELECT {_COLUMNS} FROM decisions WHERE number IN (SELECT MAX(number) FROM decisions GROUP BY case_id, structure)"
)


@dataclass(frozen=True)
class Decision:
    """Decision about one structure of a case.

    Attributes:
        number: number of the decision in the database, in the order of writing.
        case: case id.
        structure: name of the structure.
        choice: what was decided.
        note: free text of the reviewer.
        reviewer: name of the person.
        decided_at: time in UTC, ISO 8601.
        stamp: stamp of the two label maps that were reviewed (`FinishedRun.stamp`).
    """

    number: int
    case: str
    structure: str
    choice: Choice
    note: str
    reviewer: str
    decided_at: str
    stamp: str


@dataclass(frozen=True)
class DecisionRequest:
    """Decision to be written.

    Attributes:
        case: case id.
        structure: name of the structure.
        choice: what is decided.
        note: free text of the reviewer.
        stamp: stamp of the two label maps that were reviewed.
        follows: number of the current decision that the reviewer knew; 0 for none.
    """

    case: str
    structure: str
    choice: Choice
    note: str
    stamp: str
    follows: int


class ConflictError(RunError):
    """Another reviewer decided in the meantime.

    Attributes:
        newer: the current decisions that the request did not know.
    """

    def __init__(self, newer: Sequence[Decision]) -> None:
        self.newer = tuple(newer)
        names = ", ".join(f"{d.case} {d.structure} ({d.choice}, {d.reviewer})" for d in newer)
        super().__init__(f"decided in the meantime: {names}; review again, then decide")


class Decisions:
    """Database of the decisions of one run.

    Attributes:
        path: file of the database.
    """

    def __init__(self, path: Path) -> None:
        """Open a database, or create it where there is none.

        Args:
            path: file of the database.

        Raises:
            RunError: if the file is no database, cannot be written, or has another schema version.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as database:
            version = int(database.execute("PRAGMA user_version").fetchone()[0])
            is_new = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
            if is_new:
                database.executescript(_SCHEMA)
            elif version != SCHEMA_VERSION:
                # The first version did not write its number.
                raise RunError(
                    f"{path}: the decisions have schema version {version or 1}, this version of Heartmend reads "
                    f"version {SCHEMA_VERSION}; export the run with the version that wrote them, or move the file away "
                    "and review the run again"
                )

    def current(self, since: int = 0) -> list[Decision]:
        """Read the current decisions.

        Args:
            since: only decisions with a larger number are returned.

        Returns:
            The newest decision of every structure, in the order of writing.
        """
        with self._open() as database:
            rows = database.execute(f"{_NEWEST} AND number > ? ORDER BY number", (since,)).fetchall()
        return [Decision(*row) for row in rows]

    def history(self) -> list[Decision]:
        """Read all decisions, also those that were replaced, in the order of writing."""
        with self._open() as database:
            return [Decision(*row) for row in database.execute(f"SELECT {_COLUMNS} FROM decisions ORDER BY number")]

    def write(
        self, requests: Sequence[DecisionRequest], reviewer: str, decided_at: str | None = None
    ) -> list[Decision]:
        """Write decisions as one batch: all of them or none. They are on the disk when the method returns.

        Args:
            requests: decisions to write.
            reviewer: name of the person who decides.
            decided_at: time in UTC, ISO 8601; now if None.

        Returns:
            The decisions as written.

        Raises:
            ConflictError: if a request follows a decision that is not current any more.
            BadInputError: if a choice is unknown or a text is too long.
        """
        _check(requests, reviewer)
        with self._open() as database, _transaction(database):
            newest = {(d.case, d.structure): d for d in (Decision(*row) for row in database.execute(_NEWEST))}
            conflicts = [
                found for r in requests if (found := newest.get((r.case, r.structure))) and found.number != r.follows
            ]
            unknown = [r for r in requests if r.follows and (r.case, r.structure) not in newest]
            if conflicts or unknown:
                raise ConflictError(conflicts)
            return _insert(database, requests, reviewer, decided_at or now())

    def undo(self, reviewer: str) -> list[Decision]:
        """Undo the newest batch of a reviewer that is not undone yet: the decisions before it become current again.

        Args:
            reviewer: name of the person.

        Returns:
            The decisions that are current now; empty when there is nothing to undo.

        Raises:
            ConflictError: if another batch decided about the same structures since.
        """
        with self._open() as database, _transaction(database):
            batch = database.execute(_LAST_BATCH, (reviewer,)).fetchone()[0]
            if batch is None:
                return []
            rows = database.execute(f"SELECT {_COLUMNS} FROM decisions WHERE batch = ?", (batch,))
            undone = [Decision(*row) for row in rows]
            newest = {(d.case, d.structure): d for d in (Decision(*row) for row in database.execute(_NEWEST))}
            origin = dict(database.execute("SELECT number, COALESCE(restores, number) FROM decisions"))
            if conflicts := [n for d in undone if origin[(n := newest[d.case, d.structure]).number] != d.number]:
                raise ConflictError(conflicts)
            requests, restored = [], []
            for d in undone:
                row = database.execute(_ROW_BEFORE, (d.case, d.structure, d.number)).fetchone()
                earlier = Decision(*row) if row else Decision(0, d.case, d.structure, "open", "", reviewer, "", d.stamp)
                requests.append(
                    DecisionRequest(d.case, d.structure, earlier.choice, earlier.note, earlier.stamp, d.number)
                )
                restored.append(origin.get(earlier.number))
            return _insert(database, requests, reviewer, now(), batch, restored)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=10, isolation_level=None)) as database:
                database.execute("PRAGMA synchronous = FULL")
                yield database
        except sqlite3.Error as error:
            raise RunError(f"{self.path}: the decisions cannot be read or written: {error}") from error


def open_decisions(finished: FinishedRun) -> Decisions:
    """Open the database of the decisions of a run.

    Args:
        finished: the run.

    Returns:
        The database; created where there is none.

    Raises:
        RunError: as for `Decisions`.
    """
    return Decisions(finished.run.decisions_path)


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _insert(
    database: sqlite3.Connection,
    requests: Sequence[DecisionRequest],
    reviewer: str,
    decided_at: str,
    undoes: int | None = None,
    restores: Sequence[int | None] | None = None,
) -> list[Decision]:
    batch = database.execute("SELECT COALESCE(MAX(batch), 0) + 1 FROM decisions").fetchone()[0]
    written = []
    for r, restored in zip(requests, restores or [None] * len(requests), strict=True):
        row = (r.case, r.structure, r.choice, r.note, reviewer, decided_at, r.stamp, batch, undoes, restored)
        number = database.execute(_INSERT, row).lastrowid
        written.append(Decision(number or 0, r.case, r.structure, r.choice, r.note, reviewer, decided_at, r.stamp))
    return written


def _check(requests: Sequence[DecisionRequest], reviewer: str) -> None:
    if not reviewer.strip() or len(reviewer) > MAX_REVIEWER_LENGTH:
        raise BadInputError(
            f"the name of the reviewer must have 1 to {MAX_REVIEWER_LENGTH} characters: {reviewer[:100]!r}"
        )
    if len({(r.case, r.structure) for r in requests}) < len(requests):
        raise BadInputError("one structure of a case is decided twice in one request")
    for r in requests:
        if r.choice not in CHOICES:
            raise BadInputError(f"unknown choice {r.choice!r}; give one of {', '.join(CHOICES)}")
        if len(r.note) > MAX_NOTE_LENGTH:
            raise BadInputError(
                f"the note on {r.case} {r.structure} has {len(r.note)} characters; "
                f"at most {MAX_NOTE_LENGTH} are allowed"
            )
