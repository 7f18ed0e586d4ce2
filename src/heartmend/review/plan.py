"""Plan of a release: which cases are released, and where each change and structure of a case is taken from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from heartmend.io.dataset import Case
from heartmend.review.states import CaseDecisions, State
from heartmend.review.summary import ReviewChange, ReviewSummary, read_summary
from heartmend.run_folder.decision_records import Choice, Decision
from heartmend.run_folder.decisions import Decisions
from heartmend.run_folder.finished import FinishedRun

Undecided = Literal["leave-out", "accept", "reject"]
"""What is done with open structures: the case is left out, or they are accepted or rejected."""
UNDECIDED: tuple[Undecided, ...] = get_args(Undecided)


@dataclass(frozen=True)
class CasePlan:
    """Choice for each structure of a case, and for each change that was decided by itself.

    Attributes:
        case: the case.
        summary: its review summary.
        choices: choice by name of the structure, for its changes without one of their own.
        decisions: the decisions behind the choices.
        own_choices: choice by key of each change that was decided by itself.
        states: state by name of the structure, from its changes.
    """

    case: Case
    summary: ReviewSummary
    choices: Mapping[str, Choice]
    decisions: tuple[Decision, ...] = ()
    own_choices: Mapping[str, Choice] = field(default_factory=dict)
    states: Mapping[str, State] = field(default_factory=dict)

    @classmethod
    def of(cls, case: Case, decided: CaseDecisions) -> CasePlan:
        """Plan a case by its decisions.

        Args:
            case: the case.
            decided: the valid decisions about it.

        Returns:
            The plan.
        """
        own = {c.key: choice for c in decided.summary.changes if (choice := decided.own_choice(c)) is not None}
        choices = {name: _choice_of(state, decided.choice_of_structure(name)) for name, state in decided.states.items()}
        return cls(case, decided.summary, choices, decided.valid, own, decided.states)

    def structures_with(self, *choices: Choice) -> tuple[str, ...]:
        """Select structures by choice.

        Args:
            *choices: one or more choices.

        Returns:
            Names of the structures with one of the choices, in the order of the anatomy.
        """
        return tuple(name for name, choice in self.choices.items() if choice in choices)

    def choice_of(self, change: ReviewChange) -> Choice:
        """Return the choice about a change: its own, or that of its structures.

        Args:
            change: a change of the case.

        Returns:
            The choice; `reject` where one of its structures is rejected.
        """
        if change.key in self.own_choices:
            return self.own_choices[change.key]
        found = {self.choices.get(name, "accept") for name in change.structures}
        return "reject" if "reject" in found else "open" if "open" in found else "accept"


_CHOICE_OF_STATE: Mapping[State, Choice] = {
    "open": "open", "accepted": "accept", "rejected": "reject", "flagged": "correct", "corrected": "corrected",
    "unchanged": "accept",
}  # fmt: skip


def _choice_of(state: State, whole: Choice) -> Choice:
    """Choice about a structure as a whole; where its changes are decided by themselves it makes no difference."""
    if state == "mixed":
        return "reject" if whole == "reject" else "accept"
    return _CHOICE_OF_STATE[state]


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

    @classmethod
    def of(cls, plans: Iterable[CasePlan], left_out: Mapping[str, str]) -> ReleasePlan:
        """Sort cases by what happens to them.

        Args:
            plans: plans of cases.
            left_out: reason for each other case, by case id.

        Returns:
            The plan of all cases. One with an open structure is left out.
        """
        release, to_correct, reasons = [], [], dict(left_out)
        for plan in plans:
            if still_open := plan.structures_with("open"):
                reasons[plan.case.id] = f"open: {', '.join(still_open)}"
            elif plan.structures_with("correct"):
                to_correct.append(plan)
            else:
                release.append(plan)
        return cls(tuple(release), tuple(to_correct), dict(sorted(reasons.items())))


def decisions_by_case(decisions: Iterable[Decision]) -> dict[str, list[Decision]]:
    """Group decisions by case.

    Args:
        decisions: decisions in any order.

    Returns:
        The decisions by case id.
    """
    found: dict[str, list[Decision]] = {}
    for d in decisions:
        found.setdefault(d.case, []).append(d)
    return found


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
    by_case = decisions_by_case(decisions.current())
    ready = [c for c in finished if finished.run.has_review_case(c.id)]
    reason = "has no review files; an error occurred while they were written"
    missing = {case.id: reason for case in finished if case not in ready}
    plans = (plan_case(finished, case, by_case.get(case.id, []), undecided) for case in ready)
    return ReleasePlan.of(plans, finished.left_out | missing)


def plan_case(
    finished: FinishedRun, case: Case, decisions: Iterable[Decision], undecided: Undecided = "leave-out"
) -> CasePlan:
    """Plan one case from the decisions about it.

    Args:
        finished: the run.
        case: a case of it that was made ready for review.
        decisions: current decisions about the case.
        undecided: what is done with open structures.

    Returns:
        The plan.
    """
    decided = CaseDecisions.of(read_summary(finished, case), decisions)
    return CasePlan.of(case, decided if undecided == "leave-out" else decided.with_open_as(undecided))
