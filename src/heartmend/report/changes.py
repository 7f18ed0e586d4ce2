"""Changes of each case of a run in numbers, and the selection of cases for pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from heartmend.io.dataset import Case
from heartmend.repair.changes import ORIGINAL_KEPT, Change, Severity
from heartmend.run_folder.finished import FinishedRun


@dataclass(frozen=True)
class CaseChange:
    """Changes of one case.

    Attributes:
        case: case id.
        added_ml: volume that was background and has a label now.
        removed_ml: volume that had a label and is background now.
        relabelled_ml: volume whose label changed to another structure.
        original_ml: volume of all structures in the original label map.
        severity: worst severity of the changes.
        n_warning: changes with the severity `warning`.
        n_review: changes with the severity `review`.
        not_accepted: structures that failed the acceptance test; their original was kept.
        reasons: one text for each of them and for each warning.
        changed_structures: structures of which a voxel changed.
    """

    case: str
    added_ml: float
    removed_ml: float
    relabelled_ml: float
    original_ml: float
    severity: Severity
    n_warning: int
    n_review: int
    not_accepted: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    changed_structures: tuple[str, ...] = ()

    @property
    def changed_fraction(self) -> float:
        """Changed volume as a fraction of the original volume of all structures."""
        return (self.added_ml + self.removed_ml + self.relabelled_ml) / max(self.original_ml, 1e-6)


@dataclass(frozen=True)
class CaseSelection:
    """Cases that a report shows with pictures.

    Attributes:
        cases: ids of cases that are always shown.
        worst: number of the worst cases.
        most_changed: number of the most changed cases among the others.
    """

    cases: Sequence[str] = ()
    worst: int = 2
    most_changed: int = 2


def change_of(finished: FinishedRun, case: Case) -> CaseChange:
    """Compare the original and the repaired label map of a case.

    Args:
        finished: the run.
        case: a case of it.

    Returns:
        The changes in numbers.

    Raises:
        BadInputError: if a label map cannot be read.
        RunError: if the change log cannot be read.
    """
    original, repaired = finished.before(case), finished.after(case)
    log = finished.changes(case)
    changed = original.labels != repaired.labels
    before, after = original.labels[changed], repaired.labels[changed]
    voxel_ml = original.grid.voxel_mm3 / 1000
    changed_ids = set(np.unique(before)) | set(np.unique(after))
    kept = [v for v in log.verdicts if not v.accepted]
    return CaseChange(
        case.id,
        int(np.count_nonzero(before == 0)) * voxel_ml,
        int(np.count_nonzero(after == 0)) * voxel_ml,
        int(np.count_nonzero((before != 0) & (after != 0))) * voxel_ml,
        int(np.count_nonzero(original.labels)) * voxel_ml,
        log.severity,
        sum(c.severity == "warning" for c in log.changes),
        sum(c.severity == "review" for c in log.changes),
        tuple(v.structure for v in kept),
        (
            *(f"{v.structure}: {ORIGINAL_KEPT}, {v.reason}" for v in kept),
            *dict.fromkeys(describe_change(c) for c in log.changes if c.severity == "warning"),
        ),
        tuple(s.name for s in finished.anatomy.structures if s.id in changed_ids),
    )


def describe_change(change: Change) -> str:
    """Describe a change in a few words.

    Args:
        change: the change.

    Returns:
        Such as "RV: dropped (slices), a slice of it".
    """
    note = f", {change.note}" if change.note else ""
    return f"{change.structure or 'all structures'}: {change.action} ({change.rule}){note}"


def select_cases(
    changes: Sequence[CaseChange],
    dice: Mapping[str, float],
    selection: CaseSelection,
    to_look_at: Mapping[str, Sequence[str]] | None = None,
) -> list[tuple[str, str]]:
    """Select the cases that a report shows with pictures.

    With a reference the worst cases have the lowest Dice. Without it they are those of the verdict, then those with the
    most changes to review.

    Args:
        changes: changes of all cases.
        dice: mean Dice of each repaired case with the reference, by case id; empty without a reference.
        selection: numbers of cases, and ids that are always shown.
        to_look_at: reasons of the cases of the verdict, by case id, the most serious first.

    Returns:
        Case ids with the reason: the worst, the most changed of the others, then the requested ones; each id once.
    """
    to_look_at = to_look_at or {}
    if dice:
        worst_first = sorted(changes, key=lambda c: dice.get(c.case, 2.0))
    else:
        rank = {case: number for number, case in enumerate(to_look_at)}
        worst_first = sorted(changes, key=lambda c: (rank.get(c.case, len(rank)), -c.n_review, c.case))
    selected = {c.case: _reason(c, dice, to_look_at) for c in worst_first[: selection.worst]}
    others = sorted((c for c in changes if c.case not in selected), key=lambda c: (-c.changed_fraction, c.case))
    for c in others[: selection.most_changed]:
        selected[c.case] = f"among the most changed cases: {100 * c.changed_fraction:.1f} % of the heart's volume"
    for id in selection.cases:
        selected.setdefault(id, "requested")
    return list(selected.items())


def _reason(c: CaseChange, dice: Mapping[str, float], to_look_at: Mapping[str, Sequence[str]]) -> str:
    if c.case in dice:
        return f"among the lowest Dice with the reference after repair: {dice[c.case]:.3f} on average"
    if reasons := to_look_at.get(c.case):
        return "; ".join(reasons)
    return f"among the cases with most changes to review: {c.n_review:,}"
