"""Decisions as a CSV table: to keep, to send to a colleague, and to take in again."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from heartmend.errors import BadInputError
from heartmend.run_folder.decisions import CHOICES, NOTE_LENGTH, WHO_LENGTH, Decision, DecisionRequest, Decisions

COLUMNS = ("case", "structure", "choice", "note", "who", "at", "stamp")
# A spreadsheet takes a cell that begins like this for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Taken:
    """What came of a table: how many rows were written, were known already, and were older than what is there."""

    written: int
    known: int
    older: int


def decisions_to_csv(decisions: Iterable[Decision]) -> str:
    """The decisions as a table, by case and structure. Texts that a spreadsheet would run get a `'` in front."""
    text = io.StringIO()
    # As RFC 4180 has it; then a lone carriage return in a note is quoted too.
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(COLUMNS)
    for d in sorted(decisions, key=lambda d: (d.case, d.structure)):
        table.writerow([_quoted(str(getattr(d, name))) for name in COLUMNS])
    return text.getvalue()


def import_csv(text: str, decisions: Decisions, structures: Mapping[str, Iterable[str]]) -> Taken:
    """Write the decisions of a table, with their who and when, where they are newer than what is there.

    structures: the cases of the run and the structures of each. Raises BadInputError that lists every mistake; then
    nothing is written.
    """
    rows, mistakes = [], []
    reader = csv.DictReader(io.StringIO(text))
    if missing := [c for c in COLUMNS if c not in (reader.fieldnames or ())]:
        raise BadInputError(f"the table lacks the columns {', '.join(missing)}; it needs {', '.join(COLUMNS)}")
    for number, row in enumerate(reader, start=2):
        cells = {name: _unquoted(row[name] or "") for name in COLUMNS}
        if why := _mistake(cells, structures):
            mistakes.append(f"line {number}: {why}")
        rows.append(cells)
    if mistakes:
        more = f"; and {len(mistakes) - 10} more" if len(mistakes) > 10 else ""
        raise BadInputError(f"the table has mistakes, nothing was taken: {'; '.join(mistakes[:10])}{more}")
    holds = {(d.case, d.structure): d for d in decisions.current()}
    known = older = 0
    todo = []
    for cells in rows:
        here = holds.get((cells["case"], cells["structure"]))
        if here and all(getattr(here, name) == cells[name] for name in COLUMNS):
            known += 1
        elif here and datetime.fromisoformat(here.at) >= datetime.fromisoformat(cells["at"]):
            older += 1
        else:
            todo.append((cells, here.number if here else 0))
    by_author = sorted(todo, key=lambda entry: (entry[0]["at"], entry[0]["who"]))
    for (at, who), group in groupby(by_author, key=lambda entry: (entry[0]["at"], entry[0]["who"])):
        wishes = [
            DecisionRequest(c["case"], c["structure"], c["choice"], c["note"], c["stamp"], seen)  # type: ignore[arg-type]  # checked
            for c, seen in group
        ]
        decisions.write(wishes, who, at)
    return Taken(len(todo), known, older)


def _mistake(cells: Mapping[str, str], structures: Mapping[str, Iterable[str]]) -> str:
    case, structure = cells["case"], cells["structure"]
    if case not in structures:
        return f"no case {case!r} in this run"
    if structure not in set(structures[case]):
        return f"case {case} has no structure {structure!r}"
    if cells["choice"] not in CHOICES:
        return f"no choice is called {cells['choice']!r}; there are {', '.join(CHOICES)}"
    if not cells["who"].strip() or len(cells["who"]) > WHO_LENGTH or len(cells["note"]) > NOTE_LENGTH:
        return f"a name of 1 to {WHO_LENGTH} letters and a note of at most {NOTE_LENGTH} are needed"
    try:
        if datetime.fromisoformat(cells["at"]).tzinfo is None:
            return f"the time {cells['at']!r} has no zone, such as 2026-01-31T12:00:00+00:00"
    except ValueError:
        return f"{cells['at']!r} is no time, such as 2026-01-31T12:00:00+00:00"
    return ""


def _quoted(cell: str) -> str:
    return f"'{cell}" if cell.startswith((*_FORMULA, "'")) else cell


def _unquoted(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*_FORMULA, "'")) else cell
