"""Repair of a label of thin vessels as a tree of tubes.

Gaps are bridged first and components are removed last: to keep only the largest components of an interrupted tree would
remove true vessel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import networkx as nx
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from heartmend.coronaries.sides import find_sides
from heartmend.coronaries.surroundings import CoronarySurroundings
from heartmend.errors import BadInputError
from heartmend.geometry.boxes import Box, bounding_box_mm
from heartmend.geometry.centrelines.measurement import measure_tree, tree_radius_mm, without_specks
from heartmend.geometry.centrelines.tree import CentreTree, IntArray, Spacing, voxel_points
from heartmend.geometry.centrelines.tube import smoothed_radius
from heartmend.geometry.components import components_through, count_components
from heartmend.geometry.skeletons import extract_skeleton
from heartmend.repair.vessels.blend import (
    blend_tube_and_label,
    draw_bridges,
    narrow_bridges,
    tube_residual_mm,
    tube_weight,
)
from heartmend.repair.vessels.bridge import BoxMm, Bridge, Point, bridge_gaps
from heartmend.repair.vessels.course_noise import (
    FOR_VOXELS,
    FOR_WIGGLES,
    average_along_course,
    course_wiggle_mm,
    sound_wiggle_mm,
)
from heartmend.repair.vessels.missing_branches import REACH_MM, FoundBranches, find_missing_branches
from heartmend.repair.vessels.settings import TreeSettings
from heartmend.repair.vessels.verdicts import (
    ComponentVerdict,
    VesselPart,
    box_of_points,
    box_of_voxels,
    judge_components,
    limit_removal,
    stretches_in_chambers,
)
from heartmend.repair.vessels.vessel_context import Lumen, VesselContext
from heartmend.repair.vessels.voxel_noise import without_voxel_noise
from heartmend.types import FloatArray, Mask
from heartmend.wording import plural

MARGIN_MM = 15.0
"""Margin about the label in which bridges may run and the aorta is searched."""


@dataclass(frozen=True)
class TreeRepair:
    """Repaired vessel tree. Positions are in mm on the label's voxel axes: voxel index times spacing.

    Attributes:
        mask: (x, y, z) bool, the repaired mask on the grid of the label.
        graph: the centreline: nodes with `mm`, `radius_mm` and `bridge` (index in `bridges`, or -1), edges with
            `length_mm`.
        bridges: the bridged gaps.
        dropped: (x, y, z) bool, the voxels of the removed components.
        removed: the removed components.
        specks: the removed voxels that are too few to have a direction, as one part; None without any.
        remarks: what was kept and needs a review.
        smoothed: (x, y, z) bool, the voxels that changed as noise of the surface.
        bridged: (x, y, z) bool, the voxels that the bridges have added.
        branches: branches that the label lacks; they are not in `mask`. None where none were searched.
        trees: number of connected trees.
        rooted: number of trees with a root at the aorta.
        excess_mm: radius that was removed from the label; negative if it was widened.
        tube_weight: weight of the tube beside the label, 0 to 1.
    """

    mask: Mask
    graph: nx.Graph
    dropped: Mask
    smoothed: Mask
    bridged: Mask
    bridges: tuple[Bridge, ...] = ()
    removed: tuple[VesselPart, ...] = ()
    specks: VesselPart | None = None
    remarks: tuple[VesselPart, ...] = ()
    branches: FoundBranches | None = None
    trees: int = 0
    rooted: int = 0
    excess_mm: float = 0.0
    tube_weight: float = 0.0


def repair_tree(
    mask: Mask,
    spacing_mm: Spacing,
    *,
    aorta: Mask | None = None,
    heart: Mask | None = None,
    chambers: Mask | None = None,
    image: npt.NDArray[np.generic] | None = None,
    surroundings: CoronarySurroundings | None = None,
    settings: TreeSettings | None = None,
) -> TreeRepair:
    """Repair a vessel tree: bridge gaps, remove noise of the surface, excess width and components that are no vessel.

    Where none of these applies the label is kept to the voxel, whatever the shape of its cross-sections.

    Args:
        mask: (x, y, z) bool, label of the vessels.
        spacing_mm: voxel spacing.
        aorta: (x, y, z) bool; without it no tree has a root.
        heart: (x, y, z) bool, all bulky structures; without it bridges may run through the heart.
        chambers: (x, y, z) bool, the blood pools; without it no stretch inside a chamber is found.
        image: (x, y, z) contrast CT image; without it bridges follow the direction of the vessels alone.
        surroundings: the chambers by which left and right tree are distinguished, which are never joined; None where
            they are unknown.
        settings: properties of the tree; None for those of coronary arteries.

    Returns:
        The repaired mask, its centreline, and what was changed.

    Raises:
        BadInputError: if the shapes differ.
    """
    settings = settings or TreeSettings()
    for name, other in (("aorta", aorta), ("heart", heart), ("chambers", chambers), ("image", image)):
        if other is not None and other.shape != mask.shape:
            raise BadInputError(
                f"the {name} has the shape {other.shape}, the vessels' mask {mask.shape}: resample them to one grid"
            )
    spacing = (float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2]))
    nothing = np.zeros(mask.shape, bool)
    if not mask.any():
        return TreeRepair(nothing, nx.Graph(), nothing, nothing, nothing)
    window = bounding_box_mm(mask, REACH_MM if settings.missing_branches else MARGIN_MM, spacing)
    label = _cropped(mask, window)
    context = VesselContext.of(
        None if aorta is None else _cropped(aorta, window),
        None if heart is None else _cropped(heart, window),
        spacing,
        None if image is None else Lumen.of(image[window], label, spacing),
    )
    offset = np.array([side.start for side in window]) * spacing
    if surroundings is not None:
        context = replace(context, sides=partial(_certain_sides, surroundings=surroundings, offset_mm=offset))
    result = _repaired(label, spacing, context, settings)
    tree = CentreTree.from_networkx(result.graph)
    if chambers is not None:
        found = stretches_in_chambers(tree, result.mask, _cropped(chambers, window), spacing)
        result = replace(result, remarks=(*result.remarks, *found))
    if settings.missing_branches and context.lumen is not None:
        others = nothing[window] if heart is None else _cropped(heart, window)
        blood = nothing[window] if chambers is None else _cropped(chambers, window)
        found_branches = find_missing_branches(result.mask, tree, others, context.lumen, spacing, others & ~blood)
        result = replace(result, branches=found_branches)
    mask, dropped, smoothed, bridged = (
        _in_volume(part, window, nothing) for part in (result.mask, result.dropped, result.smoothed, result.bridged)
    )
    if result.branches is not None:
        branches = replace(result.branches, mask=_in_volume(result.branches.mask, window, nothing))
        result = replace(result, branches=branches)
    return _with_offset(replace(result, mask=mask, dropped=dropped, smoothed=smoothed, bridged=bridged), offset)


def _certain_sides(tree: CentreTree, surroundings: CoronarySurroundings, offset_mm: FloatArray) -> IntArray:
    """Certain sides of the points of a forest in a window."""
    return find_sides(tree.with_points(tree.points_mm + offset_mm), surroundings).certain()


def _repaired(label: Mask, spacing: Spacing, context: VesselContext, settings: TreeSettings) -> TreeRepair:
    without_dots = without_specks(label, spacing, settings)
    smooth = without_specks(without_voxel_noise(without_dots), spacing, settings)
    joined, bridges, rooted = bridge_gaps(measure_tree(smooth, spacing, settings), context, settings.bridges)
    component = joined.component[_owners(joined, smooth, spacing)]
    mm3 = (np.bincount(component, minlength=len(joined.component_mm)) * float(np.prod(spacing))).astype(np.float64)
    verdicts = limit_removal(judge_components(joined, rooted, context, settings), mm3, settings.max_removed_share)
    is_kept = np.array([verdict.is_vessel for verdict in verdicts], bool)
    is_vessel = is_kept[joined.component]
    dropped = smooth.copy()
    dropped[smooth] = ~is_kept[component]
    parts = _parts(joined, verdicts, mm3)
    removed, remarks = (tuple(part for kept, part in parts if kept == wanted) for wanted in (False, True))
    specks = _specks(label & ~without_dots, spacing, settings)
    if not is_vessel.any():
        nothing = np.zeros(label.shape, bool)
        return TreeRepair(nothing, nx.Graph(), label, nothing, nothing, removed=removed, specks=specks)
    tree, own = joined.subset(is_vessel), smooth & ~dropped

    excess = settings.calibre.excess_mm(tree_radius_mm(tree), min(spacing)) if settings.calibre else 0.0
    tree = tree.with_radius(smoothed_radius(tree, settings.radius_mm))
    weight = settings.tube_weight
    if weight is None:  # a label of the right width is kept: lumens are no discs
        weight = tube_weight(tube_residual_mm(tree, own, spacing), min(spacing)) if excess else 0.0
    tree = tree.with_radius(np.maximum(tree.radius_mm - excess, settings.min_radius_mm))

    used = np.unique(tree.bridge[tree.bridge >= 0])
    number = np.full(len(bridges) + 1, -1, np.intp)
    number[used] = np.arange(len(used))
    tree, bridges_left = replace(tree, bridge=number[tree.bridge]), tuple(bridges[i] for i in used)
    # The centre of a bridge along a visible lumen is known.
    drawn = narrow_bridges(tree, bridges_left, min(spacing)) if context.lumen is None else tree
    if excess or weight:
        smoothed = without_dots ^ smooth
        mask = blend_tube_and_label(drawn, own, spacing, excess, weight)
        bridged, bridges_left = _with_volumes(bridges_left, tree, mask & ~own, spacing)
    else:
        gaps = draw_bridges(drawn, own.shape, spacing)
        bridged, bridges_left = _with_volumes(bridges_left, tree.subset(tree.bridge >= 0), gaps & ~own, spacing)
        original = without_dots & ~dropped | gaps
        mask = _without_course_noise(original, own | gaps, tree, spacing)
        smoothed = original ^ mask
    return TreeRepair(
        mask=mask,
        graph=tree.to_networkx(),
        dropped=label & ~without_dots | dropped,
        smoothed=smoothed,
        bridged=bridged,
        bridges=bridges_left,
        removed=removed,
        specks=specks,
        remarks=remarks,
        trees=len(tree.component_mm),
        rooted=len(np.unique(tree.component[rooted[is_vessel]])),
        excess_mm=excess,
        tube_weight=weight,
    )


def _parts(tree: CentreTree, verdicts: Sequence[ComponentVerdict], mm3: FloatArray) -> list[tuple[bool, VesselPart]]:
    """Whether it is kept, and its description, for each component with a reason."""
    found = []
    for verdict in verdicts:
        if verdict.reason:
            number = verdict.component
            box, length_mm = box_of_points(tree, tree.component == number), float(tree.component_mm[number])
            found.append((verdict.is_vessel, VesselPart(box, float(mm3[number]), length_mm, verdict.reason)))
    return found


def _specks(specks: Mask, spacing: Spacing, settings: TreeSettings) -> VesselPart | None:
    """Specks as one part without a length."""
    box = box_of_voxels(specks, spacing)
    if box is None:
        return None
    reason = f"{plural(count_components(specks), 'speck')} below {settings.speck_mm3:g} mm³"
    return VesselPart(box, float(specks.sum() * np.prod(spacing)), 0.0, reason)


def _without_course_noise(label: Mask, clean: Mask, tree: CentreTree, spacing: Spacing) -> Mask:
    """The label averaged along its course where it has noise of voxels, or a wiggle; otherwise the label itself.

    `clean` is the label without noise of voxels, and the tree is its own.
    """
    has_voxel_noise = bool((label ^ clean).any())
    one = FOR_VOXELS if has_voxel_noise else FOR_WIGGLES
    # Slices that are thicker than the reach of the average have no neighbours to be averaged with.
    if max(spacing) > one.along_mm:
        return clean
    if not has_voxel_noise and course_wiggle_mm(label, tree, spacing) <= sound_wiggle_mm(spacing):
        return label
    result = average_along_course(label, tree, spacing, one)
    if count_components(result) != count_components(clean):
        result = components_through(result, extract_skeleton(clean))
    return result


def _with_volumes(
    bridges: tuple[Bridge, ...], tree: CentreTree, added: Mask, spacing: Spacing
) -> tuple[Mask, tuple[Bridge, ...]]:
    """The added voxels that are nearest to a bridge of a forest, and the bridges with their volumes."""
    bridged = np.zeros(added.shape, bool)
    if not len(tree):
        return bridged, bridges
    owner = tree.bridge[_owners(tree, added, spacing)]
    bridged[added] = owner >= 0
    mm3 = np.bincount(owner[owner >= 0], minlength=len(bridges)) * float(np.prod(spacing))
    return bridged, tuple(replace(bridge, mm3=float(volume)) for bridge, volume in zip(bridges, mm3, strict=True))


def _owners(tree: CentreTree, mask: Mask, spacing: Spacing) -> IntArray:
    """Index of the nearest centreline point of each voxel of a mask."""
    if not len(tree):
        return np.zeros(0, np.intp)
    return np.asarray(cKDTree(tree.points_mm).query(voxel_points(mask, spacing))[1], np.intp)


def _in_volume(part: Mask, window: Box, nothing: Mask) -> Mask:
    full = nothing.copy()
    full[window] = part
    return full


def _cropped(mask: Mask, window: Box) -> Mask:
    return np.ascontiguousarray(mask[window], bool)


def _with_offset(result: TreeRepair, offset_mm: FloatArray) -> TreeRepair:
    """The result with an offset added to its positions."""

    def point(p: Point) -> Point:
        return p[0] + offset_mm[0], p[1] + offset_mm[1], p[2] + offset_mm[2]

    def box(b: BoxMm) -> BoxMm:
        return point(b[0]), point(b[1])

    for _, data in result.graph.nodes(data=True):
        data["mm"] = point(data["mm"])
    branches = result.branches
    if branches is not None:
        branches = replace(branches, parts=tuple(replace(part, box=box(part.box)) for part in branches.parts))
    return replace(
        result,
        bridges=tuple(
            replace(b, start_mm=point(b.start_mm), end_mm=point(b.end_mm), box=box(b.box)) for b in result.bridges
        ),
        removed=tuple(replace(part, box=box(part.box)) for part in result.removed),
        specks=result.specks and replace(result.specks, box=box(result.specks.box)),
        remarks=tuple(replace(part, box=box(part.box)) for part in result.remarks),
        branches=branches,
    )
