"""The evidence of what was changed: one JSON file for each case, and the same as a person reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from heartmend.repair.acceptance import Verdict
from heartmend.repair.changes import SEVERITIES, Change, Severity

_STYLES: Mapping[Severity, str] = {"info": "dim", "review": "yellow", "warning": "bold red"}


@dataclass(frozen=True)
class ChangeLog:
    """What happened to one case: changes in the order in which they were made, and a verdict for each structure."""

    case_id: str
    changes: tuple[Change, ...] = ()
    verdicts: tuple[Verdict, ...] = ()

    @property
    def severity(self) -> Severity:
        """The gravest of its changes; a mended mask that was not taken is a warning."""
        if not all(v.accepted for v in self.verdicts):
            return "warning"
        return max((c.severity for c in self.changes), key=SEVERITIES.index, default="info")

    def to_dict(self) -> dict[str, Any]:
        """A table for JSON."""
        return {
            "case": self.case_id,
            "severity": self.severity,
            "changes": [c.to_dict() for c in self.changes],
            "verdicts": [v.to_dict() for v in self.verdicts],
        }

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """The audit that `to_dict` wrote."""
        return cls(
            table["case"],
            tuple(Change.from_dict(c) for c in table["changes"]),
            tuple(Verdict(**v) for v in table["verdicts"]),
        )


def change_log_to_json(audit: ChangeLog) -> str:
    """The audit as JSON text; lengths in mm, boxes in the RAS+ millimetres of the file that came in."""
    return json.dumps(audit.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def change_log_from_json(text: str) -> ChangeLog:
    """The audit that `change_log_to_json` wrote."""
    return ChangeLog.from_dict(json.loads(text))


def explain(audit: ChangeLog, least: Severity = "info") -> RenderableType:
    """The audit for a person to read (rich): the changes of at least this severity, and the masks not taken."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("rule", "structure", "what"):
        table.add_column(heading)
    table.add_column("mm³", justify="right")
    table.add_column("where, mm")
    table.add_column("note", overflow="fold")
    shown = [c for c in audit.changes if SEVERITIES.index(c.severity) >= SEVERITIES.index(least)]
    for c in shown:
        middle = ", ".join(f"{(a + b) / 2:.0f}" for a, b in zip(*c.box_mm, strict=True))
        volume = f"{c.volume_mm3:.0f}" if c.voxels else ""
        table.add_row(c.rule, c.structure, c.action, volume, middle, c.note, style=_STYLES[c.severity])
    lines: list[RenderableType] = [Text(f"{audit.case_id}: {len(shown)} of {len(audit.changes)} changes", style="bold")]
    if shown:
        lines.append(table)
    lines += [
        Text(f"{v.structure}: kept as it came: {v.reason}", style="bold red") for v in audit.verdicts if not v.accepted
    ]
    return Group(*lines)


def summary_table(audits: Iterable[ChangeLog]) -> Table:
    """A cohort's audits: one row for each rule and structure, with cases, changes, volume and severities."""
    rows: dict[tuple[str, str, str], list[tuple[str, Change]]] = {}
    untaken: dict[str, list[str]] = {}
    for audit in audits:
        for c in audit.changes:
            rows.setdefault((c.rule, c.structure, c.action), []).append((audit.case_id, c))
        for v in audit.verdicts:
            if not v.accepted:
                untaken.setdefault(v.structure, []).append(audit.case_id)
    table = Table(title="What the rules of anatomy changed", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("rule", "structure", "what"):
        table.add_column(heading)
    for heading in ("cases", "changes", "mm³", "review", "warning"):
        table.add_column(heading, justify="right")
    for (rule, structure, action), found in rows.items():
        graves = [sum(c.severity == s for _, c in found) for s in ("review", "warning")]
        cases, volume = str(len({case for case, _ in found})), sum(c.volume_mm3 for _, c in found)
        table.add_row(rule, structure, action, cases, str(len(found)), f"{volume:.0f}", *map(str, graves))
    for structure, ids in untaken.items():
        table.add_row("do no harm", structure, "kept as it came", str(len(ids)), "", "", "", str(len(ids)))
    return table
