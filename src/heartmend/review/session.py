"""The review of a run in memory: its cases as they become ready, their decisions, and what the page is sent of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from heartmend.figures.style import ADDED, RELABELLED, REMOVED
from heartmend.io.dataset import Case
from heartmend.io.regular import is_regular
from heartmend.repair.shared_errors.estimate import MIN_TRUSTED
from heartmend.review.editor import Editor
from heartmend.review.intake import Intake
from heartmend.review.plan import decisions_by_case
from heartmend.review.priority import expected_errors
from heartmend.review.refit_process import RefitProcess
from heartmend.review.states import CaseDecisions
from heartmend.review.summary import ReviewSummary, by_priority, read_summary
from heartmend.run_folder.decision_records import Decision
from heartmend.run_folder.decisions import open_decisions
from heartmend.run_folder.finished import NOT_REPAIRED, FinishedRun
from heartmend.version import __version__


class Review:
    """Cases and decisions of a run.

    Attributes:
        finished: the run.
        reviewer: name that the page proposes for the reviewer.
        decisions: database of the decisions.
        cases: cases whose review files exist, by id.
        summaries: their summaries, by id, in the order in which they were added.
        added: id of each case that was added, once for each time.
        intake: the thread that prepares more cases; None where all were made ready before.
        refit: the process that repairs the undecided cases again.
        editor: corrections by hand.
    """

    def __init__(
        self, finished: FinishedRun, reviewer: str = "", intake_workers: int | None = None,
        refit_command: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """Open the review of a run.

        Args:
            finished: the run; without `intake_workers` its cases were made ready (`case_cache.make_ready`).
            reviewer: name that the page proposes for the reviewer.
            intake_workers: prepare the cases in the background, on this number of worker processes (0: one per CPU
                core), from `start` on.
            refit_command: command that repairs the undecided cases again, with its arguments; empty: the page cannot.

        Raises:
            RunError: if the database of the decisions cannot be used.
        """
        self.finished, self.reviewer = finished, reviewer
        self.decisions = open_decisions(finished)
        self.cases: dict[str, Case] = {}
        self.summaries: dict[str, ReviewSummary] = {}
        self.added: list[str] = []
        self.intake = None if intake_workers is None else Intake(finished, self.add, intake_workers)
        self.refit = RefitProcess(refit_command, self._after_refit)
        self.editor = Editor(finished, self.decisions)
        if self.intake is None:
            for case in finished:
                if finished.run.has_review_case(case.id):
                    self.add(finished, case)

    def start(self) -> None:
        """Start to prepare the cases, where this was not done before."""
        if self.intake is not None:
            self.intake.start()

    def add(self, finished: FinishedRun, case: Case) -> None:
        """Add a case whose review files exist, or replace it where it was repaired again.

        Args:
            finished: the run.
            case: the case.

        Raises:
            RunError: if its summary is damaged.
        """
        summary = read_summary(finished, case)
        # In this order: a request may run between two lines, and finds a case by its place in the list.
        self.finished = self.editor.finished = finished
        self.cases[case.id], self.summaries[case.id] = case, summary
        self.added.append(case.id)

    def _after_refit(self) -> None:
        """Add the cases that were repaired again; `heartmend refit` has written their review files."""
        finished = self.finished.reopened()
        for case in finished:
            known = self.summaries.get(case.id)
            if finished.run.has_review_case(case.id) and (known is None or known.stamp != finished.stamp(case)):
                self.add(finished, case)

    @property
    def waiting(self) -> int:
        """Number of cases that are not prepared yet."""
        return self.intake.waiting if self.intake else 0

    @property
    def left_out(self) -> dict[str, str]:
        """Reason for each case that is not reviewed; those that wait are not among them."""
        if self.intake is None:
            return self.finished.left_out
        return {id: why for id, why in self.finished.left_out.items() if why != NOT_REPAIRED} | self.intake.failed

    def describe_run(self) -> dict[str, Any]:
        """Describe the run: structures, colours, and the cases in the order of review.

        Returns:
            JSON.
        """
        structures = [
            {"id": s.id, "name": s.name, "colour": s.colour, "kind": s.kind} for s in self.finished.anatomy.structures
        ]
        return {
            "name": self.finished.run.output.name,
            "version": __version__,
            "reviewer": self.reviewer,
            "structures": structures,
            "colours": {"added": ADDED, "removed": REMOVED, "relabelled": RELABELLED},
            "left_out": self.left_out,
            "added": len(self.added),
            "cases": self.describe_cases(s.case for s in by_priority(list(self.summaries.values()))),
        }

    def describe_cases(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        """Describe cases for the list and the table of structures.

        Args:
            ids: ids of cases that are ready.

        Returns:
            JSON.
        """
        ready = list(self.summaries.values())
        errors = expected_errors(
            {c.case: {s.name: (s.expected_error, s.after_ml) for s in c.structures} for c in ready}
        )
        run = self.finished.run
        return [_describe(self.summaries[id], errors[id], is_regular(run.uncertainty_path(id))) for id in ids]

    def describe_decisions(self, decisions: Iterable[Decision]) -> dict[str, Any]:
        """Describe decisions, with the states that follow from all decisions about their cases.

        Args:
            decisions: the decisions.

        Returns:
            JSON.
        """
        decisions = list(decisions)
        return {"decisions": [asdict(d) for d in decisions], "states": self.states({d.case for d in decisions})}

    def states(self, cases: Iterable[str]) -> dict[str, Any]:
        """Describe the states of those of the cases that are ready, and of their structures.

        Args:
            cases: case ids.

        Returns:
            JSON, by case id.
        """
        ready = sorted(set(cases) & self.summaries.keys())
        by_case = decisions_by_case(self.decisions.current()) if ready else {}
        states = {}
        for case in ready:
            found = CaseDecisions.of(self.summaries[case], by_case.get(case, []))
            states[case] = {"case": found.case_state, "structures": dict(found.states)}
        return states

    def describe_refit(self) -> dict[str, Any]:
        """Describe whether a refit runs, and how many cases it would learn from.

        Returns:
            JSON.
        """
        by_case = decisions_by_case(self.decisions.current())
        corrected = 0
        for case, decisions in by_case.items():
            if case in self.summaries and any(d.choice == "corrected" for d in decisions):
                corrected += CaseDecisions.of(self.summaries[case], decisions).case_state == "decided"
        refit = self.refit
        return {
            "state": refit.state, "message": refit.message, "corrected": corrected, "needed": MIN_TRUSTED,
            "is_possible": bool(refit.command),
        }  # fmt: skip


def _describe(summary: ReviewSummary, errors: Mapping[str, float], has_uncertainty: bool) -> dict[str, Any]:
    return {
        "case": summary.case,
        "stamp": summary.stamp,
        "priority": {**asdict(summary.priority), "score": summary.priority.score},
        "severity": summary.severity,
        "changed_ml": summary.changed_ml,
        "has_image": summary.has_image,
        "has_uncertainty": has_uncertainty,
        "structures": [{**asdict(s), "expected_error": round(errors[s.name], 5)} for s in summary.structures],
        "changed_structures": summary.changed_structures,
    }
