"""Correction of one case: its surfaces without the error that all cases share, and what was moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.roi import Roi
from heartmend.repair.changes import Change, box_in_mm
from heartmend.repair.shared_errors.correction import Correction
from heartmend.repair.shared_errors.surface import Floats
from heartmend.types import Labels, Mask

RULE = "shared_errors"
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
    """

    maps: Mapping[str, DistanceMap]
    tubes: Mapping[str, Mask]
    changes: tuple[Change, ...]


def correct_case(
    maps: Mapping[str, DistanceMap], original: Labels, roi: Roi, anatomy: Anatomy, own: CaseCorrection
) -> CorrectedCase:
    """Move the surfaces of a case by the correction of its data set.

    Args:
        maps: distance map of each refined structure on the voxels of the ROI, by name.
        original: (x, y, z) uint8, the label map on the voxels of the ROI.
        roi: the region of interest.
        anatomy: the structures.
        own: the correction, for this case.

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
    tubes = {}
    for name in correction.tubes_mm:
        label = original == anatomy.by_name(name).id
        tube = correction.apply_to_tube(name, label, roi.grid.spacing_mm)
        if tube is not label and tube.any():
            tubes[name] = tube
            changes.append(_change(name, tube != label, f"by {correction.tubes_mm[name]:+.1f} mm", roi))
    return CorrectedCase(moved, tubes, tuple(change for change in changes if change is not None))


def _change(structure: str, changed: Mask, how_far: str, roi: Roi) -> Change | None:
    """Entry of the change log; None where no voxel changed."""
    inner = bounding_box(changed)
    if inner is None:
        return None
    x, y, z = (slice(a.start + b.start, a.start + b.stop) for a, b in zip(roi.source_box(), inner, strict=True))
    voxels = int(np.count_nonzero(changed))
    volume_mm3 = round(voxels * roi.grid.voxel_mm3, 2)
    note = f"surface moved {how_far}: an error that all cases share"
    return Change(RULE, structure, "moved", voxels, volume_mm3, box_in_mm((x, y, z), roi.grid), "info", note)
