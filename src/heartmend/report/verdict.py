"""Verdict of a report: how many cases are repaired, and which of them a person should look at first, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from heartmend.report.changes import CaseChange
from heartmend.wording import plural

MIN_CASES = 5
"""With fewer cases there is no median that a case could be compared with."""
MUCH_CHANGED, TIMES_THE_MEDIAN = 0.05, 2.0
"""A case is unusual if a larger fraction of its heart changed, and more than so many times the median of the cases."""
STRUCTURE_MUCH_CHANGED, STRUCTURE_TIMES_THE_MEDIAN = 20.0, 3.0
"""A structure is unusual if more percent of it changed, and more than so many times the median of the structure."""
NAMED = 5


@dataclass(frozen=True)
class CaseToLookAt:
    """A case that a person should look at first.

    Attributes:
        case: case id.
        reasons: why, the most serious first.
    """

    case: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class RunVerdict:
    """Verdict on a run.

    Attributes:
        n_repaired: repaired cases.
        n_left_out: cases that are not repaired, or cannot be read.
        to_look_at: the cases to look at first, the most serious first.
    """

    n_repaired: int
    n_left_out: int
    to_look_at: tuple[CaseToLookAt, ...]

    @property
    def text(self) -> str:
        """The verdict in one sentence, such as "20 of 20 cases repaired; 2 need a look: 012, 010"."""
        repaired = f"{self.n_repaired:,} of {plural(self.n_repaired + self.n_left_out, 'case')} repaired"
        if not self.to_look_at:
            return f"{repaired}; none stands out"
        count = len(self.to_look_at)
        ids = ", ".join(one.case for one in self.to_look_at[:NAMED])
        more = f" and {count - NAMED:,} more" if count > NAMED else ""
        return f"{repaired}; {count:,} {'needs' if count == 1 else 'need'} a look: {ids}{more}"


def verdict_of(
    changes: Sequence[CaseChange],
    n_left_out: int,
    changed_percent: Mapping[str, Mapping[str, float]],
    became_worse: Mapping[str, Sequence[str]] | None = None,
) -> RunVerdict:
    """Find the cases that a person should look at first.

    These are cases with a warning, cases with a structure whose original was kept, cases that became worse by a
    reference, and cases of which much more changed than of the others.

    Args:
        changes: changes of the repaired cases.
        n_left_out: number of the other cases.
        changed_percent: percent of each structure that changed, by structure and case id.
        became_worse: with a reference, the ids of the cases in which a structure became worse, by structure.

    Returns:
        The verdict.
    """
    usual = float(np.median([c.changed_fraction for c in changes])) if len(changes) >= MIN_CASES else np.inf
    found = list[tuple[tuple[float, ...], CaseToLookAt]]()
    for c in changes:
        worse = [name for name, cases in (became_worse or {}).items() if c.case in cases]
        much = c.changed_fraction > max(MUCH_CHANGED, TIMES_THE_MEDIAN * usual)
        unusual = _unusual_structures(c.case, changed_percent)
        reasons = [f"worse than before by the reference: {', '.join(worse)}"] if worse else []
        reasons += c.reasons
        if much:
            reasons.append(f"{100 * c.changed_fraction:.1f} % of the heart changed (median {100 * usual:.1f} %)")
        reasons += unusual
        if reasons:
            order = (-len(worse), -len(c.not_accepted), -c.n_warning, -float(much), -len(unusual), -c.changed_fraction)
            found.append((order, CaseToLookAt(c.case, tuple(reasons))))
    found.sort(key=lambda one: (one[0], one[1].case))
    return RunVerdict(len(changes), n_left_out, tuple(one for _, one in found))


def _unusual_structures(case: str, changed_percent: Mapping[str, Mapping[str, float]]) -> list[str]:
    texts = []
    for name, by_case in changed_percent.items():
        if case not in by_case or len(by_case) < MIN_CASES:
            continue
        usual = float(np.median(list(by_case.values())))
        if by_case[case] > max(STRUCTURE_MUCH_CHANGED, STRUCTURE_TIMES_THE_MEDIAN * usual):
            texts.append(f"{name} changed by {by_case[case]:.0f} % (median {usual:.0f} %)")
    return texts
