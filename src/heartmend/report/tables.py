"""The tables of a report: each structure before and after, in numbers that need no truth, and beside it where given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from heartmend.metrics.case import MapName, Row
from heartmend.metrics.evaluation import Evaluation

ALONE = ("volume_ml", "anatomy_component_error", "holes", "roughness_mm")
PAIR = ("dice", "hd95_mm")
REFERENCE = ("dice", "nsd_1mm", "hd95_mm")
KEYS = ("dice", "nsd_1mm", "hd95_mm", *ALONE)


@dataclass(frozen=True)
class Panel:
    """A figure of each structure and case, by structure and case id; `before` is empty where it compares the two."""

    title: str
    unit: str
    before: Mapping[str, Mapping[str, float]]
    after: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Table:
    """A table for a page: `rows` of texts, the first the structure's name."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = field(default=())


def before_after_table(found: Evaluation) -> Table:
    """What each label map shows by itself, before → after, and how far the two lie apart: means over the cases."""
    headings = (
        "structure", "cases", "volume, ml", "component count error", "holes", "roughness, mm",
        "Dice, before with after", "surface moved, mm (HD95)",
    )  # fmt: skip
    rows = []
    for name in _names(found):
        cells = [_pair(found, name, key, digits) for key, digits in zip(ALONE, (1, 1, 1, 2), strict=True)]
        between = [_mean(_values(found, name, key, "b", "a"), digits) for key, digits in zip(PAIR, (3, 1), strict=True)]
        rows.append((name, str(len(_values(found, name, "volume_ml", "a"))), *cells, *between))
    notes = (
        "Means over the cases, before → after. Roughness: standard deviation of the surface's height above its own "
        "mean within 3 mm. Surface moved: 95th percentile of the distance between the two surfaces.",
    )
    return Table("Every structure before and after mending", headings, tuple(rows), notes)


def reference_table(found: Evaluation) -> Table:
    """Both label maps against the reference."""
    headings = ("structure", "cases", "Dice", "Dice error removed, %", "surface Dice at 1 mm", "HD95, mm", "worse")
    rows = []
    for summary in found.summary:
        name = summary.structure
        cells = [_pair(found, name, key, digits) for key, digits in zip(REFERENCE, (3, 3, 1), strict=True)]
        reduction = summary.dice_error_reduction
        removed = "" if reduction is None else f"{100 * reduction:.0f}"
        worse = "" if summary.n_worse is None else str(summary.n_worse)
        rows.append((name, str(summary.cases), cells[0], removed, cells[1], cells[2], worse))
    notes = (
        "Means over the cases, before → after. Dice error removed: the share of the Dice error that the repair "
        "removed. Worse: cases in which both Dice and surface Dice fell by more than 0.01.",
    )
    return Table("Against the reference", headings, tuple(rows), notes)


def panels(found: Evaluation, against: Evaluation | None) -> list[Panel]:
    """What the chart of spreads shows; `against`: the evaluation with a reference."""
    both: list[Panel] = [
        Panel("roughness", "mm", *(_by_case(found, "roughness_mm", which) for which in ("a", "b"))),
        Panel("changed: 1 - Dice, before with after", "%", {}, _percent(_by_case(found, "dice", "b"))),
    ]
    if against is not None:
        errors = [_percent(_by_case(against, "dice", which)) for which in ("a", "b")]
        both.insert(0, Panel("error: 1 - Dice with the reference", "%", *errors))
    else:
        both.append(Panel("volume, change", "%", {}, _volume_change(found)))
    return both


def mean_dice(against: Evaluation | None) -> dict[str, float]:
    """The mean Dice of each mended case against the reference; empty without one."""
    by_case: dict[str, list[float]] = {}
    for row in against.rows if against is not None else ():
        if row.labels == "b" and "dice" in row.values and row.expected:
            by_case.setdefault(row.case, []).append(row.values["dice"])
    return {case: float(np.mean(values)) for case, values in by_case.items()}


def _names(found: Evaluation) -> list[str]:
    return list(dict.fromkeys(row.structure for row in found.rows))


def _rows(found: Evaluation, which: MapName) -> list[Row]:
    return [row for row in found.rows if row.labels == which and row.present]


def _values(found: Evaluation, name: str, key: str, *which: MapName) -> list[float]:
    """Of the cases in which all these maps have the structure; the numbers of the first map."""
    having = [{row.case for row in _rows(found, w) if row.structure == name} for w in which]
    cases = set.intersection(*having)
    rows = [row for row in _rows(found, which[0]) if row.structure == name and row.case in cases]
    return [row.values[key] for row in rows if key in row.values]


def _pair(found: Evaluation, name: str, key: str, digits: int) -> str:
    return f"{_mean(_values(found, name, key, 'a'), digits)} → {_mean(_values(found, name, key, 'b'), digits)}"


def _mean(values: Sequence[float], digits: int) -> str:
    return f"{np.mean(values):.{digits}f}" if values else "-"


def _by_case(found: Evaluation, key: str, which: MapName) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for row in _rows(found, which):
        if key in row.values:
            table.setdefault(row.structure, {})[row.case] = row.values[key]
    return table


def _percent(dice: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {name: {case: 100 * (1 - value) for case, value in found.items()} for name, found in dice.items()}


def _volume_change(found: Evaluation) -> dict[str, dict[str, float]]:
    was, now = (_by_case(found, "volume_ml", which) for which in ("a", "b"))
    return {
        name: {case: 100 * (ml / was[name][case] - 1) for case, ml in cases.items() if case in was.get(name, {})}
        for name, cases in now.items()
    }
