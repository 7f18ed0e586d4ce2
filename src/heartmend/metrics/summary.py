"""A data set in numbers: for each structure the spread of every metric over the cases, and what b is beside a."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from heartmend.metrics.case import Row, Which
from heartmend.metrics.catalogue import Metric
from heartmend.metrics.statistics import PairedTest, Spread, holm, paired_test, spread

HARM = 0.01
HARM_KEYS = ("dice", "nsd_1mm")


@dataclass(frozen=True)
class StructureSummary:
    """One structure over the cases that have it.

    Counted are the rows whose map to compare with has the structure (with a reference: the cases in which it has it);
    `missing` of these maps lack it, and `extra` are maps that have what the other lacks: these are counted nowhere
    else.
    """

    structure: str
    cases: int
    missing: Mapping[Which, int]
    extra: Mapping[Which, int]
    spreads: Mapping[str, Mapping[Which, Spread]]
    """By the metric's key and by map."""
    tests: Mapping[str, PairedTest]
    """By the metric's key: b beside a, where both have it."""
    gone: float | None = None
    """With a reference: the share of a's mean Dice error that b does not have; below 0 b is worse."""
    harmed: tuple[str, ...] | None = None
    """With a reference: the cases in which both Dice and surface Dice at 1 mm are lower in b by more than 0.01."""


def summarise(rows: Iterable[Row], metrics: Sequence[Metric], seed: int = 0) -> tuple[StructureSummary, ...]:
    """The summaries of the structures in the order in which they first come; `seed` is that of the bootstrap."""
    by_structure: dict[str, list[Row]] = {}
    for row in rows:
        by_structure.setdefault(row.structure, []).append(row)
    found = [_summary(structure, members, metrics, seed) for structure, members in by_structure.items()]
    for metric in metrics:
        tested = [i for i, s in enumerate(found) if metric.key in s.tests]
        corrected = holm([found[i].tests[metric.key].p for i in tested])
        for i, p in zip(tested, corrected, strict=True):
            test = replace(found[i].tests[metric.key], p_holm=p)
            found[i] = replace(found[i], tests={**found[i].tests, metric.key: test})
    return tuple(found)


def _summary(structure: str, rows: Sequence[Row], metrics: Sequence[Metric], seed: int) -> StructureSummary:
    counted: dict[Which, dict[str, Row]] = {}
    missing: dict[Which, int] = {}
    extra: dict[Which, int] = {}
    for row in rows:
        members = counted.setdefault(row.labels, {})
        missing[row.labels] = missing.get(row.labels, 0) + (row.expected and not row.present and bool(row.against))
        extra[row.labels] = extra.get(row.labels, 0) + (row.present and not row.expected)
        if row.expected and (row.present or row.against):
            members[row.case] = row
    spreads: dict[str, dict[Which, Spread]] = {}
    tests: dict[str, PairedTest] = {}
    a, b = counted.get("a", {}), counted.get("b", {})
    for metric in metrics:
        for which, members in counted.items():
            values = [row.values[metric.key] for row in members.values() if metric.key in row.values]
            if values:
                spreads.setdefault(metric.key, {})[which] = spread(values, seed)
        pairs = [(a[case].values, b[case].values) for case in a if case in b]
        both = [(x[metric.key], y[metric.key]) for x, y in pairs if metric.key in x and metric.key in y]
        if both:
            tests[metric.key] = paired_test([x for x, _ in both], [y for _, y in both], seed)
    gone, harmed = _gone(spreads), _harmed(a, b)
    return StructureSummary(structure, max(map(len, counted.values())), missing, extra, spreads, tests, gone, harmed)


def _gone(spreads: Mapping[str, Mapping[Which, Spread]]) -> float | None:
    dice = spreads.get("dice", {})
    return 1 - (1 - dice["b"].mean) / max(1 - dice["a"].mean, 1e-9) if {"a", "b"} <= dice.keys() else None


def _harmed(a: Mapping[str, Row], b: Mapping[str, Row]) -> tuple[str, ...] | None:
    cases = [case for case in a if case in b and all(k in row.values for k in HARM_KEYS for row in (a[case], b[case]))]
    if not cases:
        return None
    return tuple(case for case in cases if all(b[case].values[k] < a[case].values[k] - HARM for k in HARM_KEYS))
