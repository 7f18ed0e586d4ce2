"""Plan of a release: which cases are released, and where each structure of a case is taken from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from heartmend.io.dataset import Case
from heartmend.review.summary import ReviewSummary, read_summary
from heartmend.run_folder.decisions import Choice, Decision, Decisions
from heartmend.run_folder.finished import FinishedRun

Undecided = Literal["leave-out", "accept", "reject"]
"""What is done with open structures: the case is left out, or they are accepted or rejected."""
UNDECIDED: tuple[Undecided, ...] = get_args(Undecided)


@dataclass(frozen=True)
class CasePlan:
    """Choice for each structure of a case.

    Attributes:
        case: the case.
        summary: its review summary.
        choices: choice by name of the structure.
        decisions: the decisions behind the choices.
    """

    case: Case
    summary: ReviewSummary
    choices: Mapping[str, Choice]
    decisions: tuple[Decision, ...] = ()

    def structures_with(self, *choices: Choice) -> tuple[str, ...]:
        """Select structures by choice.

        Args:
            *choices: one or more choices.

        Returns:
            Names of the structures with one of the choices, in the order of the anatomy.
        """
        return tuple(name for name, choice in self.choices.items() if choice in choices)

    def with_open_as(self, choice: Choice) -> CasePlan:
        """Close every open structure.

        Args:
            choice: choice for the open structures.

        Returns:
            A new plan.
        """
        return replace(self, choices={n: choice if c == "open" else c for n, c in self.choices.items()})


@dataclass(frozen=True)
class ReleasePlan:
    """Plan for all cases of a run.

    Attributes:
        release: cases that are released.
        to_correct: cases that wait for a hand-corrected label map.
        left_out: reason for each case that is left out, by case id.
    """

    release: tuple[CasePlan, ...]
    to_correct: tuple[CasePlan, ...]
    left_out: dict[str, str]


def plan_release(finished: FinishedRun, decisions: Decisions, undecided: Undecided = "leave-out") -> ReleasePlan:
    """Plan a release from the decisions of its review.

    A decision about label maps that were repaired again since is not used.

    Args:
        finished: a run whose cases were made ready for review (`review.case_cache.make_ready`).
        decisions: database of its decisions.
        undecided: what is done with open structures.

    Returns:
        The plan.
    """
    by_case: dict[str, list[Decision]] = {}
    for d in decisions.current():
        by_case.setdefault(d.case, []).append(d)
    release, to_correct, left_out = [], [], dict(finished.left_out)
    ready = [c for c in finished if finished.run.has_review_case(c.id)]
    left_out |= {
        c.id: "has no review files; an error occurred while they were written" for c in finished if c not in ready
    }
    for case in ready:
        summary = read_summary(finished, case)
        valid = {d.structure: d for d in by_case.get(case.id, []) if d.stamp == summary.stamp}
        choices: dict[str, Choice] = {s.name: "open" if s.changed_ml > 0 else "accept" for s in summary.structures}
        # A hand-corrected map can also change a structure that the run did not change, or that was absent.
        choices |= {d.structure: d.choice for d in valid.values()}
        plan = CasePlan(case, summary, choices, tuple(valid.values()))
        if undecided != "leave-out":
            plan = plan.with_open_as(undecided)
        if still_open := plan.structures_with("open"):
            left_out[case.id] = f"open: {', '.join(still_open)}"
        elif plan.structures_with("correct"):
            to_correct.append(plan)
        else:
            release.append(plan)
    return ReleasePlan(tuple(release), tuple(to_correct), dict(sorted(left_out.items())))
