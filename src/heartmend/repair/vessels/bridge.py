"""Breaks in a vessel are bridged along the vessel's direction.

Pieces are joined greedily, the cheapest link first as in Kruskal's spanning tree, under the law of the coronary tree: a
tree has one root, at the aorta. So two trees that are both rooted are never joined, however near their tips come, and a
long piece without a root must have come from somewhere and may be reached for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from heartmend.repair.vessels.tree import CentreTree, IntArray, chain
from heartmend.repair.vessels.tube import line
from heartmend.repair.vessels.vessel_context import VesselContext
from heartmend.types import FloatArray, Mask

Point = tuple[float, float, float]
BoxMm = tuple[Point, Point]
"""Lowest and highest corner in mm."""
_UNKNOWN_TURN = 0.5  # radians: what a piece too short to have a direction is taken to turn by
_BEND = 0.3  # how much of a tip's turn a bridge takes up: directions from a few mm of vessel are not sure
_AORTA = -1


@dataclass(frozen=True)
class Bridge:
    """A stretch of vessel that the label did not have. Positions in mm on the label's voxel axes (index times spacing).

    cost_mm: what the link cost by `BridgeRules`, the higher the less sure. box: its least and greatest corner.
    """

    start_mm: Point
    end_mm: Point
    length_mm: float
    cost_mm: float
    to_aorta: bool
    box: BoxMm

    @property
    def turns(self) -> float:
        """How much dearer the link was than a straight one of its length, at least 1: the higher the less sure."""
        return max(self.cost_mm / max(self.length_mm, 1e-6), 1.0)


@dataclass(frozen=True)
class BridgeRules:
    """What may be joined. A link costs its length in mm times 1 + turn (a² + b²), a and b its turns in radians.

    max_cost_mm: a straight gap may be this long. branch: added to the factor for joining a tip to the side of a vessel.
    worth: a link may cost this many times the length of the shorter piece that it brings, plus the vessel's width.
    inside: added to the factor, times the share of the way that lies deep in the heart.
    direction_mm: how much of a vessel gives its tip a direction.
    root_mm: a vessel whose surface comes this near to the aorta is rooted there. stub_mm: rooted pieces shorter than
    this are stumps, and may be joined to a tree that is rooted too. ostium: added to the factor of a link to the aorta.
    root_max_cost_mm: what a link to the aorta may cost at first.
    orphan_mm: pieces without a root longer than this may reach for one, at orphan_max_cost_mm or, to the aorta itself,
    orphan_root_max_cost_mm.
    """

    max_cost_mm: float = 15.0
    turn: float = 0.75
    branch: float = 0.5
    worth: float = 1.5
    inside: float = 2.0
    direction_mm: float = 5.0
    root_mm: float = 2.0
    stub_mm: float = 15.0
    ostium: float = 0.5
    root_max_cost_mm: float = 10.0
    orphan_mm: float = 15.0
    orphan_max_cost_mm: float = 30.0
    orphan_root_max_cost_mm: float = 20.0


@dataclass(frozen=True)
class Link:
    """A way from a tip to a point of another piece (`target`, -1 for the aorta). Directions: unit vectors or zero."""

    cost_mm: float
    tip: int
    leaving: FloatArray
    target: int
    end_mm: FloatArray
    arriving: FloatArray


def bridged(tree: CentreTree, around: VesselContext, rules: BridgeRules) -> tuple[CentreTree, list[Bridge], Mask]:
    """Join the pieces of a forest where a gap runs along the vessel.

    Returns the forest, the bridges, and which of its points lie in a tree with a root (all False without an aorta).
    """
    joiner = _Joiner(tree, around, rules)
    if len(tree):
        joiner.run()
    return joiner.tree, joiner.bridges, np.isin(joiner.tree.component, joiner.rooted_pieces())


def tip_directions(tree: CentreTree, reach_mm: float) -> dict[int, FloatArray]:
    """The outward direction of every end, from the vessel's last `reach_mm`; zero where the piece is too short."""
    directions = {}
    for tip, back_mm in zip(tree.ends, tree.along_mm(reach_mm, tree.ends), strict=True):
        near = np.isfinite(back_mm)
        known = back_mm[near].max() > 0.5 * reach_mm
        directions[int(tip)] = line(tree.points_mm[near], back_mm[near])[1] if known else np.zeros(3)
    return directions


class _Joiner:
    """The forest as it grows together."""

    def __init__(self, tree: CentreTree, around: VesselContext, rules: BridgeRules) -> None:
        self.tree, self.around, self.rules = tree, around, rules
        self.bridges: list[Bridge] = []
        self.aorta = cKDTree(around.aorta_mm) if len(around.aorta_mm) else None
        self.roots: list[int] = []
        if self.aorta is not None and len(tree):
            height_mm = self.aorta.query(tree.points_mm)[0] - tree.radius_mm
            self.roots = np.flatnonzero(height_mm <= rules.root_mm).tolist()

    def rooted_pieces(self) -> IntArray:
        return np.unique(self.tree.component[self.roots])

    def run(self) -> None:
        """Sure links first; then what is long and still without a root may reach further."""
        self.greedy(self.rules.max_cost_mm, self.rules.root_max_cost_mm, orphans_only=False)
        if self.aorta is not None:
            self.greedy(self.rules.orphan_max_cost_mm, self.rules.orphan_root_max_cost_mm, orphans_only=True)

    def greedy(self, limit_mm: float, root_limit_mm: float, orphans_only: bool) -> None:
        while link := min(self.links(limit_mm, root_limit_mm, orphans_only), key=lambda k: k.cost_mm, default=None):
            self.join(link)

    def links(self, limit_mm: float, root_limit_mm: float, orphans_only: bool) -> Iterator[Link]:
        """The best link of every tip to another piece, and to the aorta."""
        tree, rules = self.tree, self.rules
        directions = tip_directions(tree, rules.direction_mm)
        rooted = np.isin(np.arange(len(tree.component_mm)), self.rooted_pieces())
        grown = rooted & (tree.component_mm >= rules.stub_mm)
        orphan = ~rooted & (tree.component_mm >= rules.orphan_mm)
        # a stump at the aorta, however short, is where a vessel begins
        worth_mm = rules.worth * np.where(rooted, np.inf, tree.component_mm)
        for tip, direction in directions.items():
            own = tree.component[tip]
            if tip in self.roots and tree.degree[tip] > 0:
                continue
            allowed = np.arange(len(tree.component_mm)) != own
            if grown[own]:
                allowed &= ~grown
            if orphans_only and not orphan[own]:
                allowed &= orphan
            yield from self.to_vessel(tip, directions, allowed, np.minimum(worth_mm[own], worth_mm), limit_mm)
            least_mm = rules.orphan_mm if orphans_only else rules.direction_mm
            if self.aorta is not None and not rooted[own] and tree.component_mm[own] >= least_mm:
                yield from self.to_aorta(tip, direction, root_limit_mm)

    def to_vessel(
        self, tip: int, directions: dict[int, FloatArray], allowed: Mask, worth_mm: FloatArray, limit_mm: float
    ) -> Iterator[Link]:
        tree, rules = self.tree, self.rules
        here, direction = tree.points_mm[tip], directions[tip]
        way = tree.points_mm - here
        length = np.linalg.norm(way, axis=1)
        target = np.flatnonzero(allowed[tree.component] & (length <= limit_mm))
        way, length = way[target], length[target]
        width = tree.radius_mm[tip] + tree.radius_mm[target]
        factor = 1 + rules.turn * _turn(direction, way, length, width / 2) ** 2
        is_end = np.isin(target, tree.ends)
        factor[~is_end] += rules.branch
        for k in np.flatnonzero(is_end):
            turn = _turn(directions[int(target[k])], -way[k : k + 1], length[k : k + 1], width[k : k + 1] / 2)
            factor[k] += rules.turn * float(turn[0]) ** 2
        cost = length * factor
        most = np.minimum(worth_mm[tree.component[target]] + width, limit_mm)
        best = np.inf
        for k in np.argsort(cost)[:3]:
            if cost[k] > most[k] or cost[k] >= best:
                continue
            end = int(target[k])
            arriving = -directions.get(end, np.zeros(3))
            link = Link(float(cost[k]), tip, direction, end, tree.points_mm[end], arriving)
            deep = self.around.share_inside(_arc(here, link))
            price = float(cost[k]) * (1 + rules.inside * deep)
            if price <= most[k] and price < best:
                best = price
                yield Link(price, tip, direction, end, link.end_mm, arriving)

    def to_aorta(self, tip: int, direction: FloatArray, limit_mm: float) -> Iterator[Link]:
        assert self.aorta is not None
        tree, rules = self.tree, self.rules
        near = np.array(self.aorta.query_ball_point(tree.points_mm[tip], limit_mm), np.intp)
        if not len(near):
            return
        way = self.around.aorta_mm[near] - tree.points_mm[tip]
        length = np.linalg.norm(way, axis=1)
        turn = _turn(direction, way, length, np.full(len(way), tree.radius_mm[tip]))
        cost = length * (1 + rules.ostium + rules.turn * turn**2)
        k = int(np.argmin(cost))
        if cost[k] <= limit_mm:
            yield Link(float(cost[k]), tip, direction, _AORTA, self.around.aorta_mm[near[k]], np.zeros(3))

    def join(self, link: Link) -> None:
        tree = self.tree
        start = tree.points_mm[link.tip]
        arc = _arc(start, link)
        if self.around.lumen is not None and len(arc) > 2:
            arc = self.around.lumen.path(arc, start, link.end_mm)
        radius = np.array([tree.radius_mm[link.tip], tree.radius_mm[link.target if link.target >= 0 else link.tip]])
        links = [(link.tip, 0)]
        if link.target == _AORTA:
            arc = np.concatenate([arc, link.end_mm[None]])
            self.roots.append(len(tree) + len(arc) - 1)
        else:
            links.append((link.target, len(arc) - 1))
        self.tree = tree.joined(chain(arc, np.linspace(radius[0], radius[1], len(arc)), len(self.bridges)), links)
        path = np.concatenate([start[None], arc, link.end_mm[None]])
        box = _point(path.min(axis=0) - radius.max()), _point(path.max(axis=0) + radius.max())
        length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
        to_aorta = link.target == _AORTA
        self.bridges.append(Bridge(_point(start), _point(link.end_mm), length, link.cost_mm, to_aorta, box))


def _turn(direction: FloatArray, way: FloatArray, length: FloatArray, width_mm: FloatArray) -> FloatArray:
    """Angles between a tip's direction and the ways (k, 3), less what the vessel's own width leaves unknown."""
    if not direction.any():
        return np.full(len(way), _UNKNOWN_TURN)
    cosine = np.clip(way @ direction / np.maximum(length, 1e-6), -1.0, 1.0)
    return np.maximum(np.arccos(cosine) - np.arctan2(width_mm, length), 0.0)


def _arc(start: FloatArray, link: Link, step_mm: float = 0.7) -> FloatArray:
    """The cubic Hermite curve of a link, (n, 3), its ends left out."""
    gap = link.end_mm - start
    length = float(np.linalg.norm(gap))
    t = np.linspace(0, 1, max(int(np.ceil(length / step_mm)), 2) + 1)[1:-1, None]
    leaving = gap + _BEND * (link.leaving * length - gap) if link.leaving.any() else gap
    arriving = gap + _BEND * (link.arriving * length - gap) if link.arriving.any() else gap
    ends = (2 * t**3 - 3 * t**2 + 1) * start + (3 * t**2 - 2 * t**3) * link.end_mm
    return ends + (t**3 - 2 * t**2 + t) * leaving + (t**3 - t**2) * arriving


def _point(p: FloatArray) -> Point:
    return float(p[0]), float(p[1]), float(p[2])
