"""Correction of one case: its surfaces without the error that all cases share, and what was moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.distance import DistanceMap, signed_distance_mm
from heartmend.geometry.roi import Roi
from heartmend.repair.changes import ORIGINAL_KEPT, Change, box_in_mm, extent_of_change
from heartmend.repair.shared_errors.correction import Correction
from heartmend.repair.shared_errors.surface import Floats
from heartmend.repair.vessels.lumen_width import lumen_shift_mm
from heartmend.types import Labels, Mask

RULE, WHY = "shared_errors", "an error that all cases share"
MIN_LEFT = 0.2
"""Least share of a vessel that a movement leaves: a label that is a voxel too wide has two to four times the volume of
its vessel. Less means that the width was measured wrongly."""
ToTemplate = Callable[[Floats], Floats]
"""Maps points (n, 3) of the unit frame of a case to that of the template."""


@dataclass(frozen=True, eq=False)
class CaseCorrection:
    """Correction of a data set, for one case.

    Attributes:
        correction: the correction.
        to_template: maps points (n, 3) of the case's unit frame to the template's.
    """

    correction: Correction
    to_template: ToTemplate


@dataclass(frozen=True, eq=False)
class CorrectedCase:
    """Surfaces of a case after the correction.

    Attributes:
        maps: distance map of each structure on the voxels of the ROI, by name.
        tubes: (x, y, z) bool, mask of each thin vessel that was moved, by name.
        changes: what was moved.
        to_lumen: names of the thin vessels that were moved to the width of their lumen in the CT.
    """

    maps: Mapping[str, DistanceMap]
    tubes: Mapping[str, Mask]
    changes: tuple[Change, ...]
    to_lumen: frozenset[str] = frozenset()


def correct_case(
    maps: Mapping[str, DistanceMap],
    original: Labels,
    roi: Roi,
    anatomy: Anatomy,
    own: CaseCorrection,
    image: npt.NDArray[np.generic] | None = None,
) -> CorrectedCase:
    """Move the surfaces of a case by the correction of its data set.

    Args:
        maps: distance map of each refined structure on the voxels of the ROI, by name.
        original: (x, y, z) uint8, the label map on the voxels of the ROI.
        roi: the region of interest.
        anatomy: the structures.
        own: the correction, for this case.
        image: (x, y, z) CT in HU on the voxels of the ROI, for the width of thin vessels; None where there is none.

    Returns:
        The moved surfaces.
    """
    correction = own.correction
    largest_mm = correction.largest_mm
    moved = correction.apply(maps, roi, own.to_template)
    changes = [
        _change(name, maps[name].inside != after.inside, f"by up to {largest_mm[name]:.1f} mm", roi)
        for name, after in moved.items()
        if after is not maps[name]
    ]
    tubes, spacing_mm = {}, roi.grid.spacing_mm
    # A convention can be that of another anatomy, with vessels that this one does not have.
    for name in sorted({*correction.tubes_mm, *correction.typical_tubes_mm} & set(anatomy.names)):
        label = original == anatomy.by_name(name).id
        measured = None
        if image is not None and name in correction.typical_tubes_mm:
            measured = lumen_shift_mm(label, original, image, spacing_mm)
        shift_mm, shared_mm = correction.tube_shift_mm(name, measured), correction.tubes_mm.get(name, 0.0)
        if shift_mm == 0 or not label.any():
            continue
        tube = signed_distance_mm(label, spacing_mm) + shift_mm > 0
        left = np.count_nonzero(tube) / np.count_nonzero(label)
        if left < MIN_LEFT:
            box_mm = box_in_mm(roi.source_box(), roi.grid)
            note = f"its surface would move by {shift_mm:+.1f} mm, which leaves {100 * left:.0f} % of it"
            changes.append(Change(RULE, name, ORIGINAL_KEPT, 0, 0.0, box_mm, "warning", note))
            continue
        tubes[name] = tube
        reason = WHY if shift_mm == shared_mm else "the width of the lumen in the CT"
        changes.append(_change(name, tube != label, f"by {shift_mm:+.1f} mm", roi, reason))
    to_lumen = frozenset(tubes) & set(correction.typical_tubes_mm)
    return CorrectedCase(moved, tubes, tuple(change for change in changes if change is not None), to_lumen)


def _change(structure: str, changed: Mask, how_far: str, roi: Roi, reason: str = WHY) -> Change | None:
    """Entry of the change log; None where no voxel changed."""
    extent = extent_of_change(changed, roi.source_box(), roi.grid)
    if extent is None:
        return None
    return Change(RULE, structure, "moved", *extent, "info", f"surface moved {how_far}: {reason}")
