"""Bridges across the gaps of a vessel tree.

Components are joined greedily, the link of lowest cost first, as in Kruskal's spanning tree. A coronary tree has one
root, at the aorta. So two components that both have a root are never joined, however near their tips are; nor are a
part of the left and a part of the right tree. A long component without a root must be a part of some tree, so it may be
linked over a longer gap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from heartmend.coronaries.segments import Side
from heartmend.geometry.centrelines.tree import CentreTree, IntArray, chain
from heartmend.repair.vessels.brightness import DARK, contrast_of_components
from heartmend.repair.vessels.links import AORTA, CostLimits, Link, LinkSearch, hermite_arc
from heartmend.repair.vessels.settings import BridgeSettings
from heartmend.repair.vessels.vessel_context import VesselContext
from heartmend.types import FloatArray, Mask

Point = tuple[float, float, float]
"""Position in mm on the label's voxel axes: voxel index times spacing."""
BoxMm = tuple[Point, Point]
"""Lowest and highest corner in mm."""


@dataclass(frozen=True)
class Bridge:
    """Segment of a vessel that the label lacked.

    Attributes:
        start_mm: position of its start.
        end_mm: position of its end.
        length_mm: its length.
        cost_mm: cost of its link by `BridgeSettings`: the higher, the less certain.
        to_aorta: whether it ends at the aorta.
        box: its bounding box in mm.
        mm3: volume that it adds to the label.
    """

    start_mm: Point
    end_mm: Point
    length_mm: float
    cost_mm: float
    to_aorta: bool
    box: BoxMm
    mm3: float = 0.0

    @property
    def cost_ratio(self) -> float:
        """Cost of the link divided by that of a straight one of its length, at least 1."""
        return max(self.cost_mm / max(self.length_mm, 1e-6), 1.0)


def bridge_gaps(
    tree: CentreTree, context: VesselContext, settings: BridgeSettings
) -> tuple[CentreTree, list[Bridge], Mask]:
    """Join the components of a forest where a gap continues the vessel.

    With a CT, a component without a root that has far less contrast than the vessels with one is joined to none.

    Args:
        tree: the forest.
        context: structures around it.
        settings: which gaps are bridged.

    Returns:
        The joined forest, the bridges, and (n,) bool whether each point belongs to a component with a root.
    """
    joiner = _Joiner(tree, context, settings)
    if len(tree):
        joiner.join_all()
    return joiner.tree, joiner.bridges, np.isin(joiner.tree.component, joiner.rooted_components())


class _Joiner:
    """A forest whose components are joined one after another."""

    def __init__(self, tree: CentreTree, context: VesselContext, settings: BridgeSettings) -> None:
        self.tree, self.context, self.settings = tree, context, settings
        self.bridges: list[Bridge] = []
        self.aorta = cKDTree(context.aorta_mm) if len(context.aorta_mm) else None
        self.roots: list[int] = []
        self.side = np.zeros(len(tree), np.intp)
        if context.sides is not None and len(tree):
            self.side = context.sides(tree)
        if self.aorta is not None and len(tree):
            surface_mm = self.aorta.query(tree.points_mm)[0] - tree.radius_mm
            self.roots = np.flatnonzero(surface_mm <= settings.root_mm).tolist()
        self.dark = np.zeros(0, np.intp)
        if context.lumen is not None and self.roots:
            has_root = np.isin(tree.component, self.rooted_components())
            is_dark = contrast_of_components(tree, has_root, context.lumen) < DARK
            self.dark = np.flatnonzero(is_dark[tree.component])

    def rooted_components(self) -> IntArray:
        return np.unique(self.tree.component[self.roots])

    def sides_of_components(self) -> IntArray:
        """Certain `Side` of each component; unknown where it has none, or both."""
        known = np.flatnonzero(self.side != Side.UNKNOWN)
        found = np.zeros((len(self.tree.component_mm), len(Side)), bool)
        found[self.tree.component[known], self.side[known]] = True
        return np.where(found.sum(axis=1) == 1, found.argmax(axis=1), int(Side.UNKNOWN)).astype(np.intp)

    def join_all(self) -> None:
        """Join by links of low cost first, then long components without a root at higher cost."""
        settings = self.settings
        self.join_greedily(settings.max_cost_mm, settings.root_max_cost_mm, unrooted_only=False)
        if self.aorta is not None:
            limits_mm = settings.unrooted_max_cost_mm, settings.unrooted_root_max_cost_mm
            self.join_greedily(*limits_mm, unrooted_only=True)

    def join_greedily(self, limit_mm: float, root_limit_mm: float, unrooted_only: bool) -> None:
        while link := min(self.links(limit_mm, root_limit_mm, unrooted_only), key=lambda k: k.cost_mm, default=None):
            self.join(link)

    def links(self, limit_mm: float, root_limit_mm: float, unrooted_only: bool) -> Iterator[Link]:
        """List the links of every tip to other components and to the aorta."""
        tree, settings = self.tree, self.settings
        search = LinkSearch(tree, self.context, settings, self.aorta)
        rooted = np.isin(np.arange(len(tree.component_mm)), self.rooted_components())
        is_tree = rooted & (tree.component_mm >= settings.stump_mm)
        sides = self.sides_of_components()
        unrooted = ~rooted & (tree.component_mm >= settings.unrooted_mm)
        # A stump at the aorta is the start of a vessel, however short it is.
        max_cost_mm = settings.max_cost_ratio * np.where(rooted, np.inf, tree.component_mm)
        # A dot between two gaps is as long as it is wide.
        width_mm = 2 * np.bincount(tree.component, tree.radius_mm) / np.bincount(tree.component)
        extent_mm = np.maximum(tree.component_mm, width_mm)
        in_line_mm = settings.max_cost_ratio * np.where(rooted, np.inf, extent_mm)
        has_direction = np.zeros(len(tree.component_mm), bool)
        has_direction[[tree.component[tip] for tip, way in search.directions.items() if way.any()]] = True
        is_dark = np.isin(np.arange(len(tree.component_mm)), tree.component[self.dark])
        for tip in search.directions:
            own = tree.component[tip]
            if is_dark[own] or (tip in self.roots and tree.degree[tip] > 0):
                continue
            allowed = ~is_dark
            allowed[own] = False
            if is_tree[own]:
                allowed &= ~is_tree
            allowed &= (sides == Side.UNKNOWN) | (sides[own] == Side.UNKNOWN) | (sides == sides[own])
            if unrooted_only and not unrooted[own]:
                allowed &= unrooted
            beside_mm = np.minimum(max_cost_mm[own], max_cost_mm)
            one_has = has_direction | has_direction[own]
            limits = CostLimits(beside_mm, np.where(one_has, np.minimum(in_line_mm[own], in_line_mm), beside_mm))
            yield from search.to_vessel(tip, allowed, limits, limit_mm)
            min_length_mm = settings.unrooted_mm if unrooted_only else settings.direction_mm
            if self.aorta is not None and not rooted[own] and tree.component_mm[own] >= min_length_mm:
                yield from search.to_aorta(tip, root_limit_mm)

    def join(self, link: Link) -> None:
        """Add the bridge of a link to the forest."""
        tree, to_aorta = self.tree, link.target == AORTA
        start = tree.points_mm[link.tip]
        arc = hermite_arc(start, link)
        if self.context.lumen is not None and len(arc) > 2:
            arc = self.context.lumen.path(arc, start, link.end_mm)
        radius = np.array([tree.radius_mm[link.tip], tree.radius_mm[link.tip if to_aorta else link.target]])
        links = [(link.tip, 0)]
        if to_aorta:
            arc = np.concatenate([arc, link.end_mm[None]])
            self.roots.append(len(tree) + len(arc) - 1)
        else:
            links.append((link.target, len(arc) - 1))
        self.tree = tree.joined(chain(arc, np.linspace(radius[0], radius[1], len(arc)), len(self.bridges)), links)
        path = np.concatenate([start[None], arc, link.end_mm[None]])
        box = _point(path.min(axis=0) - radius.max()), _point(path.max(axis=0) + radius.max())
        length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
        self.bridges.append(Bridge(_point(start), _point(link.end_mm), length, link.cost_mm, to_aorta, box))


def _point(p: FloatArray) -> Point:
    return float(p[0]), float(p[1]), float(p[2])
