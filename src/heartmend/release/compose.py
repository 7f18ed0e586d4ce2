"""Composition of a released label map from the repaired, the original and the hand-corrected map."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.release.plan import CasePlan
from heartmend.types import BACKGROUND, Labels


def compose_labels(
    before: Labels, after: Labels, plan: CasePlan, anatomy: Anatomy, corrected: Labels | None = None
) -> Labels:
    """Compose a label map from the choices of a plan.

    The result starts as the repaired map. A voxel that belongs to a rejected structure in the original or in the
    repaired map gets its original label. Then a voxel that belongs to a hand-corrected structure gets its label of the
    corrected map. Therefore a corrected structure equals the corrected map in every voxel, and a rejected structure
    equals the original one except where a corrected structure overlaps it. An accepted neighbour loses the voxels of
    the overlap.

    Args:
        before: original label map (x, y, z), uint8.
        after: repaired label map of the same shape.
        plan: choices of the case.
        anatomy: anatomy of the label maps.
        corrected: hand-corrected label map of the same shape; needed if a structure is `corrected`.

    Returns:
        The composed label map, uint8.
    """
    rejected = _id_table(plan.structures_with("reject"), anatomy)
    composed = np.where(rejected[before] | rejected[after], before, after)
    if corrected is not None:
        by_hand = _id_table(plan.structures_with("corrected"), anatomy)
        # Voxels that a corrected structure lost cannot become a rejected structure that was not there originally.
        remaining = np.where(rejected[corrected] & (before != corrected), BACKGROUND, corrected)
        composed = np.where(by_hand[corrected], corrected, np.where(by_hand[composed], remaining, composed))
    return composed.astype(np.uint8)


def _id_table(names: Iterable[str], anatomy: Anatomy) -> npt.NDArray[np.bool_]:
    """Return for each of the 256 ids whether it is the id of one of the structures."""
    table = np.zeros(256, dtype=bool)
    table[[anatomy.by_name(name).id for name in names]] = True
    return table
