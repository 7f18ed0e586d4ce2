"""An evaluation as flat tables: one of the cases, one of the spreads over them, one of the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from heartmend.io.tables import NO_UNIT, Column
from heartmend.metrics.case import Row
from heartmend.metrics.catalogue import Metric
from heartmend.metrics.summary import StructureSummary

_ROW = (
    Column("case", str), Column("structure", str), Column("labels", str, title="the map that is measured"),
    Column("against", str, title="the map that it is compared with"),
    Column("present", bool, title="this map has the structure"),
    Column("expected", bool, title="the map to compare with has it"),
)  # fmt: skip
_OF = (Column("structure", str), Column("metric", str), Column("unit", str, title="of all numbers but n"))
_INTERVAL = (
    Column("low", float, title="low end of the 95 % bootstrap interval of the mean"),
    Column("high", float, title="high end of it"),
)
_SPREAD = (
    *_OF, Column("labels", str), Column("n", int, NO_UNIT, "cases"), Column("mean", float),
    Column("sd", float, title="standard deviation of a sample"), Column("median", float), *_INTERVAL,
)  # fmt: skip
_TEST = (
    *_OF, Column("n", int, NO_UNIT, "cases that have both"), Column("difference", float, title="mean of b - a"),
    *_INTERVAL, Column("p", float, NO_UNIT, "Wilcoxon signed-rank, two-sided"),
    Column("p_holm", float, NO_UNIT, "corrected for the number of structures"),
    Column("rank_biserial", float, NO_UNIT, "effect size, -1 to 1"),
    Column("cohen_d", float, NO_UNIT, "effect size d_z"),
)  # fmt: skip
_STRUCTURE = (
    Column("structure", str), Column("cases", int, NO_UNIT, "cases that are counted"),
    Column("missing_a", int, NO_UNIT, "of these, cases in which a lacks it"),
    Column("missing_b", int, NO_UNIT, "of these, cases in which b lacks it"),
    Column("extra_a", int, NO_UNIT, "cases in which a has it and the reference has not; not counted"),
    Column("extra_b", int, NO_UNIT, "cases in which b has it and what it is compared with has not; not counted"),
    Column("gone", float, NO_UNIT, "share of the Dice error of a that b does not have"),
    Column("harmed", int, NO_UNIT, "cases in which Dice and surface Dice at 1 mm fell by more than 0.01 from a to b"),
)  # fmt: skip


@dataclass(frozen=True)
class FlatTable:
    """A table by its name: the columns, and a mapping from column to value for each row."""

    name: str
    columns: tuple[Column, ...]
    rows: Sequence[Mapping[str, Any]]


def flat_tables(
    rows: Sequence[Row], metrics: Sequence[Metric], summary: Sequence[StructureSummary]
) -> tuple[FlatTable, ...]:
    """The tables `cases` (a line for each case, structure and map), `structures`, `summary` and `tests`."""
    measured = [Column(m.key, float, m.unit or NO_UNIT, m.title) for m in metrics]
    units = {m.key: m.unit or NO_UNIT for m in metrics}
    counts = [
        {
            "structure": s.structure, "cases": s.cases, "gone": s.gone,
            "harmed": None if s.harmed is None else len(s.harmed),
            "missing_a": s.missing["a"], "missing_b": s.missing["b"], "extra_a": s.extra["a"], "extra_b": s.extra["b"],
        }
        for s in summary
    ]  # fmt: skip
    spreads = [
        {"structure": s.structure, "metric": key, "unit": units[key], "labels": labels, **asdict(found)}
        for s in summary
        for key, by_map in s.spreads.items()
        for labels, found in by_map.items()
    ]
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
