"""Review decisions as a CSV table: export and import."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from heartmend.errors import BadInputError
from heartmend.io.reading import readable_file
from heartmend.io.tables import format_csv, parse_csv
from heartmend.run_folder.decision_records import (
    CHOICES,
    Decision,
    DecisionBatch,
    DecisionRequest,
    describe_repeated,
    find_text_error,
    parse_time,
)
from heartmend.run_folder.decisions import Decisions, open_decisions
from heartmend.run_folder.finished import FinishedRun

COLUMNS = ("case", "structure", "change", "choice", "note", "reviewer", "decided_at", "stamp")
_OPTIONAL = ("change",)
"""A table without it has decisions about whole structures only."""
MAX_TABLE_BYTES = 1 << 24
MAX_ROWS = 200_000
_N_SHOWN = 10


@dataclass(frozen=True)
class ImportCounts:
    """Numbers of imported rows.

    Attributes:
        written: rows that were written.
        known: rows that the database contains already.
        older: rows that are older than the current decision; they are skipped.
    """

    written: int
    known: int
    older: int


@dataclass(frozen=True)
class _Row:
    cells: Mapping[str, str]
    time: datetime


def decisions_to_csv(decisions: Iterable[Decision]) -> str:
    """Convert decisions into a CSV table.

    Args:
        decisions: decisions in any order.

    Returns:
        The table (RFC 4180), sorted by case, structure and change. Cells that a spreadsheet would evaluate start with
        `'`.
    """
    in_order = sorted(decisions, key=lambda d: d.target)
    return format_csv(COLUMNS, ([str(getattr(d, name)) for name in COLUMNS] for d in in_order), line_end="\r\n")


def import_file(path: Path, decisions: Decisions, structures: Mapping[str, Iterable[str]]) -> ImportCounts:
    """Import a file with a CSV table, as `import_csv`.

    Args:
        path: the file.
        decisions: database to write to.
        structures: names of the structures of each case of the run, by case id.

    Returns:
        Numbers of rows that were written and skipped.

    Raises:
        BadInputError: if the file cannot be read or has errors; nothing is written.
        ConflictError: if another process decided in the meantime; nothing is written.
    """
    with readable_file(path), path.open("rb") as file:
        table = file.read(MAX_TABLE_BYTES + 1)
    try:
        return import_csv(table, decisions, structures)
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error


def import_decisions(path: Path, finished: FinishedRun) -> ImportCounts:
    """Import a file with a CSV table into a run, as `import_csv`.

    Args:
        path: the file.
        finished: the run, whose cases and structures the table can name.

    Returns:
        Numbers of rows that were written and skipped.

    Raises:
        BadInputError, ConflictError: as `import_file`.
    """
    structures = dict.fromkeys((case.id for case in finished), finished.anatomy.names)
    return import_file(path, open_decisions(finished), structures)


def import_csv(table: str | bytes, decisions: Decisions, structures: Mapping[str, Iterable[str]]) -> ImportCounts:
    """Write the decisions of a CSV table into the database where they are newer than the current ones.

    All rows are checked before any is written, and all are written in one transaction.

    Args:
        table: table with the columns `COLUMNS`, such as from `decisions_to_csv`; its text, or its bytes in UTF-8. The
            column `change` may be missing: then each row is about a whole structure.
        decisions: database to write to.
        structures: names of the structures of each case of the run, by case id.

    Returns:
        Numbers of rows that were written and skipped.

    Raises:
        BadInputError: if the table has errors; the message lists their lines, and nothing is written.
        ConflictError: if another process decided in the meantime; nothing is written.
    """
    if len(table) > MAX_TABLE_BYTES:
        raise BadInputError(f"the table has more than {MAX_TABLE_BYTES >> 20} MiB; import it in parts")
    needed = tuple(name for name in COLUMNS if name not in _OPTIONAL)
    rows = _checked(parse_csv(table, needed, MAX_ROWS, _OPTIONAL), structures)
    current = {d.target: d for d in decisions.current()}
    known = older = 0
    new = []
    for row in rows:
        found = current.get(_target(row.cells))
        if found and _is_same(found, row):
            known += 1
        elif found and _stored_time(found) >= row.time:
            older += 1
        else:
            new.append((row, found.number if found else 0))
    new.sort(key=lambda entry: (entry[0].time, entry[0].cells["reviewer"]))
    batches = [
        DecisionBatch([_request(row.cells, follows) for row, follows in group], reviewer, time.isoformat())
        for (time, reviewer), group in groupby(new, key=lambda entry: (entry[0].time, entry[0].cells["reviewer"]))
    ]
    if batches:
        decisions.write_batches(batches)
    return ImportCounts(len(new), known, older)


def _checked(rows: Iterable[tuple[int, Mapping[str, str]]], structures: Mapping[str, Iterable[str]]) -> list[_Row]:
    names = {case: frozenset(found) for case, found in structures.items()}
    lines = defaultdict(list)
    checked, errors = [], []
    for line, cells in rows:
        try:
            checked.append(_check({"change": "", **cells}, names))
            lines[_target(checked[-1].cells)].append(line)
        except BadInputError as error:
            errors.append(f"line {line}: {error}")
    if repeated := describe_repeated(lines, "lines"):
        errors.insert(0, repeated)
    if errors:
        more = f"; and {len(errors) - _N_SHOWN} more" if len(errors) > _N_SHOWN else ""
        raise BadInputError(f"the table has errors, nothing was imported: {'; '.join(errors[:_N_SHOWN])}{more}")
    return checked


def _check(cells: Mapping[str, str], names: Mapping[str, frozenset[str]]) -> _Row:
    case, structure = cells["case"], cells["structure"]
    if case not in names:
        raise BadInputError(f"no case {case[:80]!r} in this run")
    if structure not in names[case]:
        raise BadInputError(f"case {case} has no structure {structure[:80]!r}")
    if cells["choice"] not in CHOICES:
        raise BadInputError(f"unknown choice {cells['choice'][:80]!r}; give one of {', '.join(CHOICES)}")
    if error := find_text_error(case, structure, cells["note"], cells["reviewer"], cells["stamp"], cells["change"]):
        raise BadInputError(error)
    return _Row(cells, parse_time(cells["decided_at"]))


def _request(cells: Mapping[str, str], follows: int) -> DecisionRequest:
    return DecisionRequest(
        cells["case"], cells["structure"], cells["choice"], cells["note"], cells["stamp"], follows,  # type: ignore[arg-type]  # checked
        cells["change"],
    )  # fmt: skip


def _target(cells: Mapping[str, str]) -> tuple[str, str, str]:
    return cells["case"], cells["structure"], cells["change"]


def _is_same(found: Decision, row: _Row) -> bool:
    same = all(getattr(found, name) == row.cells[name] for name in COLUMNS if name != "decided_at")
    return same and _stored_time(found) == row.time


def _stored_time(decision: Decision) -> datetime:
    """Time of a stored decision; a time that cannot be right is older than any other one."""
    try:
        return parse_time(decision.decided_at)
    except BadInputError:
        return datetime.min.replace(tzinfo=UTC)
