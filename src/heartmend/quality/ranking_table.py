"""The ranking as a table for the screen, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from heartmend.io.atomic import write_json, write_text
from heartmend.quality.ranking import RankedCase, RankedStructure, Ranking

SHOWN = 20
STRUCTURE_COLUMNS = (
    "rank", "case", "structure", "relative_expected_error", "expected_dice_error", "median_dice_error", "present", "volume_ml",
    "outside_ml", "slice_staircase_mm", "roughness_mm", "faults_dice_error", "roughness_dice_error", "shape_dice_error",
    "shape_mm", "trust", "reasons",
)  # fmt: skip
CASE_COLUMNS = ("rank", "case", "relative_expected_error", "expected_dice_error", "worst_structures", "reasons")


def ranking_tables(ranking: Ranking, shown: int = SHOWN) -> RenderableType:
    """The most suspicious cases and structures (rich), each with its reasons."""
    cases = _table("Cases, the most suspicious first", ("case", "relative_expected_error", "expected error, %", "why"))
    for case in ranking.cases[:shown]:
        cases.add_row(
            Text(case.case),
            _times(case.relative_expected_error),
            _percent(case.error),
            Text("; ".join(case.reasons) or "nothing by itself"),
        )
    structures = _table(
        "Structures, the most suspicious first", ("case", "structure", "relative_expected_error", "expected error, %", "why")
    )
    for f in ranking.structures[:shown]:
        words = Text("; ".join(f.reasons) or "nothing by itself")
        structures.add_row(Text(f.case), f.structure, _times(f.relative_expected_error), _percent(f.error), words)
    legend = (
        "expected error: 1 - Dice that the label is thought to have; relative_expected_error: that as a multiple of what is usual "
        "for the structure in this data set"
    )
    if not ranking.with_shapes:
        legend += ". Without shapes: only what each label map shows by itself was looked at."
    return Group(cases, structures, Text(legend, style="dim"))


def ranking_to_dict(ranking: Ranking) -> dict[str, Any]:
    """Convert a ranking into a table for JSON.

    Args:
        ranking: the ranking.

    Returns:
        The rows of all cases and structures, the skipped cases, and whether shapes were fitted.
    """
    return {
        "with_shapes": ranking.with_shapes,
        "cases": [_case_row(n, c) for n, c in enumerate(ranking.cases, start=1)],
        "structures": [_structure_row(n, f) for n, f in enumerate(ranking.structures, start=1)],
        "skipped": ranking.skipped,
    }


def write_ranking(ranking: Ranking, folder: Path) -> list[Path]:
    """Write structures.csv, cases.csv and audit.json into the folder; returns the paths."""
    paths = [folder / "structures.csv", folder / "cases.csv", folder / "audit.json"]
    table = ranking_to_dict(ranking)
    write_text(paths[0], _csv(STRUCTURE_COLUMNS, table["structures"]))
    write_text(paths[1], _csv(CASE_COLUMNS, table["cases"]))
    write_json(paths[2], table)
    return paths


def _structure_row(number: int, finding: RankedStructure) -> dict[str, Any]:
    s = finding.signs
    values = (
        number, finding.case, finding.structure, _rounded(finding.relative_expected_error), _rounded(finding.error),
        _rounded(finding.median_error), s.present, _rounded(s.volume_ml), _rounded(s.outside_ml),
        _rounded(s.slice_staircase_mm), _rounded(s.roughness_mm), _rounded(s.faults_error), _rounded(s.roughness_error),
        _rounded(s.shape_error), _rounded(s.shape_mm), _rounded(s.trust), list(finding.reasons),
    )  # fmt: skip
    return dict(zip(STRUCTURE_COLUMNS, values, strict=True))


def _case_row(number: int, case: RankedCase) -> dict[str, Any]:
    worst = [f.structure for f in case.worst[:3]]
    values = (number, case.case, _rounded(case.relative_expected_error), _rounded(case.error), worst, list(case.reasons))
    return dict(zip(CASE_COLUMNS, values, strict=True))


def _csv(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(["; ".join(v) if isinstance(v, list) else v for v in row.values()] for row in rows)
    return text.getvalue()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        number = heading in ("relative_expected_error", "expected error, %")
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    return table


def _times(value: float) -> str:
    return f"{value:.1f} x"


def _percent(error: float) -> str:
    return f"{100 * error:.1f}"
