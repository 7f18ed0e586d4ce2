"""Ranking of the structures and cases of a data set by their expected label error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from heartmend.anatomy.schema import Anatomy
from heartmend.quality.error_indicators import ErrorIndicators
from heartmend.quality.reasons import CohortMedians, reasons
from heartmend.repair.shared_errors.report import SharedErrors

MIN_MEDIAN_ERROR = 0.005
"""A smaller median Dice error is below the resolution of voxels; it is replaced by this value in ratios."""
MIN_NAMED_SHARE = 0.25
"""A structure that grows out of another one and is absent is named if at least this share of the cases has it."""


@dataclass(frozen=True)
class RankedStructure:
    """Rank entry of a structure of a case.

    Attributes:
        case: case id.
        structure: name of the structure.
        expected_error: expected Dice error of the label.
        median_error: median of the expected Dice error of this structure in the cohort.
        reasons: indicators that differ from the cohort, as texts.
        indicators: the error indicators.
        minutes: time that a correction takes: the median of this structure in the cohort, as the surface of a label
            with many errors is larger than that which a person outlines.
    """

    case: str
    structure: str
    expected_error: float
    median_error: float
    reasons: tuple[str, ...]
    indicators: ErrorIndicators
    minutes: float

    @property
    def error_per_minute(self) -> float:
        """Expected error that a correction removes in a minute."""
        return self.expected_error / self.minutes

    @property
    def relative_expected_error(self) -> float:
        """Expected error as a multiple of the median of this structure in the cohort."""
        return self.expected_error / max(self.median_error, MIN_MEDIAN_ERROR)


@dataclass(frozen=True)
class RankedCase:
    """Rank entry of a case.

    Attributes:
        case: case id.
        relative_expected_error: mean over its structures.
        expected_error: mean over its structures.
        minutes: time that the correction of all of its structures takes.
        structures: its structures, the largest expected error in a minute first.
    """

    case: str
    relative_expected_error: float
    expected_error: float
    minutes: float
    structures: tuple[RankedStructure, ...]

    @property
    def error_per_minute(self) -> float:
        """Expected error that a correction removes in a minute: of all structures together."""
        return self.expected_error * len(self.structures) / self.minutes

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reasons that most structures share, then the two first ones of each of the three worst structures."""
        names: dict[str, list[str]] = {}
        for ranked in self.structures:
            for reason in ranked.reasons:
                names.setdefault(reason, []).append(ranked.structure)
        shared = [reason for reason, having in names.items() if 2 * len(having) > max(len(self.structures), 3)]
        own = [r for ranked in self.structures[:3] for r in ranked.reasons[:2] if r not in shared]
        return (*shared, *(f"{', '.join(names[r])}: {r}" for r in dict.fromkeys(own)))


@dataclass(frozen=True)
class Ranking:
    """Ranking of a data set.

    Attributes:
        structures: structures, the largest expected error in a minute of correction first.
        cases: cases, the largest expected error in a minute of correction first.
        skipped: reason for each case that was skipped, by case id.
        with_shapes: whether the labels were compared with fitted shapes.
        shared_errors: errors that all cases share; None where they were not measured.
    """

    structures: tuple[RankedStructure, ...]
    cases: tuple[RankedCase, ...]
    skipped: Mapping[str, str]
    with_shapes: bool
    shared_errors: SharedErrors | None = None


def rank(
    indicators: Iterable[ErrorIndicators],
    anatomy: Anatomy,
    with_shapes: bool,
    skipped: Mapping[str, str] | None = None,
) -> Ranking:
    """Rank structures and cases by the expected error that a person can remove in a minute.

    The expected error of an absent structure is the fraction of cases that have it; where most cases lack a structure,
    its absence is not ranked. One that is part of another structure in its label map has no expected error, nor has one
    that grows out of another structure and may be part of it: a quarter of the cases or more have it on its own.

    Args:
        indicators: error indicators of all structures of all cases.
        anatomy: anatomy of the label maps.
        with_shapes: whether the labels were compared with fitted shapes.
        skipped: reason for each case that was skipped.

    Returns:
        The ranking.
    """
    by_structure: dict[str, list[ErrorIndicators]] = {name: [] for name in anatomy.names}
    for one in indicators:
        by_structure[one.structure].append(one)
    ranked = []
    for name, members in by_structure.items():
        medians = CohortMedians.of(members)
        for one in members:
            share = medians.n_present / medians.n_cases
            is_missed = not one.host and share > 0.5
            is_named = bool(anatomy.by_name(name).must_touch) and share >= MIN_NAMED_SHARE
            if one.present or one.host or is_missed or is_named:
                error = one.expected_error if one.present else share if is_missed else 0.0
                texts = reasons(one, medians, anatomy.by_name(name))
                ranked.append(
                    RankedStructure(one.case, name, error, medians.expected_error, texts, one, medians.minutes)
                )
    ranked.sort(key=lambda r: (-r.error_per_minute, r.case, r.structure))
    by_case: dict[str, list[RankedStructure]] = {}
    for entry in ranked:
        by_case.setdefault(entry.case, []).append(entry)
    cases = [
        RankedCase(
            case,
            float(np.mean([r.relative_expected_error for r in entries])),
            float(np.mean([r.expected_error for r in entries])),
            sum(r.minutes for r in entries),
            tuple(entries),
        )
        for case, entries in by_case.items()
    ]
    cases.sort(key=lambda c: (-c.error_per_minute, c.case))
    return Ranking(tuple(ranked), tuple(cases), dict(skipped or {}), with_shapes)
