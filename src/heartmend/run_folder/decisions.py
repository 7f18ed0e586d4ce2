"""Review decisions of a run, stored in an SQLite database.

A decision is one row, and no row is ever changed. It is about one change of a case, or about a whole structure of it.
The newest row of a change or of a structure is the current decision. A new decision names the number of the decision
that it follows, so that two reviewers cannot overwrite each other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from heartmend.errors import BadInputError, ConflictError, RunError
from heartmend.io.regular import check_regular
from heartmend.run_folder.decision_records import (
    CHOICES,
    Decision,
    DecisionBatch,
    DecisionRequest,
    Undone,
    check_batches,
    find_text_error,
    now,
)
from heartmend.run_folder.finished import FinishedRun

SCHEMA_VERSION = 3
OLDER_VERSION = 2
"""Its decisions are about whole structures; they are read, and get the column `change`."""
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS decisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    case_id TEXT NOT NULL, structure TEXT NOT NULL, choice TEXT NOT NULL, note TEXT NOT NULL,
    reviewer TEXT NOT NULL, decided_at TEXT NOT NULL, stamp TEXT NOT NULL,
    batch INTEGER NOT NULL,  -- rows that were written together
    undoes INTEGER,          -- the batch that this row undoes
    restores INTEGER,        -- the row that is current again because of this row
    change TEXT NOT NULL DEFAULT ''  -- key of the change; empty: the whole structure
);
CREATE INDEX IF NOT EXISTS newest_of_change ON decisions (case_id, structure, change, number);
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_UPGRADE = f"""
BEGIN IMMEDIATE;
ALTER TABLE decisions ADD COLUMN change TEXT NOT NULL DEFAULT '';
DROP INDEX IF EXISTS newest;
CREATE INDEX IF NOT EXISTS newest_of_change ON decisions (case_id, structure, change, number);
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_COLUMNS = "number, case_id, structure, choice, note, reviewer, decided_at, stamp, change"
_ROW_BEFORE = (
    f"SELECT {_COLUMNS} FROM decisions WHERE case_id = ? AND structure = ? AND change = ? AND number < ? "
    "ORDER BY number DESC LIMIT 1"
)
_INSERT = (
    "INSERT INTO decisions (case_id, structure, choice, note, reviewer, decided_at, stamp, change, batch, undoes, "
    "restores) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_LAST_BATCH = (
    "SELECT MAX(batch) FROM decisions WHERE reviewer = ? AND undoes IS NULL "
    "AND batch NOT IN (SELECT undoes FROM decisions WHERE undoes IS NOT NULL)"
)
_NEWEST = (
    f"SELECT {_COLUMNS} FROM decisions WHERE number IN "
    "(SELECT MAX(number) FROM decisions GROUP BY case_id, structure, change)"
)


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
            _check_intact(path, database)
            version = int(database.execute("PRAGMA user_version").fetchone()[0])
            is_new = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
            if is_new:
                database.executescript(_SCHEMA)
            elif version == OLDER_VERSION:
                database.executescript(_UPGRADE)
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
            The newest decision of every structure and of every change, in the order of writing.
        """
        with self._open() as database:
            rows = database.execute(f"{_NEWEST} AND number > ? ORDER BY number", (since,)).fetchall()
        return [Decision(*row) for row in rows]

    def history(self) -> list[Decision]:
        """Read all decisions, also those that were replaced, in the order of writing.

        Returns:
            The decisions, oldest first.
        """
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
            BadInputError: if a request is invalid, as for `write_batches`.
        """
        return self.write_batches([DecisionBatch(requests, reviewer, decided_at)])

    def write_batches(self, batches: Sequence[DecisionBatch]) -> list[Decision]:
        """Write several batches in one transaction: all of them or none.

        Args:
            batches: the batches, in the order of writing.

        Returns:
            The decisions as written. They are on the disk when the method returns.

        Raises:
            ConflictError: if a request follows a decision that is not current any more.
            BadInputError: if a structure of a case is decided twice, a choice is unknown, a text is too long or cannot
                be stored, or a time is not in UTC or in the future.
        """
        check_batches(batches)
        requests = [r for batch in batches for r in batch.requests]
        with self._open() as database, _transaction(database):
            newest = {d.target: d for d in (Decision(*row) for row in database.execute(_NEWEST))}
            conflicts = [found for r in requests if (found := newest.get(r.target)) and found.number != r.follows]
            unknown = [r for r in requests if r.follows and r.target not in newest]
            if conflicts or unknown:
                raise ConflictError(conflicts)
            return [d for b in batches for d in _insert(database, b.requests, b.reviewer, b.decided_at or now())]

    def undo(self, reviewer: str) -> Undone:
        """Undo the newest batch of a reviewer that is not undone yet: the decisions before it become current again.

        Args:
            reviewer: name of the person.

        Returns:
            What was undone, and what is current now; both are empty when there is nothing to undo.

        Raises:
            ConflictError: if another batch decided about the same structures since.
            BadInputError: if the name of the reviewer cannot be stored, or the batch replaced a corrected label map.
        """
        if error := find_text_error("", "", "", reviewer):
            raise BadInputError(error)
        with self._open() as database, _transaction(database):
            batch = database.execute(_LAST_BATCH, (reviewer,)).fetchone()[0]
            if batch is None:
                return Undone()
            rows = database.execute(f"SELECT {_COLUMNS} FROM decisions WHERE batch = ?", (batch,))
            undone = [Decision(*row) for row in rows]
            newest = {d.target: d for d in (Decision(*row) for row in database.execute(_NEWEST))}
            origin = dict(database.execute("SELECT number, COALESCE(restores, number) FROM decisions"))
            if conflicts := [n for d in undone if origin[(n := newest[d.target]).number] != d.number]:
                raise ConflictError(conflicts)
            requests, restored = [], []
            for d in undone:
                row = database.execute(_ROW_BEFORE, (*d.target, d.number)).fetchone()
                earlier = Decision(*row) if row else replace(d, number=0, choice="open", note="")
                if d.choice == earlier.choice == "corrected" and d.note == earlier.note:
                    raise BadInputError(
                        f"{d.case} {d.structure}: the corrected map before this one was replaced, so it cannot be "
                        "restored; correct the structure again, or decide otherwise"
                    )
                requests.append(
                    DecisionRequest(
                        d.case, d.structure, earlier.choice, earlier.note, earlier.stamp, d.number, d.change
                    )
                )  # fmt: skip
                restored.append(origin.get(earlier.number))
            return Undone(tuple(undone), tuple(_insert(database, requests, reviewer, now(), batch, restored)))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        for ending in ("", "-journal", "-wal", "-shm"):
            check_regular(self.path.with_name(self.path.name + ending))
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


def _check_intact(path: Path, database: sqlite3.Connection) -> None:
    """Check the pages and the index of the database, and the choices: SQLite has no digest of the rows."""
    problems = [str(row[0]) for row in database.execute("PRAGMA integrity_check(3)")]
    if problems == ["ok"] and database.execute("SELECT 1 FROM sqlite_master WHERE name = 'decisions'").fetchone():
        choices = {str(row[0]) for row in database.execute("SELECT DISTINCT choice FROM decisions")}
        problems += [f"unknown choice {choice[:20]!r}" for choice in sorted(choices - set(CHOICES))]
    if problems != ["ok"]:
        what = "; ".join(problem for problem in problems if problem != "ok")
        raise RunError(
            f"{path}: the database of the decisions is damaged ({what[:300]}); restore it from a copy, or move it away "
            "and import the table of decisions (decisions.csv)"
        )


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
        row = (r.case, r.structure, r.choice, r.note, reviewer, decided_at, r.stamp, r.change, batch, undoes, restored)
        number = database.execute(_INSERT, row).lastrowid
        written.append(
            Decision(number or 0, r.case, r.structure, r.choice, r.note, reviewer, decided_at, r.stamp, r.change)
        )
    return written
