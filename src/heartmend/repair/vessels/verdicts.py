"""Verdicts on the components of a vessel forest: which are vessels, which are removed, which only need a review.

Components are judged after the gaps are bridged: a segment whose end points at a vessel within a permitted gap is part
of that vessel by then. Each component has its own verdict, so that one doubtful segment costs nothing of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from heartmend.geometry.boxes import Box, bounding_box, expand_box, margin_voxels
from heartmend.geometry.centrelines.tree import CentreTree, IntArray, Spacing
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.geometry.masks import shrink_mask
from heartmend.repair.vessels.bridge import BoxMm
from heartmend.repair.vessels.brightness import DARK, contrast_of_components
from heartmend.repair.vessels.settings import TreeSettings
from heartmend.repair.vessels.vessel_context import VesselContext
from heartmend.types import FloatArray, Mask
from heartmend.wording import plural

_MAX_FAR_SHARE = 0.25
"""A component far from the heart with more than this share of the forest's length is kept: it may be a graft."""
_DEEP_MM = 3.0
"""Depth of a vessel's wall inside a chamber, from which on it is no vessel on the chamber's surface."""
_TOO_SHORT = "too short for a vessel"
_DEEP_LENGTH_MM = 8.0
"""Shorter stretches inside a chamber are errors of the two surfaces."""


@dataclass(frozen=True)
class VesselPart:
    """Part of a label that was removed, or that needs a review.

    Attributes:
        box: its bounding box in mm.
        mm3: its volume.
        length_mm: length of its centreline.
        reason: the reason.
    """

    box: BoxMm
    mm3: float
    length_mm: float
    reason: str


@dataclass(frozen=True)
class ComponentVerdict:
    """Verdict on a component of a forest.

    Attributes:
        component: its index.
        is_vessel: whether it is kept.
        reason: why it is removed, or why a kept component needs a review; empty if neither.
    """

    component: int
    is_vessel: bool
    reason: str = ""


def judge_components(
    tree: CentreTree, rooted: Mask, context: VesselContext, settings: TreeSettings
) -> list[ComponentVerdict]:
    """Decide which components of a forest are kept.

    Args:
        tree: the forest with its bridges.
        rooted: (n,) bool, whether each point belongs to a component with a root.
        context: structures around it.
        settings: limits of length and distance.

    Returns:
        A verdict for each component, in their order. Half of the longest component is always long enough, and so is
        every component where less than `sparse_mm` would be left.
    """
    lengths_mm = tree.component_mm
    longest_mm = float(lengths_mm.max(initial=0.0))
    contrast = np.ones(len(lengths_mm))
    if context.lumen is not None and len(tree):
        contrast = contrast_of_components(tree, rooted, context.lumen)
    verdicts = []
    for number, length_mm in enumerate(lengths_mm.tolist()):
        points = tree.component == number
        limit_mm = min(settings.spur_mm if rooted[points].any() else settings.component_mm, 0.5 * longest_mm)
        if length_mm < limit_mm:
            verdicts.append(ComponentVerdict(number, False, _TOO_SHORT))
            continue
        away_mm = float(np.median(context.heart(tree.points_mm[points]))) if context.heart else 0.0
        if away_mm <= settings.far_mm:
            reason = ""
            if contrast[number] < DARK:
                reason = f"without a root and with {100 * contrast[number]:.0f} % of the arteries' contrast: a vein?"
            verdicts.append(ComponentVerdict(number, True, reason))
        elif length_mm <= _MAX_FAR_SHARE * float(lengths_mm.sum()) or longest_mm == length_mm:
            verdicts.append(ComponentVerdict(number, False, f"{away_mm:.0f} mm from the heart"))
        else:
            share = length_mm / float(lengths_mm.sum())
            reason = f"{away_mm:.0f} mm from the heart, but {100 * share:.0f} % of the vessels: a graft?"
            verdicts.append(ComponentVerdict(number, True, reason))
    return _with_short_ones(verdicts, lengths_mm, settings.sparse_mm)


def _with_short_ones(
    verdicts: Sequence[ComponentVerdict], lengths_mm: FloatArray, sparse_mm: float
) -> list[ComponentVerdict]:
    """Keep short components where most of the tree is missing.

    The removal of a component raises the Dice if less than half of the Dice of it is vessel: of the fragments of a tree
    of which a quarter is labelled, one in eight has to be right.
    """
    left_mm = float(sum(lengths_mm[one.component] for one in verdicts if one.is_vessel))
    short = [one.component for one in verdicts if one.reason == _TOO_SHORT]
    if left_mm >= sparse_mm or not short:
        return list(verdicts)
    reason = (
        f"{plural(len(short), 'component')} too short for a vessel, kept as only {left_mm:.0f} mm would be left: is "
        "most of the tree missing?"
    )
    # One remark for all, at the longest of them.
    noted = max(short, key=lambda number: lengths_mm[number])
    return [
        replace(one, is_vessel=True, reason=reason if one.component == noted else "") if one.component in short else one
        for one in verdicts
    ]


def limit_removal(verdicts: Sequence[ComponentVerdict], mm3: FloatArray, max_share: float) -> list[ComponentVerdict]:
    """Keep the largest of the components to be removed where they are too large a share of the label together.

    Args:
        verdicts: a verdict for each component.
        mm3: (components,) their volumes.
        max_share: largest share of the label that may be removed.

    Returns:
        The verdicts; a component that is kept for this reason needs a review.

    Example:
        >>> verdicts = [ComponentVerdict(0, True), ComponentVerdict(1, False, "too short for a vessel")]
        >>> limit_removal(verdicts, np.array([50.0, 50.0]), 0.4)[1]
        ComponentVerdict(component=1, is_vessel=True, reason='too short for a vessel, but 50 % of the label')
    """
    found, total = list(verdicts), float(mm3.sum())
    lost = sorted((one for one in verdicts if not one.is_vessel), key=lambda one: -mm3[one.component])
    removed = float(sum(mm3[one.component] for one in lost))
    for one in lost:
        if removed <= max_share * total:
            break
        own = float(mm3[one.component])
        removed -= own
        found[one.component] = ComponentVerdict(
            one.component, True, f"{one.reason}, but {100 * own / total:.0f} % of the label"
        )
    return found


def stretches_in_chambers(tree: CentreTree, label: Mask, chambers: Mask, spacing_mm: Spacing) -> list[VesselPart]:
    """Find stretches of a vessel that run deep inside a chamber, as a pacing lead or a fistula does.

    The label is a part of the chamber here: a lead leaves a hole in the chamber's own label.

    Args:
        tree: centreline and radius.
        label: (x, y, z) bool, the vessels.
        chambers: (x, y, z) bool, the blood pools.
        spacing_mm: voxel spacing.

    Returns:
        The stretches of at least 8 mm whose wall is more than 3 mm inside.
    """
    if not len(tree) or not chambers.any():
        return []
    blood = label | chambers
    index = np.clip(np.round(tree.points_mm / spacing_mm).astype(int), 0, np.array(label.shape) - 1)
    deep = shrink_mask(blood, _DEEP_MM, spacing_mm)[tuple(index.T)] & (tree.bridge < 0)
    if not deep.any():
        return []
    limit_mm = tree.radius_mm + _DEEP_MM
    near = expand_box(_box_of_index(index[deep]), margin_voxels(float(limit_mm[deep].max()), spacing_mm), blood.shape)
    depth = distance_transform_mm(blood[near], spacing_mm)
    deep[deep] = depth[tuple((index[deep] - [side.start for side in near]).T)] > limit_mm[deep]
    inside = tree.subset(deep)
    found = []
    for number, length_mm in enumerate(inside.component_mm.tolist() if deep.any() else []):
        points = inside.component == number
        if length_mm >= _DEEP_LENGTH_MM:
            area_mm2 = np.pi * float(np.mean(inside.radius_mm[points] ** 2))
            reason = "inside a chamber: a pacing lead, a fistula or a leak?"
            box = box_of_points(inside, points)
            found.append(VesselPart(box, area_mm2 * length_mm, length_mm, reason))
    return found


def _box_of_index(index: IntArray) -> Box:
    x, y, z = (slice(int(low), int(high) + 1) for low, high in zip(index.min(axis=0), index.max(axis=0), strict=True))
    return x, y, z


def box_of_points(tree: CentreTree, points: Mask) -> BoxMm:
    """Compute the bounding box in mm of the vessel at some points of a forest.

    Args:
        tree: the forest.
        points: (n,) bool, at least one.

    Returns:
        Lowest and highest corner.
    """
    low = (tree.points_mm - tree.radius_mm[:, None])[points].min(axis=0).tolist()
    high = (tree.points_mm + tree.radius_mm[:, None])[points].max(axis=0).tolist()
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def box_of_voxels(mask: Mask, spacing_mm: Spacing) -> BoxMm | None:
    """Compute the bounding box in mm of the voxels of a mask, with their outer faces.

    Args:
        mask: (x, y, z) bool.
        spacing_mm: voxel spacing.

    Returns:
        Lowest and highest corner; None for an empty mask.
    """
    box = bounding_box(mask)
    if box is None:
        return None
    low, high = ((np.array(ends) - 0.5) * spacing_mm for ends in zip(*((s.start, s.stop) for s in box), strict=True))
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])
