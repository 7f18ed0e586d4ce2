"""Repair of a label of thin vessels as a tree of tubes.

Gaps are bridged first and components are removed last: to keep only the largest components of an interrupted tree would
remove true vessel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import networkx as nx
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from heartmend.errors import BadInputError
from heartmend.geometry.boxes import Box, bounding_box_mm, boxes_by_id
from heartmend.geometry.components import label_components
from heartmend.repair.vessels.blend import blend_tube_and_label, narrow_bridges, tube_residual_mm, tube_weight
from heartmend.repair.vessels.bridge import BoxMm, Bridge, Point, bridge_gaps
from heartmend.repair.vessels.measurement import measure_with_spurs, tree_radius_mm, without_specks
from heartmend.repair.vessels.settings import TreeSettings
from heartmend.repair.vessels.tree import CentreTree, Spacing, voxel_points
from heartmend.repair.vessels.tube import smoothed_radius, tube_sdf
from heartmend.repair.vessels.vessel_context import Lumen, VesselContext
from heartmend.types import FloatArray, Mask

MARGIN_MM = 15.0
"""Margin about the label in which bridges may run and the aorta is searched."""


@dataclass(frozen=True)
class RemovedPart:
    """Part of the label that was removed.

    Attributes:
        box: its bounding box in mm.
        mm3: its volume.
    """

    box: BoxMm
    mm3: float


@dataclass(frozen=True)
class TreeRepair:
    """Repaired vessel tree. Positions are in mm on the label's voxel axes: voxel index times spacing.

    Attributes:
        mask: (x, y, z) bool, the repaired mask on the grid of the label.
        graph: the centreline: nodes with `mm`, `radius_mm` and `bridge` (index in `bridges`, or -1), edges with
            `length_mm`.
        bridges: the bridged gaps.
        removed: the removed components.
        spurs: the pruned spurs.
        trees: number of connected trees.
        rooted: number of trees with a root at the aorta.
        excess_mm: radius that was removed from the label; negative if it was widened.
        tube_weight: weight of the tube beside the label, 0 to 1.
    """

    mask: Mask
    graph: nx.Graph
    bridges: tuple[Bridge, ...] = ()
    removed: tuple[RemovedPart, ...] = ()
    spurs: tuple[RemovedPart, ...] = ()
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
    image: npt.NDArray[np.generic] | None = None,
    settings: TreeSettings | None = None,
) -> TreeRepair:
    """Repair a vessel tree: bridge gaps, remove excess width, prune spurs, remove components that are no vessel.

    Args:
        mask: (x, y, z) bool, label of the vessels.
        spacing_mm: voxel spacing.
        aorta: (x, y, z) bool; without it no tree has a root.
        heart: (x, y, z) bool, all bulky structures; without it bridges may run through the heart.
        image: (x, y, z) contrast CT image; without it bridges follow the direction of the vessels alone.
        settings: properties of the tree; None for those of coronary arteries.

    Returns:
        The repaired mask, its centreline, and what was changed.

    Raises:
        BadInputError: if the shapes differ.
    """
    settings = settings or TreeSettings()
    for name, other in (("aorta", aorta), ("heart", heart), ("image", image)):
        if other is not None and other.shape != mask.shape:
            raise BadInputError(
                f"the {name} has the shape {other.shape}, the vessels' mask {mask.shape}: resample them to one grid"
            )
    spacing = (float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2]))
    if not mask.any():
        return TreeRepair(np.zeros(mask.shape, bool), nx.Graph())
    window = bounding_box_mm(mask, MARGIN_MM, spacing)
    label = _cropped(mask, window)
    context = VesselContext.of(
        None if aorta is None else _cropped(aorta, window),
        None if heart is None else _cropped(heart, window),
        spacing,
        None if image is None else Lumen.of(image[window], label, spacing),
    )
    result = _repaired(label, spacing, context, settings)
    full_mask = np.zeros(mask.shape, bool)
    full_mask[window] = result.mask
    return _with_offset(replace(result, mask=full_mask), np.array([side.start for side in window]) * spacing)


def _repaired(label: Mask, spacing: Spacing, context: VesselContext, settings: TreeSettings) -> TreeRepair:
    label_left = without_specks(label, spacing, settings)
    measured, spur_points = measure_with_spurs(label_left, spacing, settings)
    joined, bridges, rooted = bridge_gaps(measured, context, settings.bridges)
    is_vessel = _vessel_points(joined, rooted, context, settings)
    if not is_vessel.any():
        return TreeRepair(np.zeros(label.shape, bool), nx.Graph(), removed=_parts(label, spacing))
    tree = joined.subset(is_vessel)
    removed = _voxels_of(joined, ~is_vessel, label_left, spacing)
    spurs = _spur_voxels(tree, spur_points, label_left & ~removed, spacing)
    label_left &= ~(removed | spurs)

    excess = settings.calibre.excess_mm(tree_radius_mm(tree), min(spacing)) if settings.calibre else 0.0
    tree = tree.with_radius(smoothed_radius(tree, settings.radius_mm))
    weight = settings.tube_weight
    if weight is None:
        weight = tube_weight(tube_residual_mm(tree, label_left, spacing), min(spacing))
    tree = tree.with_radius(np.maximum(tree.radius_mm - excess, settings.min_radius_mm))

    used = np.unique(tree.bridge[tree.bridge >= 0])
    number = np.full(len(bridges) + 1, -1, np.intp)
    number[used] = np.arange(len(used))
    tree, bridges_left = replace(tree, bridge=number[tree.bridge]), tuple(bridges[i] for i in used)
    # The centre of a bridge along a visible lumen is known.
    drawn = narrow_bridges(tree, bridges_left, min(spacing)) if context.lumen is None else tree
    return TreeRepair(
        mask=blend_tube_and_label(drawn, label_left, spacing, excess, weight),
        graph=tree.to_networkx(),
        bridges=bridges_left,
        removed=_parts(removed, spacing),
        spurs=_parts(spurs, spacing),
        trees=len(tree.component_mm),
        rooted=len(np.unique(tree.component[rooted[is_vessel]])),
        excess_mm=excess,
        tube_weight=weight,
    )


def _vessel_points(tree: CentreTree, rooted: Mask, context: VesselContext, settings: TreeSettings) -> Mask:
    """Points of components that are vessels: long enough (half of the longest always is) and near the heart."""
    if len(tree) == 0:
        return np.zeros(0, bool)
    length = tree.component_mm[tree.component]
    min_length = np.minimum(np.where(rooted, settings.spur_mm, settings.component_mm), 0.5 * length.max())
    is_vessel = np.asarray(length >= min_length)
    if context.heart is not None:
        distance = context.heart(tree.points_mm)
        far = [float(np.median(distance[tree.component == k])) > settings.far_mm for k in range(len(tree.component_mm))]
        is_vessel &= ~np.array(far)[tree.component]
    return is_vessel


def _voxels_of(tree: CentreTree, points: Mask, label: Mask, spacing: Spacing) -> Mask:
    """Voxels of the label whose nearest centreline point is one of `points`."""
    voxels = np.zeros(label.shape, bool)
    if points.any():
        voxels[label] = points[cKDTree(tree.points_mm).query(voxel_points(label, spacing))[1]]
    return voxels


def _spur_voxels(tree: CentreTree, spurs: list[FloatArray], label: Mask, spacing: Spacing) -> Mask:
    """Voxels of the label near pruned spurs that are more than a voxel outside the tube."""
    found = np.zeros(label.shape, bool)
    if spurs:
        voxels = voxel_points(label, spacing)
        spur_points = np.concatenate(spurs)
        nearer = cKDTree(spur_points).query(voxels)[0] < cKDTree(tree.points_mm).query(voxels)[0]
        nearer[nearer] = tube_sdf(tree, voxels[nearer]) > max(spacing)
        found[label] = nearer
    return found


def _parts(mask: Mask, spacing: Spacing) -> tuple[RemovedPart, ...]:
    """The 26-connected components of removed voxels."""
    if not mask.any():
        return ()
    components, sizes = label_components(mask)
    voxel_mm3 = float(np.prod(spacing))
    found = []
    for number, box in boxes_by_id(components).items():
        low = [(side.start - 0.5) * s for side, s in zip(box, spacing, strict=True)]
        high = [(side.stop - 0.5) * s for side, s in zip(box, spacing, strict=True)]
        corners = (low[0], low[1], low[2]), (high[0], high[1], high[2])
        found.append(RemovedPart(corners, float(sizes[number]) * voxel_mm3))
    return tuple(found)


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
    return replace(
        result,
        bridges=tuple(
            replace(b, start_mm=point(b.start_mm), end_mm=point(b.end_mm), box=box(b.box)) for b in result.bridges
        ),
        removed=tuple(replace(r, box=box(r.box)) for r in result.removed),
        spurs=tuple(replace(r, box=box(r.box)) for r in result.spurs),
    )
