"""Ranking of labels as tables for the terminal, as CSV and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from heartmend.io.atomic import write_json, write_text
from heartmend.io.tables import format_csv
from heartmend.quality.ranking import RankedCase, RankedStructure, Ranking
from heartmend.repair.shared_errors.tables import region_table

N_SHOWN = 20
STRUCTURE_COLUMNS = (
    "rank", "case", "structure", "relative_expected_error", "expected_dice_error", "median_dice_error", "minutes",
    "error_per_minute", "present",
    "volume_ml", "outside_ml", "slice_staircase_mm", "roughness_mm", "defect_dice_error", "roughness_dice_error",
    "shape_dice_error", "shape_distance_mm", "shape_weight", "reasons",
)  # fmt: skip
CASE_COLUMNS = (
    "rank", "case", "relative_expected_error", "expected_dice_error", "minutes", "error_per_minute",
    "worst_structures", "reasons",
)  # fmt: skip
_LEGEND = (
    "in the order of the expected error that a person can remove in a minute; expected error: expected 1 - Dice of "
    "the label; relative: as a multiple of the median of the structure in the data set; minutes: a model of the time "
    "that a correction takes"
)
_NUMBER_HEADINGS = ("relative", "expected error, %", "minutes")


def ranking_tables(ranking: Ranking, n_shown: int = N_SHOWN) -> RenderableType:
    """Make tables of the first cases and structures for the terminal.

    Args:
        ranking: the ranking.
        n_shown: number of cases and of structures.

    Returns:
        Two tables and a legend (rich).
    """
    cases = _table("Cases by expected error", ("case", *_NUMBER_HEADINGS, "reasons"))
    for case in ranking.cases[:n_shown]:
        cases.add_row(Text(case.case), *_numbers(case), _reasons(case.reasons))
    structures = _table("Structures by expected error", ("case", "structure", *_NUMBER_HEADINGS, "reasons"))
    for ranked in ranking.structures[:n_shown]:
        structures.add_row(Text(ranked.case), ranked.structure, *_numbers(ranked), _reasons(ranked.reasons))
    legend = _LEGEND
    if not ranking.with_shapes:
        legend += ". Without fitted shapes: each label map was checked by itself only."
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
        "structures": [_structure_row(n, r) for n, r in enumerate(ranking.structures, start=1)],
        "skipped": ranking.skipped,
        **({} if ranking.shared_errors is None else {"shared_errors": ranking.shared_errors.to_dict()}),
    }


def write_ranking(ranking: Ranking, folder: Path) -> list[Path]:
    """Write structures.csv, cases.csv and ranking.json, and shared_errors.csv where these errors were measured.

    Args:
        ranking: the ranking.
        folder: folder to write to.

    Returns:
        Paths of the files.
    """
    paths = [folder / "structures.csv", folder / "cases.csv", folder / "ranking.json"]
    table = ranking_to_dict(ranking)
    write_text(paths[0], _csv(STRUCTURE_COLUMNS, table["structures"]))
    write_text(paths[1], _csv(CASE_COLUMNS, table["cases"]))
    write_json(paths[2], table)
    if ranking.shared_errors is not None:
        regions = region_table(ranking.shared_errors)
        paths.append(folder / "shared_errors.csv")
        names = [column.name for column in regions.columns]
        write_text(paths[-1], format_csv(names, ([row[name] for name in names] for row in regions.rows)))
    return paths


def _structure_row(number: int, ranked: RankedStructure) -> dict[str, Any]:
    i = ranked.indicators
    values = (
        number, ranked.case, ranked.structure, _rounded(ranked.relative_expected_error),
        _rounded(ranked.expected_error), _rounded(ranked.median_error), _rounded(ranked.minutes),
        _rounded(ranked.error_per_minute), i.present, _rounded(i.volume_ml), _rounded(i.outside_ml),
        _rounded(i.slice_staircase_mm), _rounded(i.roughness_mm), _rounded(i.defect_error), _rounded(i.roughness_error),
        _rounded(i.shape_error), _rounded(i.shape_distance_mm), _rounded(i.shape_weight), list(ranked.reasons),
    )  # fmt: skip
    return dict(zip(STRUCTURE_COLUMNS, values, strict=True))


def _case_row(number: int, case: RankedCase) -> dict[str, Any]:
    worst = [ranked.structure for ranked in case.structures[:3]]
    errors = (
        _rounded(case.relative_expected_error), _rounded(case.expected_error), _rounded(case.minutes),
        _rounded(case.error_per_minute),
    )  # fmt: skip
    return dict(zip(CASE_COLUMNS, (number, case.case, *errors, worst, list(case.reasons)), strict=True))


def _csv(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    return format_csv(columns, (["; ".join(v) if isinstance(v, list) else v for v in row.values()] for row in rows))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in _NUMBER_HEADINGS else "left", overflow="fold")
    return table


def _numbers(ranked: RankedCase | RankedStructure) -> tuple[str, str, str]:
    return f"{ranked.relative_expected_error:.1f} x", f"{100 * ranked.expected_error:.1f}", f"{ranked.minutes:.0f}"


def _reasons(texts: Sequence[str]) -> Text:
    return Text("; ".join(texts) or "no single reason")
