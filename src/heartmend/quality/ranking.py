"""A data set's structures and cases, the most suspicious first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from heartmend.anatomy.schema import Anatomy
from heartmend.quality.error_indicators import ErrorIndicators
from heartmend.quality.reasons import CohortMedians, reasons

LEAST_ERROR = 0.005
"""Below this a Dice error is the voxels' own, and a multiple of it says nothing."""


@dataclass(frozen=True)
class RankedStructure:
    """A structure of a case. error: the Dice error expected of it; median_error: the cohort's median for it."""

    case: str
    structure: str
    error: float
    median_error: float
    reasons: tuple[str, ...]
    signs: ErrorIndicators

    @property
    def relative_expected_error(self) -> float:
        """The expected error as a multiple of what is usual for this structure in this cohort."""
        return self.error / max(self.median_error, LEAST_ERROR)


@dataclass(frozen=True)
class RankedCase:
    """A case: the mean of its structures' relative_expected_error, and its most suspicious structures, the first first."""

    case: str
    relative_expected_error: float
    error: float
    """Mean over its structures."""
    worst: tuple[RankedStructure, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """What most of its structures share, then of the three worst what stands out most, each said once."""
        having: dict[str, list[str]] = {}
        for finding in self.worst:
            for reason in finding.reasons:
                having.setdefault(reason, []).append(finding.structure)
        shared = [reason for reason, names in having.items() if 2 * len(names) > max(len(self.worst), 3)]
        own = [r for f in self.worst[:3] for r in f.reasons[:2] if r not in shared]
        return (*shared, *(f"{', '.join(having[r])}: {r}" for r in dict.fromkeys(own)))


@dataclass(frozen=True)
class Ranking:
    """All findings, the most suspicious first; skipped: cases that could not be screened, and why."""

    structures: tuple[RankedStructure, ...]
    cases: tuple[RankedCase, ...]
    skipped: Mapping[str, str]
    with_shapes: bool
    """Whether cohort shapes were there to compare with."""


def rank(
    signs: Iterable[ErrorIndicators], anatomy: Anatomy, with_shapes: bool, skipped: Mapping[str, str] | None = None
) -> Ranking:
    """Rank structures and cases by how much more wrong than usual they are expected to be.

    A structure that a case lacks counts with the share of the cases that have it; one that most cases lack is no
    finding.
    """
    by_structure: dict[str, list[ErrorIndicators]] = {name: [] for name in anatomy.names}
    for one in signs:
        by_structure[one.structure].append(one)
    findings = []
    for name, members in by_structure.items():
        usual = CohortMedians.of(members)
        for one in members:
            error = one.error if one.present else usual.having / usual.cases
            if one.present or error > 0.5:
                words = reasons(one, usual, anatomy.by_name(name))
                findings.append(RankedStructure(one.case, name, error, usual.error, words, one))
    findings.sort(key=lambda f: (-f.relative_expected_error, f.case, f.structure))
    by_case: dict[str, list[RankedStructure]] = {}
    for finding in findings:
        by_case.setdefault(finding.case, []).append(finding)
    cases = [
        RankedCase(
            case, float(np.mean([f.relative_expected_error for f in found])), float(np.mean([f.error for f in found])), tuple(found)
        )
        for case, found in by_case.items()
    ]
    cases.sort(key=lambda c: (-c.relative_expected_error, c.case))
    return Ranking(tuple(findings), tuple(cases), dict(skipped or {}), with_shapes)
