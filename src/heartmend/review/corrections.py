"""A hand-corrected label map of a case becomes part of its review: stored, registered and decided."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.io.dataset import Case
from heartmend.review.plan import CasePlan
from heartmend.review.states import CaseDecisions
from heartmend.review.summary import read_summary
from heartmend.run_folder.decision_records import Decision, DecisionRequest
from heartmend.run_folder.decisions import Decisions
from heartmend.run_folder.finished import FinishedRun
from heartmend.types import Labels


def plan_for_correction(finished: FinishedRun, case: Case, decisions: Iterable[Decision]) -> CasePlan:
    """Plan a case as it is corrected: as it is decided, and what is open as it was repaired.

    Args:
        finished: the run.
        case: a case whose review files exist.
        decisions: the current decisions.

    Returns:
        The plan.
    """
    decided = CaseDecisions.of(read_summary(finished, case), decisions)
    return CasePlan.of(case, decided.with_open_as("accept"))


def corrected_structures(finished: FinishedRun, plan: CasePlan, exported: Labels, labels: Labels) -> tuple[str, ...]:
    """Find the structures that a corrected label map corrects.

    Args:
        finished: the run.
        plan: the case as it was corrected.
        exported: (x, y, z) its label map before the correction.
        labels: (x, y, z) the corrected label map.

    Returns:
        Names of those that differ, and of those that were flagged or corrected before, in the order of the anatomy.
    """
    differs = labels != exported
    ids = set(np.unique(labels[differs])) | set(np.unique(exported[differs]))
    ids |= {finished.anatomy.by_name(n).id for n in plan.structures_with("correct", "corrected")}
    return tuple(s.name for s in finished.anatomy.structures if s.id in ids)


def save_correction(
    finished: FinishedRun, decisions: Decisions, plan: CasePlan, labels: Labels, structures: Iterable[str],
    reviewer: str, given: tuple[Grid, Path | None],
) -> list[Decision]:  # fmt: skip
    """Write a corrected label map, register it, and decide that its structures are corrected.

    Args:
        finished: the run.
        decisions: database of its decisions.
        plan: the case as it was corrected.
        labels: (x, y, z) uint8, the corrected label map.
        structures: names of the corrected structures.
        reviewer: name of the person who corrected it.
        given: grid of the label map, and the file that it was read from; None where it was drawn on the page.

    Returns:
        The decisions as written.

    Raises:
        BadInputError: if no structure is corrected.
        ConflictError: if another reviewer decided in the meantime.
    """
    structures = list(structures)
    if not structures:
        raise BadInputError(
            f"case {plan.case.id}: the map equals the decided one, and no structure of the case is flagged"
        )
    grid, path = given
    finished.run.write_corrected(plan.case.id, labels, grid, path)
    numbers = {d.target: d.number for d in decisions.current()}
    notes = {d.structure: d.note for d in plan.decisions if not d.change}
    requests = [
        DecisionRequest(
            plan.case.id, name, "corrected", notes.get(name, ""), plan.summary.stamp,
            numbers.get((plan.case.id, name, ""), 0),
        )
        for name in structures
    ]  # fmt: skip
    return decisions.write(requests, reviewer)
