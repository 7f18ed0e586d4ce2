"""Composition of a released label map from the repaired, the original and the hand-corrected map."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.io.label_maps import LabelVolume, read_ids
from heartmend.review.plan import CasePlan
from heartmend.run_folder.finished import FinishedRun
from heartmend.types import BACKGROUND, Labels

ChangeNumbers = tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16]]
"""Flat index of each changed voxel, and the position of its change."""


def compose_labels(
    before: Labels, after: Labels, plan: CasePlan, anatomy: Anatomy, corrected: Labels | None = None,
    changes: ChangeNumbers | None = None,
) -> Labels:  # fmt: skip
    """Compose a label map from the choices of a plan.

    The result starts as the repaired map. A voxel of a change with a decision of its own gets its original label where
    that is `reject`. Any other voxel that belongs to a rejected structure in the original or in the repaired map gets
    its original label. Then a voxel that belongs to a hand-corrected structure gets its label of the corrected map.
    Therefore a corrected structure equals the corrected map in every voxel. A rejected structure equals the original
    one, except where a corrected structure overlaps it or a change of it was accepted by itself. An accepted neighbour
    loses the voxels of the overlap.

    Args:
        before: original label map (x, y, z), uint8.
        after: repaired label map of the same shape.
        plan: choices of the case.
        anatomy: anatomy of the label maps.
        corrected: hand-corrected label map of the same shape; needed if a structure is `corrected`.
        changes: which voxel belongs to which change (`CaseChanges.voxels` and `.numbers`); needed if a change has a
            decision of its own.

    Returns:
        The composed label map, uint8.
    """
    rejected = _id_table(plan.structures_with("reject"), anatomy)
    is_reverted = rejected[before] | rejected[after]
    if plan.own_choices:
        assert changes is not None
        voxels, numbers = changes
        # 0: as the structures are decided; 1: kept; 2: reverted.
        by_change = np.zeros(len(plan.summary.changes), np.uint8)
        for number, change in enumerate(plan.summary.changes):
            if (choice := plan.own_choices.get(change.key)) is not None:
                by_change[number] = 2 if choice == "reject" else 1
        own = by_change[numbers]
        # Of any memory layout: the flat index counts in C order.
        at = np.unravel_index(voxels[own > 0], before.shape)
        is_reverted[at] = own[own > 0] == 2
    composed = np.where(is_reverted, before, after)
    if corrected is not None:
        by_hand = _id_table(plan.structures_with("corrected"), anatomy)
        # Voxels that a corrected structure lost cannot become a rejected structure that was not there originally.
        remaining = np.where(rejected[corrected] & (before != corrected), BACKGROUND, corrected)
        composed = np.where(by_hand[corrected], corrected, np.where(by_hand[composed], remaining, composed))
    return composed.astype(np.uint8)


def compose_run_case(finished: FinishedRun, plan: CasePlan) -> tuple[Labels, LabelVolume]:
    """Read the label maps of a case, and compose them.

    Args:
        finished: the run.
        plan: choices of the case.

    Returns:
        The composed label map (x, y, z) uint8, and the original one with its grid.

    Raises:
        RunError: if a hand-corrected map is needed and missing, or a map was damaged.
    """
    before, after = finished.before(plan.case), finished.after(plan.case)
    corrected = None
    if plan.structures_with("corrected"):
        corrected = read_ids(finished.run.corrected_map(plan.case.id), finished.anatomy)
    changes = finished.run.change_voxels(plan.case.id) if plan.own_choices else None
    return compose_labels(before.labels, after.labels, plan, finished.anatomy, corrected, changes), before


def _id_table(names: Iterable[str], anatomy: Anatomy) -> npt.NDArray[np.bool_]:
    """Return for each of the 256 ids whether it is the id of one of the structures."""
    table = np.zeros(256, dtype=bool)
    table[[anatomy.by_name(name).id for name in names]] = True
    return table
