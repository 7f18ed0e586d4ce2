"""Acceptance of repaired masks: a mask that differs too much from its original is rejected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from heartmend.anatomy.schema import Structure
from heartmend.geometry.boxes import bounding_box, join_boxes
from heartmend.geometry.components import label_components
from heartmend.metrics.surface import hd95
from heartmend.types import Mask

SMALL_COMPONENT_SHARE = 0.05
"""Components below this share of the largest one carry no information about a shape, and their removal is accepted."""


@dataclass(frozen=True)
class Verdict:
    """Whether the repaired mask of a structure is accepted.

    Attributes:
        structure: name of the structure.
        accepted: whether the repaired mask is used; otherwise the original one stays.
        volume_ratio: volume of the repaired mask divided by that of the original; None if a mask is empty.
        surface_mm: 95th percentile of the distances between the two surfaces (HD95); None if a mask is empty.
        reason: the exceeded limits; empty for an accepted mask.
    """

    structure: str
    accepted: bool
    volume_ratio: float | None
    surface_mm: float | None
    reason: str = ""

    def without_limits(self) -> Verdict:
        """Accept the mask beyond its limits, because its original is somewhere else.

        Returns:
            The verdict, with the same figures.
        """
        return replace(self, accepted=True, reason="")

    def to_dict(self) -> dict[str, Any]:
        """Convert the verdict to a table for JSON.

        Returns:
            The table.
        """
        return asdict(self)


def check_acceptance(original: Mask, repaired: Mask, structure: Structure, spacing_mm: Sequence[float]) -> Verdict:
    """Check a repaired mask against the limits of the anatomy file.

    Small components of the original do not count, so that their removal is no change.

    Args:
        original: (x, y, z) bool.
        repaired: (x, y, z) bool.
        structure: the structure, with its limits `max_volume_change` and `max_surface_mm`.
        spacing_mm: voxel spacing.

    Returns:
        The verdict. An absent structure must stay absent, and a present one present.

    Example:
        >>> from heartmend.anatomy.load import load_anatomy
        >>> lv = load_anatomy("heart").by_name("LV")
        >>> check_acceptance(np.ones((9, 9, 9), bool), np.zeros((9, 9, 9), bool), lv, (1.0, 1.0, 1.0)).reason
        'the repaired mask is empty'
    """
    name, boxes = structure.name, [bounding_box(mask) for mask in (original, repaired)]
    present = [box for box in boxes if box is not None]
    if not present:
        return Verdict(name, True, None, None)
    if len(present) == 1:
        reason = "the repaired mask is empty" if boxes[1] is None else "the original has no such structure"
        return Verdict(name, False, None, None, reason)
    original, repaired = (np.ascontiguousarray(mask[join_boxes(present)]) for mask in (original, repaired))
    reference = without_negligible_components(original, structure, spacing_mm)
    ratio = int(repaired.sum()) / int(reference.sum())
    surface = hd95(reference, repaired, spacing_mm)
    low, high = structure.max_volume_change
    reasons = []
    if not low <= ratio <= high:
        reasons.append(f"the volume ratio {ratio:.2f} is outside {low:g} to {high:g}")
    if surface > structure.max_surface_mm:
        reasons.append(f"the surface moved by {surface:.1f} mm (HD95), more than {structure.max_surface_mm:g} mm")
    return Verdict(name, not reasons, round(ratio, 4), round(surface, 3), "; ".join(reasons))


def without_negligible_components(mask: Mask, structure: Structure, spacing_mm: Sequence[float]) -> Mask:
    """Remove the components of a mask that are too small to count.

    Args:
        mask: (x, y, z) bool.
        structure: the structure, with its `min_mm3`.
        spacing_mm: voxel spacing.

    Returns:
        (x, y, z) bool without components below `min_mm3`, and without those below `SMALL_COMPONENT_SHARE` of the
        largest one if the structure is no thin vessel. The largest component always stays.
    """
    components, sizes = label_components(mask)
    if len(sizes) < 3:
        return mask
    share = 0.0 if structure.kind == "tube" else SMALL_COMPONENT_SHARE
    min_voxels = max(structure.min_mm3 / float(np.prod(spacing_mm)), share * int(sizes.max()))
    remaining: Mask = (sizes >= min(min_voxels, int(sizes.max())))[components] & mask
    return remaining
