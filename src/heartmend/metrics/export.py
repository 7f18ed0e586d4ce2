"""Evaluation as flat tables: rows of the cases, counts of the structures, spreads, and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from heartmend.io.tables import NO_UNIT, Column
from heartmend.metrics.case import Row
from heartmend.metrics.metric_catalogue import Metric
from heartmend.metrics.summary import PRESENT_KEYS, StructureSummary

TableName = Literal["cases", "structures", "summary", "tests", "parts", "parts_summary"]

_ROW = (
    Column("case", str), Column("structure", str), Column("labels", str, title="the label map that is measured"),
    Column("against", str, title="the label map it is compared with"),
    Column("present", bool, title="this map contains the structure"),
    Column("expected", bool, title="the map it is compared with contains the structure"),
)  # fmt: skip
_OF = (Column("structure", str), Column("metric", str), Column("unit", str, title="of all numbers but n"))
_INTERVAL = (
    Column("ci95_low", float, title="lower bound of the 95 % bootstrap interval of the mean"),
    Column("ci95_high", float, title="upper bound of that interval"),
)
_SPREAD = (
    *_OF, Column("labels", str), Column("n", int, NO_UNIT, "cases"), Column("mean", float),
    Column("sd", float, title="standard deviation of the sample"), Column("median", float), *_INTERVAL,
)  # fmt: skip
_TEST = (
    *_OF, Column("n", int, NO_UNIT, "cases that have both"), Column("difference", float, title="mean of b - a"),
    *_INTERVAL, Column("p", float, NO_UNIT, "Wilcoxon signed-rank, two-sided"),
    Column("p_holm", float, NO_UNIT, "corrected for the number of structures"),
    Column("rank_biserial", float, NO_UNIT, "effect size, -1 to 1"),
    Column("cohen_d", float, NO_UNIT, "effect size d_z"),
)  # fmt: skip
_STRUCTURE = (
    Column("structure", str), Column("cases", int, NO_UNIT, "cases that count: the structure is expected"),
    Column("false_negative_cases_a", int, NO_UNIT, "of these, cases in which a lacks it"),
    Column("false_negative_cases_b", int, NO_UNIT, "of these, cases in which b lacks it"),
    Column("false_positive_cases_a", int, NO_UNIT, "other cases, in which a has it and the reference has not"),
    Column("false_positive_cases_b", int, NO_UNIT, "other cases, in which b has it and the other map has not"),
    Column("dice_error_reduction", float, NO_UNIT, "share of the mean Dice error of a that b removes"),
    Column("n_worse", int, NO_UNIT, "cases in which Dice and surface Dice at 1 mm fell by more than 0.01 from a to b"),
    Column("worse_upper95", float, NO_UNIT, "95 % upper bound of the share of such cases"),
    *(
        Column(f"{key.removesuffix('_mm')}_present_{which}_mm", float, "mm", "mean over cases in which both have it")
        for key in PRESENT_KEYS
        for which in ("a", "b")
    ),
)  # fmt: skip


@dataclass(frozen=True)
class FlatTable:
    """Table of an evaluation.

    Attributes:
        name: name of the table, which is that of its files.
        columns: name, type, unit and title of each column.
        rows: for each row a mapping from column to value; what is undefined is left out or None.
    """

    name: TableName
    columns: tuple[Column, ...]
    rows: Sequence[Mapping[str, Any]]


def flat_tables(
    rows: Sequence[Row], metrics: Sequence[Metric], summary: Sequence[StructureSummary]
) -> tuple[FlatTable, ...]:
    """Arrange an evaluation in flat tables.

    Args:
        rows: rows of all cases.
        metrics: the metrics that the rows contain.
        summary: summaries of the structures.

    Returns:
        The tables `cases` (a row for each case, structure and map), `structures` (counts), `summary` (a row for each
        structure, metric and map) and `tests` (a row for each structure and metric).
    """
    measured = [Column(m.key, float, m.unit or NO_UNIT, m.title) for m in metrics]
    units = {m.key: m.unit or NO_UNIT for m in metrics}
    counts = [
        {
            "structure": s.structure, "cases": s.cases, "dice_error_reduction": s.dice_error_reduction,
            "n_worse": s.n_worse, "worse_upper95": s.worse_upper95,
            **{
                f"{key.removesuffix('_mm')}_present_{which}_mm": found.mean
                for key, by_map in s.present.items()
                for which, found in by_map.items()
                if which in ("a", "b")
            },
            **{f"false_negative_cases_{which}": s.false_negative_cases[which] for which in ("a", "b")},
            **{f"false_positive_cases_{which}": s.false_positive_cases[which] for which in ("a", "b")},
        }
        for s in summary
    ]  # fmt: skip
    spreads = _spreads(metrics, summary)
    tests = [
        {"structure": s.structure, "metric": key, "unit": units[key], **asdict(found)}
        for s in summary
        for key, found in s.tests.items()
    ]
    return (
        FlatTable("cases", (*_ROW, *measured), [row.to_dict() for row in rows]),
        FlatTable("structures", _STRUCTURE, counts),
        FlatTable("summary", _SPREAD, spreads),
        FlatTable("tests", _TEST, tests),
    )


def parts_tables(
    rows: Sequence[Row], metrics: Sequence[Metric], summary: Sequence[StructureSummary]
) -> tuple[FlatTable, ...]:
    """Arrange the evaluation of parts of a structure in flat tables.

    Args:
        rows: rows of all cases and parts.
        metrics: the metrics that the rows contain.
        summary: summaries of the parts.

    Returns:
        The tables `parts` and `parts_summary`, as `cases` and `summary` of `flat_tables`.
    """
    measured = [Column(m.key, float, m.unit or NO_UNIT, m.title) for m in metrics]
    return (
        FlatTable("parts", (*_ROW, *measured), [row.to_dict() for row in rows]),
        FlatTable("parts_summary", _SPREAD, _spreads(metrics, summary)),
    )


def _spreads(metrics: Sequence[Metric], summary: Sequence[StructureSummary]) -> list[dict[str, Any]]:
    units = {m.key: m.unit or NO_UNIT for m in metrics}
    return [
        {"structure": s.structure, "metric": key, "unit": units[key], "labels": labels, **asdict(found)}
        for s in summary
        for key, by_map in s.spreads.items()
        for labels, found in by_map.items()
    ]
