"""Review decisions as a CSV table: export and import."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from heartmend.errors import BadInputError
from heartmend.run_folder.decisions import (
    CHOICES,
    MAX_NOTE_LENGTH,
    MAX_REVIEWER_LENGTH,
    Decision,
    DecisionRequest,
    Decisions,
)

COLUMNS = ("case", "structure", "choice", "note", "reviewer", "decided_at", "stamp")
# A spreadsheet evaluates a cell with one of these first characters as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_EXAMPLE_TIME = "2026-01-31T12:00:00+00:00"


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


def decisions_to_csv(decisions: Iterable[Decision]) -> str:
    """Convert decisions into a CSV table.

    Args:
        decisions: decisions in any order.

    Returns:
        The table (RFC 4180), sorted by case and structure. Cells that a spreadsheet would evaluate start with `'`.
    """
    text = io.StringIO()
    # Line ends of RFC 4180: then a lone carriage return in a note is quoted too.
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(COLUMNS)
    for d in sorted(decisions, key=lambda d: (d.case, d.structure)):
        table.writerow([_quote(str(getattr(d, name))) for name in COLUMNS])
    return text.getvalue()


def import_csv(text: str, decisions: Decisions, structures: Mapping[str, Iterable[str]]) -> ImportCounts:
    """Write the decisions of a CSV table into the database where they are newer than the current ones.

    Args:
        text: table with the columns `COLUMNS`, such as from `decisions_to_csv`.
        decisions: database to write to.
        structures: names of the structures of each case of the run, by case id.

    Returns:
        Numbers of rows that were written and skipped.

    Raises:
        BadInputError: if the table has errors; the message lists them, and nothing is written.
        ConflictError: if another process decided in the meantime.
    """
    rows, errors = [], []
    reader = csv.DictReader(io.StringIO(text))
    if missing := [c for c in COLUMNS if c not in (reader.fieldnames or ())]:
        raise BadInputError(f"the table lacks the columns {', '.join(missing)}; it needs {', '.join(COLUMNS)}")
    for number, row in enumerate(reader, start=2):
        cells = {name: _unquote(row[name] or "") for name in COLUMNS}
        if error := _find_error(cells, structures):
            errors.append(f"line {number}: {error}")
        rows.append(cells)
    if errors:
        more = f"; and {len(errors) - 10} more" if len(errors) > 10 else ""
        raise BadInputError(f"the table has errors, nothing was imported: {'; '.join(errors[:10])}{more}")
    current = {(d.case, d.structure): d for d in decisions.current()}
    known = older = 0
    new = []
    for cells in rows:
        found = current.get((cells["case"], cells["structure"]))
        if found and all(getattr(found, name) == cells[name] for name in COLUMNS):
            known += 1
        elif found and datetime.fromisoformat(found.decided_at) >= datetime.fromisoformat(cells["decided_at"]):
            older += 1
        else:
            new.append((cells, found.number if found else 0))
    in_order = sorted(new, key=lambda entry: (entry[0]["decided_at"], entry[0]["reviewer"]))
    for (decided_at, reviewer), group in groupby(in_order, key=lambda e: (e[0]["decided_at"], e[0]["reviewer"])):
        requests = [
            DecisionRequest(c["case"], c["structure"], c["choice"], c["note"], c["stamp"], follows)  # type: ignore[arg-type]  # checked
            for c, follows in group
        ]
        decisions.write(requests, reviewer, decided_at)
    return ImportCounts(len(new), known, older)


def _find_error(cells: Mapping[str, str], structures: Mapping[str, Iterable[str]]) -> str:
    case, structure = cells["case"], cells["structure"]
    if case not in structures:
        return f"no case {case!r} in this run"
    if structure not in set(structures[case]):
        return f"case {case} has no structure {structure!r}"
    if cells["choice"] not in CHOICES:
        return f"unknown choice {cells['choice']!r}; give one of {', '.join(CHOICES)}"
    if not cells["reviewer"].strip() or len(cells["reviewer"]) > MAX_REVIEWER_LENGTH:
        return f"the name of the reviewer must have 1 to {MAX_REVIEWER_LENGTH} characters"
    if len(cells["note"]) > MAX_NOTE_LENGTH:
        return f"the note has {len(cells['note'])} characters; at most {MAX_NOTE_LENGTH} are allowed"
    try:
        if datetime.fromisoformat(cells["decided_at"]).tzinfo is None:
            return f"the time {cells['decided_at']!r} has no time zone; write it as {_EXAMPLE_TIME}"
    except ValueError:
        return f"{cells['decided_at']!r} is no time; write it as {_EXAMPLE_TIME}"
    return ""


def _quote(cell: str) -> str:
    return f"'{cell}" if cell.startswith((*_FORMULA, "'")) else cell


def _unquote(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*_FORMULA, "'")) else cell
