"""Change log of a case: one JSON file for each case."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from heartmend.coronaries.segment_map import SegmentRecord
from heartmend.io import tables
from heartmend.repair.acceptance import Verdict
from heartmend.repair.changes import SEVERITIES, Change, Severity
from heartmend.repair.uncertainty.estimate import StructureEstimate

CHANGE_COLUMNS = (
    tables.Column("rule", str, title="rule or method that made the change"),
    tables.Column("structure", str, title="empty for all structures"),
    tables.Column("action", str, title="what was done"),
    tables.Column("voxels", int, tables.NO_UNIT),
    tables.Column("volume_mm3", float, "mm3"),
    *(tables.Column(f"{axis}_mm", float, "mm", "centre, RAS+") for axis in "xyz"),
    tables.Column("severity", str, title="info, review or warning"),
    tables.Column("note", str),
)
ESTIMATE_COLUMNS = (
    tables.Column("case", str),
    tables.Column("structure", str),
    tables.Column("dice", float, tables.NO_UNIT, "expected Dice of the repaired map"),
    tables.Column("dice_low", float, tables.NO_UNIT, "lower bound of its 90 % interval"),
    tables.Column("dice_high", float, tables.NO_UNIT, "upper bound of it"),
    tables.Column("surface_mm", float, "mm", "expected mean surface distance (ASSD)"),
    tables.Column("surface_low_mm", float, "mm", "lower bound of its 90 % interval"),
    tables.Column("surface_high_mm", float, "mm", "upper bound of it"),
)


@dataclass(frozen=True)
class ChangeLog:
    """Changes to a case and the acceptance of its repaired masks.

    Attributes:
        case_id: id of the case.
        changes: the changes in the order in which they were made.
        verdicts: the verdict on each repaired mask.
        estimates: the expected errors of each structure of the repaired map.
        segments: the named segments of the coronary arteries, where they were asked for.
    """

    case_id: str
    changes: tuple[Change, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    estimates: tuple[StructureEstimate, ...] = ()
    segments: tuple[SegmentRecord, ...] = ()

    @property
    def severity(self) -> Severity:
        """The highest severity of the changes; `warning` if a repaired mask was rejected."""
        if not all(v.accepted for v in self.verdicts):
            return "warning"
        return max((c.severity for c in self.changes), key=SEVERITIES.index, default="info")

    def table(self) -> tables.Table:
        """Make a table of the changes, a row for each.

        Returns:
            The table, with the centre of each change in mm, RAS+.
        """
        rows = []
        for change in self.changes:
            x, y, z = (round((low + high) / 2, 1) for low, high in zip(*change.box_mm, strict=True))
            row = {name: getattr(change, name) for name in ("rule", "structure", "action", "voxels", "volume_mm3")}
            rows.append({**row, "x_mm": x, "y_mm": y, "z_mm": z, "severity": change.severity, "note": change.note})
        return tables.Table(CHANGE_COLUMNS, rows)

    def to_dict(self) -> dict[str, Any]:
        """Convert the log to a table for JSON.

        Returns:
            The table.
        """
        return {
            "case": self.case_id,
            "severity": self.severity,
            "changes": [c.to_dict() for c in self.changes],
            "verdicts": [v.to_dict() for v in self.verdicts],
            "estimates": [one.to_dict() for one in self.estimates],
            **({"segments": [one.to_dict() for one in self.segments]} if self.segments else {}),
        }

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """Create a log from its table.

        Args:
            table: table that `to_dict` made, or its copy read from JSON.

        Returns:
            The log.

        Raises:
            KeyError: if a key is missing.
            TypeError: if a change or verdict has unknown or missing keys.
        """
        return cls(
            table["case"],
            tuple(Change.from_dict(c) for c in table["changes"]),
            tuple(Verdict(**v) for v in table["verdicts"]),
            # A log of an earlier version has none of these.
            tuple(StructureEstimate.from_dict(one) for one in table.get("estimates", ())),
            tuple(SegmentRecord.from_dict(one) for one in table.get("segments", ())),
        )


def estimate_table(logs: Iterable[ChangeLog]) -> tables.Table:
    """Make a table of the expected errors of repaired structures, a row for each.

    Args:
        logs: the change logs of the cases.

    Returns:
        The table, in the order of the logs.
    """
    rows = [{"case": log.case_id, **one.to_dict()} for log in logs for one in log.estimates]
    return tables.Table(ESTIMATE_COLUMNS, rows)


def change_log_to_json(log: ChangeLog) -> str:
    """Convert a change log to JSON text.

    Args:
        log: the change log.

    Returns:
        JSON text; lengths in mm, boxes in mm (RAS+) of the original label map.

    Example:
        >>> change_log_from_json(change_log_to_json(ChangeLog("001"))).case_id
        '001'
    """
    return json.dumps(log.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def change_log_from_json(text: str) -> ChangeLog:
    """Create a change log from JSON text.

    Args:
        text: text that `change_log_to_json` made.

    Returns:
        The change log.

    Raises:
        ValueError: if the text is no JSON.
        KeyError: if a key is missing.
        TypeError: if a change or verdict has unknown or missing keys.
    """
    return ChangeLog.from_dict(json.loads(text))
