"""Mend a noisy label of thin vessels as a tree of tubes.

The order matters: breaks are bridged first and pieces dropped last. To keep the largest pieces of a broken tree throws
real vessel away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import networkx as nx
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from heartmend.anatomy.calibre import Calibre
from heartmend.errors import BadInputError
from heartmend.geometry.boxes import bounding_box, boxes_by_id
from heartmend.geometry.components import label_components
from heartmend.repair.vessels.blend import as_sure, painted, tube_residual_mm, tube_weight
from heartmend.repair.vessels.bridge import BoxMm, Bridge, BridgeRules, Point, bridged
from heartmend.repair.vessels.skeleton import pruned, trace
from heartmend.repair.vessels.tree import CentreTree, Spacing, voxel_points
from heartmend.repair.vessels.tube import centred, equal_area_radius, reaching, smoothed_radius, tube_sdf
from heartmend.repair.vessels.vessel_context import Lumen, VesselContext
from heartmend.types import FloatArray, Mask

_MARGIN_MM = 15.0


@dataclass(frozen=True)
class TreeSettings:
    """What a coronary artery is, in mm.

    speck_mm3: smaller pieces carry no direction (a vessel of 1 mm radius, 1 mm long). spur_mm: shorter twigs are the
    thinning's. centre_mm, radius_mm: how far along the vessel its middle and its radius are averaged.
    min_radius_mm: no labelled coronary is thinner. piece_mm: a piece without a root that is shorter goes.
    far_mm: a piece that lies farther from the heart goes. calibre: how wide trees are in this population, None to
    leave each as wide as it came. tube_weight: how much the tube counts against the label, None to judge by the label.
    """

    speck_mm3: float = 3.0
    spur_mm: float = 3.0
    centre_mm: float = 1.5
    radius_mm: float = 3.0
    min_radius_mm: float = 0.5
    component_mm: float = 8.0
    far_mm: float = 10.0
    tube_weight: float | None = None
    calibre: Calibre | None = field(default_factory=Calibre)
    bridges: BridgeRules = field(default_factory=BridgeRules)


@dataclass(frozen=True)
class Removed:
    """Something of the label that was taken away: the corners of its box in mm, and how much."""

    box: BoxMm
    mm3: float


@dataclass(frozen=True)
class TreeRepair:
    """A mended tree. Positions are in mm on the label's voxel axes: voxel index times spacing.

    mask: on the label's grid. graph: nodes with `mm`, `radius_mm` and `bridge` (the place in `bridges`, or -1), edges
    with `length_mm`. trees: number of connected trees. rooted: those of them with a root at the aorta.
    excess_mm: how much too wide the whole label was (negative: too thin), which was taken off.
    tube_weight: how much the tube counted against the label, 0 to 1.
    """

    mask: Mask
    graph: nx.Graph
    bridges: tuple[Bridge, ...] = ()
    dropped: tuple[Removed, ...] = ()
    spurs: tuple[Removed, ...] = ()
    trees: int = 0
    rooted: int = 0
    excess_mm: float = 0.0
    tube_weight: float = 0.0


def measure_tree(mask: Mask, spacing_mm: Spacing, settings: TreeSettings | None = None) -> CentreTree:
    """Centreline and radius of a label (x, y, z) as it is, nothing mended."""
    settings = settings or TreeSettings()
    clean = _without_specks(mask, spacing_mm, settings)
    return _measured(clean, spacing_mm, settings)[0]


def tree_radius_mm(tree: CentreTree) -> float:
    """Radius of the equal tube: as long as the tree and with its volume. 0 for a tree without length."""
    share = tree.share_mm * (tree.bridge < 0)
    return float(np.sqrt(tree.radius_mm**2 @ share / share.sum())) if share.sum() > 0 else 0.0


def repair_tree(
    mask: Mask,
    spacing_mm: Spacing,
    *,
    aorta: Mask | None = None,
    heart: Mask | None = None,
    image: npt.NDArray[np.generic] | None = None,
    settings: TreeSettings | None = None,
) -> TreeRepair:
    """Bridge the breaks of a vessel tree, take off what its label is too wide, prune spurs, drop what is no vessel.

    mask (x, y, z) bool; aorta, heart (the other structures together) and image (a contrast CT) on the same grid, each
    optional: without the aorta no tree has a root, without the heart bridges run free, without the CT they follow the
    vessel's direction alone. Raises BadInputError if shapes differ.
    """
    settings = settings or TreeSettings()
    for name, other in (("aorta", aorta), ("heart", heart), ("image", image)):
        if other is not None and other.shape != mask.shape:
            raise BadInputError(
                f"the {name} has the shape {other.shape}, the vessels' mask {mask.shape}: bring them to one grid"
            )
    spacing = (float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2]))
    if not mask.any():
        return TreeRepair(np.zeros(mask.shape, bool), nx.Graph())
    window = _window(mask, spacing)
    label = _crop(mask, window)
    around = VesselContext.of(
        None if aorta is None else _crop(aorta, window),
        None if heart is None else _crop(heart, window),
        spacing,
        None if image is None else Lumen.of(image[window], label, spacing),
    )
    result = _mended(label, spacing, around, settings)
    whole = np.zeros(mask.shape, bool)
    whole[window] = result.mask
    return _shifted(replace(result, mask=whole), np.array([part.start for part in window]) * spacing)


def _mended(label: Mask, spacing: Spacing, around: VesselContext, settings: TreeSettings) -> TreeRepair:
    clean = _without_specks(label, spacing, settings)
    measured, spur_points = _measured(clean, spacing, settings)
    joined, bridges, rooted = bridged(measured, around, settings.bridges)
    keep = _worth_keeping(joined, rooted, around, settings)
    if not keep.any():
        return TreeRepair(np.zeros(label.shape, bool), nx.Graph(), dropped=_removed(label, spacing))
    tree = joined.kept(keep)
    dropped = _owned_by(joined, ~keep, clean, spacing)
    spurs = _sticking_out(tree, spur_points, clean & ~dropped, spacing)
    clean &= ~(dropped | spurs)

    excess = settings.calibre.excess_mm(tree_radius_mm(tree), min(spacing)) if settings.calibre else 0.0
    tree = tree.with_radius(smoothed_radius(tree, settings.radius_mm))
    weight = settings.tube_weight
    if weight is None:
        weight = tube_weight(tube_residual_mm(tree, clean, spacing), min(spacing))
    tree = tree.with_radius(np.maximum(tree.radius_mm - excess, settings.min_radius_mm))

    alive = np.unique(tree.bridge[tree.bridge >= 0])
    number = np.full(len(bridges) + 1, -1, np.intp)
    number[alive] = np.arange(len(alive))
    tree, built = replace(tree, bridge=number[tree.bridge]), tuple(bridges[i] for i in alive)
    # Along a lumen that is seen, the middle of a bridge is known.
    drawn = as_sure(tree, built, min(spacing)) if around.lumen is None else tree
    return TreeRepair(
        mask=painted(drawn, clean, spacing, excess, weight),
        graph=tree.to_networkx(),
        bridges=built,
        dropped=_removed(dropped, spacing),
        spurs=_removed(spurs, spacing),
        trees=len(tree.component_mm),
        rooted=len(np.unique(tree.component[rooted[keep]])),
        excess_mm=excess,
        tube_weight=weight,
    )


def _without_specks(mask: Mask, spacing: Spacing, settings: TreeSettings) -> Mask:
    least = int(np.ceil(settings.speck_mm3 / np.prod(spacing)))
    components, sizes = label_components(mask)
    return (sizes >= least)[components] & mask


def _measured(clean: Mask, spacing: Spacing, settings: TreeSettings) -> tuple[CentreTree, list[FloatArray]]:
    tree, spurs = pruned(trace(clean, spacing), settings.spur_mm)
    if len(tree):
        voxels = voxel_points(clean, spacing)
        tree = reaching(centred(tree, voxels, settings.centre_mm), voxels, settings.bridges.direction_mm)
        voxel_mm3 = float(np.prod(spacing))
        tree = tree.with_radius(equal_area_radius(tree, voxels, voxel_mm3, settings.radius_mm))
    return tree, spurs


def _worth_keeping(tree: CentreTree, rooted: Mask, around: VesselContext, settings: TreeSettings) -> Mask:
    """Which points lie in a tree that stays: long enough (half of the longest is always so) and near the heart."""
    if len(tree) == 0:
        return np.zeros(0, bool)
    length = tree.component_mm[tree.component]
    least = np.minimum(np.where(rooted, settings.spur_mm, settings.component_mm), 0.5 * length.max())
    keep = np.asarray(length >= least)
    if around.heart is not None:
        height = around.heart(tree.points_mm)
        far = [float(np.median(height[tree.component == k])) > settings.far_mm for k in range(len(tree.component_mm))]
        keep &= ~np.array(far)[tree.component]
    return keep


def _owned_by(tree: CentreTree, points: Mask, label: Mask, spacing: Spacing) -> Mask:
    """The label's voxels whose nearest centreline point is one of `points`."""
    owned = np.zeros(label.shape, bool)
    if points.any():
        owned[label] = points[cKDTree(tree.points_mm).query(voxel_points(label, spacing))[1]]
    return owned


def _sticking_out(tree: CentreTree, spurs: list[FloatArray], label: Mask, spacing: Spacing) -> Mask:
    """The label's voxels about pruned twigs that lie more than a voxel outside the tube."""
    out = np.zeros(label.shape, bool)
    if spurs:
        voxels = voxel_points(label, spacing)
        twigs = np.concatenate(spurs)
        nearer = cKDTree(twigs).query(voxels)[0] < cKDTree(tree.points_mm).query(voxels)[0]
        nearer[nearer] = tube_sdf(tree, voxels[nearer]) > max(spacing)
        out[label] = nearer
    return out


def _removed(mask: Mask, spacing: Spacing) -> tuple[Removed, ...]:
    """The 26-connected pieces of what was taken away."""
    if not mask.any():
        return ()
    components, sizes = label_components(mask)
    voxel_mm3 = float(np.prod(spacing))
    found = []
    for number, box in boxes_by_id(components).items():
        low = [(part.start - 0.5) * s for part, s in zip(box, spacing, strict=True)]
        high = [(part.stop - 0.5) * s for part, s in zip(box, spacing, strict=True)]
        found.append(Removed(((low[0], low[1], low[2]), (high[0], high[1], high[2])), float(sizes[number]) * voxel_mm3))
    return tuple(found)


def _window(mask: Mask, spacing: Spacing) -> tuple[slice, slice, slice]:
    """The mask's bounding box with room for bridges and the aorta."""
    window = bounding_box(mask, [int(np.ceil(_MARGIN_MM / step)) for step in spacing])
    assert window is not None
    return window


def _crop(mask: Mask, window: tuple[slice, slice, slice]) -> Mask:
    return np.ascontiguousarray(mask[window], bool)


def _shifted(result: TreeRepair, by_mm: FloatArray) -> TreeRepair:
    """The result with its positions counted from another origin."""
    point: Callable[[Point], Point] = lambda p: (p[0] + by_mm[0], p[1] + by_mm[1], p[2] + by_mm[2])  # noqa: E731
    box: Callable[[BoxMm], BoxMm] = lambda b: (point(b[0]), point(b[1]))  # noqa: E731
    for _, data in result.graph.nodes(data=True):
        data["mm"] = point(data["mm"])
    return replace(
        result,
        bridges=tuple(
            replace(b, start_mm=point(b.start_mm), end_mm=point(b.end_mm), box=box(b.box)) for b in result.bridges
        ),
        dropped=tuple(replace(r, box=box(r.box)) for r in result.dropped),
        spurs=tuple(replace(r, box=box(r.box)) for r in result.spurs),
    )
