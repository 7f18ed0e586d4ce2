"""Summary of an evaluation: for each structure the spread of every metric over the cases, and b compared with a."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from heartmend.metrics.case import MapName, Row
from heartmend.metrics.metric_catalogue import Metric
from heartmend.metrics.statistics import PairedTest, Spread, holm, paired_test, spread, upper_bound

WORSE_BY = 0.01
"""A case is worse in b if each metric of `WORSE_KEYS` is lower than in a by more than this."""
WORSE_KEYS = ("dice", "nsd_1mm")
PRESENT_KEYS = ("hd95_mm", "assd_mm")
"""Distances in mm. A miss costs the diagonal of the volume, so they are summarised without misses too."""


@dataclass(frozen=True)
class StructureSummary:
    """Summary of one structure over the cases that have it.

    A row counts if the map it is compared with contains the structure; with a reference these are the cases whose
    reference contains it.

    Attributes:
        structure: name of the structure.
        cases: number of cases that count.
        false_negative_cases: by map, the number of these cases in which the map lacks the structure.
        false_positive_cases: by map, the number of cases in which the map contains the structure and the map it is
            compared with does not. They count nowhere else.
        spreads: by the metric's key and by map, the statistics over the cases.
        tests: by the metric's key, the paired comparison of b with a over the cases in which both have a value.
        dice_error_reduction: with a reference, the share of the mean Dice error (1 - Dice) of a that b removes; below 0
            if b is worse.
        worse_cases: with a reference, the ids of the cases that are worse in b: both Dice and surface Dice at 1 mm are
            lower by more than `WORSE_BY`.
        present: by the metric's key and by map, the statistics of `PRESENT_KEYS` over the cases in which both maps have
            the structure: the distances without what a miss costs.
    """

    structure: str
    cases: int
    false_negative_cases: Mapping[MapName, int]
    false_positive_cases: Mapping[MapName, int]
    spreads: Mapping[str, Mapping[MapName, Spread]]
    tests: Mapping[str, PairedTest]
    dice_error_reduction: float | None = None
    worse_cases: tuple[str, ...] | None = None
    present: Mapping[str, Mapping[MapName, Spread]] = field(default_factory=dict)

    @property
    def n_worse(self) -> int | None:
        """Number of cases that are worse in b; None without a reference."""
        return None if self.worse_cases is None else len(self.worse_cases)

    @property
    def worse_upper95(self) -> float | None:
        """One-sided 95 % upper bound of the share of worse cases; None without a reference."""
        return None if self.worse_cases is None else upper_bound(len(self.worse_cases), self.cases)


@dataclass(frozen=True)
class Worse:
    """Pairs of a case and a structure that are worse in b.

    Attributes:
        found: number of these pairs.
        pairs: number of all pairs.
        upper95: one-sided 95 % upper bound of their share, where the pairs are independent.
    """

    found: int
    pairs: int
    upper95: float

    @classmethod
    def of(cls, found: int, pairs: int) -> Worse:
        """Count pairs with their bound.

        Args:
            found: number of worse pairs.
            pairs: number of all pairs.

        Returns:
            The count; the bound is 1 where there is no pair.
        """
        return cls(found, pairs, upper_bound(found, pairs) if pairs else 1.0)

    def __str__(self) -> str:
        return f"{self.found} of {self.pairs} (95 %: at most {100 * self.upper95:.1f} %)"


def count_worse(summary: Iterable[StructureSummary]) -> Worse:
    """Count the pairs of a case and a structure that are worse in b, over all structures.

    Args:
        summary: summaries with a reference.

    Returns:
        The count with its upper bound.
    """
    counted = [s for s in summary if s.worse_cases is not None and s.cases]
    return Worse.of(sum(s.n_worse or 0 for s in counted), sum(s.cases for s in counted))


def summarise(rows: Iterable[Row], metrics: Sequence[Metric], seed: int = 0) -> tuple[StructureSummary, ...]:
    """Summarise the rows of all cases for each structure.

    Args:
        rows: rows of `evaluate_case` of all cases.
        metrics: the metrics to summarise.
        seed: seed of the bootstrap.

    Returns:
        One summary for each structure, in the order of their first rows. p values are corrected for the number of
        structures.
    """
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
    counted: dict[MapName, dict[str, Row]] = {}
    negatives: dict[MapName, int] = {}
    positives: dict[MapName, int] = {}
    for row in rows:
        members = counted.setdefault(row.labels, {})
        lacking = row.expected and not row.present and bool(row.against)
        negatives[row.labels] = negatives.get(row.labels, 0) + lacking
        positives[row.labels] = positives.get(row.labels, 0) + (row.present and not row.expected)
        if row.expected and (row.present or row.against):
            members[row.case] = row
    spreads: dict[str, dict[MapName, Spread]] = {}
    present: dict[str, dict[MapName, Spread]] = {}
    tests: dict[str, PairedTest] = {}
    a, b = counted.get("a", {}), counted.get("b", {})
    for metric in metrics:
        for which, members in counted.items():
            values = [row.values[metric.key] for row in members.values() if metric.key in row.values]
            if values:
                spreads.setdefault(metric.key, {})[which] = spread(values, seed)
            both_have = [row.values[metric.key] for row in members.values() if row.present and metric.key in row.values]
            if metric.key in PRESENT_KEYS and both_have:
                present.setdefault(metric.key, {})[which] = spread(both_have, seed)
        pairs = [(a[case].values, b[case].values) for case in a if case in b]
        both = [(x[metric.key], y[metric.key]) for x, y in pairs if metric.key in x and metric.key in y]
        if both:
            tests[metric.key] = paired_test([x for x, _ in both], [y for _, y in both], seed)
    return StructureSummary(
        structure, max(map(len, counted.values())), negatives, positives, spreads, tests,
        _dice_error_reduction(spreads), _worse_cases(a, b), present,
    )  # fmt: skip


def _dice_error_reduction(spreads: Mapping[str, Mapping[MapName, Spread]]) -> float | None:
    dice = spreads.get("dice", {})
    return 1 - (1 - dice["b"].mean) / max(1 - dice["a"].mean, 1e-9) if {"a", "b"} <= dice.keys() else None


def _worse_cases(a: Mapping[str, Row], b: Mapping[str, Row]) -> tuple[str, ...] | None:
    cases = [case for case in a if case in b and all(k in row.values for k in WORSE_KEYS for row in (a[case], b[case]))]
    if not cases:
        return None
    return tuple(case for case in cases if all(b[case].values[k] < a[case].values[k] - WORSE_BY for k in WORSE_KEYS))
