"""Breaks in a vessel are bridged along the vessel's direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from heartmend.vessels.tree import CentreTree, Floats, Mask
from heartmend.vessels.tube import line

_STEP_MM = 0.7


@dataclass(frozen=True)
class Bridge:
    """A stretch of vessel that the label did not have. Positions in mm on the label's voxel axes."""

    start_mm: tuple[float, float, float]
    end_mm: tuple[float, float, float]
    length_mm: float
    cost_mm: float
    to_aorta: bool
    box: tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class BridgeRules:
    """What may be joined. A link's cost is its length in mm times 1 + `turn` (a² + b²), a and b the turns in radians.

    max_cost_mm: a straight gap may be this long. branch: extra factor for joining a tip to the side of a vessel.
    worth: a link may cost this many times the length of the shorter piece that it brings.
    inside: factor for the share of the way that lies inside the heart. direction_mm: vessel length that gives a tip its direction.
    root_mm: a vessel whose surface comes this near to the aorta's is rooted there. root_cost_mm: what a link to the aorta may cost.
    stub_mm: rooted pieces shorter than this are stumps, and may be joined to a tree that is rooted too.
    orphan_mm: a piece longer than this without a root must come from somewhere; its links may cost up to orphan_cost_mm.
    """

    max_cost_mm: float = 15.0
    turn: float = 0.75
    branch: float = 0.5
    worth: float = 1.5
    inside: float = 2.0
    direction_mm: float = 5.0
    root_mm: float = 2.0
    root_cost_mm: float = 10.0
    ostium: float = 0.5
    stub_mm: float = 15.0
    orphan_mm: float = 15.0
    orphan_cost_mm: float = 30.0


@dataclass(frozen=True)
class Tip:
    """An end of a piece: `direction` points out of the vessel, zero where the piece is too short to have one."""

    node: int
    direction: Floats


@dataclass(frozen=True)
class Field:
    """A signed distance volume (negative inside) that is asked at points in mm."""

    values: Floats
    spacing_mm: Floats

    def __call__(self, points_mm: Floats) -> Floats:
        return np.asarray(map_coordinates(self.values, (points_mm / self.spacing_mm).T, order=1, mode="nearest"))


@dataclass(frozen=True)
class Surroundings:
    """What the tree lies in: surface points of the aorta, (k, 3) mm, and signed distance to the heart's other structures."""

    aorta_mm: Floats
    heart: Field | None


def tips(tree: CentreTree, reach_mm: float) -> list[Tip]:
    """All ends with their outward directions, from the vessel's last `reach_mm`."""
    found = []
    ends = np.flatnonzero(tree.degree <= 1).astype(np.intp)
    for node, back in zip(ends, tree.along_mm(reach_mm, ends), strict=True):
        near = np.isfinite(back) & (back > 0)
        direction = np.zeros(3)
        if near.any() and back[near].max() > 0.5 * reach_mm:
            near = np.isfinite(back)
            direction = line(tree.points_mm[near], back[near])[1]
        found.append(Tip(int(node), direction))
    return found


def _turn(direction: Floats, way: Floats, length: Floats, width_mm: Floats) -> Floats:
    """Angle between a tip's direction and the ways (n, 3); what the vessel's own width leaves unknown is not counted."""
    if not direction.any():
        return np.full(len(way), 0.5)
    cosine = np.clip(way @ direction / np.maximum(length, 1e-6), -1.0, 1.0)
    return np.maximum(np.arccos(cosine) - np.arctan2(width_mm, length), 0.0)


def _arc(start: Floats, start_way: Floats, end: Floats, end_way: Floats) -> Floats:
    """Cubic Hermite curve between two points, (n, 3), ends left out. Ways are unit vectors along the travel, or zero."""
    gap = end - start
    length = float(np.linalg.norm(gap))
    n = max(int(np.ceil(length / _STEP_MM)), 2)
    t = np.linspace(0, 1, n + 1)[1:-1, None]
    m0 = start_way * length if start_way.any() else gap
    m1 = end_way * length if end_way.any() else gap
    return np.asarray(
        (2 * t**3 - 3 * t**2 + 1) * start + (t**3 - 2 * t**2 + t) * m0 + (3 * t**2 - 2 * t**3) * end + (t**3 - t**2) * m1
    )


def _on_surface(points: Floats, start: Floats, end: Floats, heart: Field | None) -> Floats:
    """Move an arc along the heart's surface: its height over the heart runs evenly from one end to the other."""
    if heart is None or len(points) == 0:
        return points
    t = np.linspace(0, 1, len(points) + 2)[1:-1]
    h0, h1 = heart(np.stack([start, end]))
    want = (1 - t) * h0 + t * h1
    eps = 0.5 * float(np.min(heart.spacing_mm))
    for _ in range(2):
        slope = np.stack([heart(points + eps * e) - heart(points - eps * e) for e in np.eye(3)], 1) / (2 * eps)
        norm = np.maximum((slope**2).sum(1), 0.25)
        points = points + np.clip((want - heart(points)) / norm, -1.5, 1.5)[:, None] * slope * np.sin(np.pi * t)[:, None]
    return points


class _Joiner:
    """One greedy pass: the cheapest link first, as in Kruskal's tree, and never two rooted trees into one."""

    def __init__(self, tree: CentreTree, around: Surroundings, rules: BridgeRules) -> None:
        self.tree, self.around, self.rules = tree, around, rules
        self.limit = self.root_limit = 0.0
        self.bridges: list[Bridge] = []
        self.aorta = cKDTree(around.aorta_mm) if len(around.aorta_mm) else None
        self.rooted_nodes: set[int] = set()
        if self.aorta is not None:
            near = self.aorta.query(tree.points_mm)[0] - tree.radius_mm
            self.rooted_nodes = {int(i) for i in np.flatnonzero(near <= rules.root_mm)}

    def lengths(self) -> Floats:
        return np.bincount(self.tree.piece, self.tree.length_share_mm)

    def rooted(self) -> set[int]:
        return {int(self.tree.piece[i]) for i in self.rooted_nodes}

    def run(self) -> None:
        """Sure links first; then what is still without a root may reach further."""
        self.limit, self.root_limit = self.rules.max_cost_mm, self.rules.root_cost_mm
        self._greedy(orphans=False)
        if self.rooted_nodes:
            self.limit = self.root_limit = self.rules.orphan_cost_mm
            self._greedy(orphans=True)

    def _greedy(self, orphans: bool) -> None:
        while len(self.tree) and (link := self.candidate(orphans)) is not None:
            self.join(*link)

    def candidate(self, orphans: bool) -> tuple[float, Tip, int, Floats] | None:
        """The cheapest link that may be made: cost, tip, target point (-1: the aorta), way of travel at the target."""
        tree, rules = self.tree, self.rules
        ends = tips(tree, rules.direction_mm)
        outward = {t.node: t.direction for t in ends}
        lengths, rooted = self.lengths(), self.rooted()
        grown = [k for k in rooted if lengths[k] >= rules.stub_mm]
        best: tuple[float, Tip, int, Floats] | None = None
        orphan = lengths >= rules.orphan_mm
        orphan[list(rooted)] = False
        for tip in ends:
            if tip.node in self.rooted_nodes and tree.degree[tip.node] > 0:
                continue
            here, own = tree.points_mm[tip.node], int(tree.piece[tip.node])
            gap = tree.points_mm - here
            length = np.linalg.norm(gap, axis=1)
            allowed = (tree.piece != own) & (length <= self.limit)
            if orphans and not orphan[own]:
                allowed &= orphan[tree.piece]
            if own in grown:
                allowed &= ~np.isin(tree.piece, grown)
            target = np.flatnonzero(allowed)
            if len(target):
                width = tree.radius_mm[tip.node] + tree.radius_mm[target]
                turn = _turn(tip.direction, gap[target], length[target], width / 2) ** 2
                end = np.array([int(i) in outward for i in target])
                extra = np.full(len(target), rules.branch)
                for k in np.flatnonzero(end):
                    i = int(target[k])
                    extra[k] = rules.turn * _turn(outward[i], -gap[i][None], length[i][None], width[k][None] / 2)[0] ** 2
                cost = length[target] * (1 + rules.turn * turn + extra)
                weight = lengths.copy()
                weight[list(rooted)] = np.inf  # a stump at the aorta, however short, is where a vessel begins
                worth = rules.worth * np.minimum(weight[own], weight[tree.piece[target]]) + width
                cost[cost > np.minimum(worth, self.limit)] = np.inf
                for k in np.argsort(cost)[:3]:
                    if not np.isfinite(cost[k]) or (best is not None and cost[k] >= best[0]):
                        break
                    i = int(target[k])
                    way = -outward.get(i, np.zeros(3))
                    price = cost[k] * self.depth_factor(_arc(here, tip.direction, tree.points_mm[i], way))
                    if price <= min(worth[k], self.limit) and (best is None or price < best[0]):
                        best = price, tip, i, way
            if self.aorta is not None and own not in rooted and lengths[own] >= rules.direction_mm:
                near = np.array(self.aorta.query_ball_point(here, self.root_limit), np.intp)
                if len(near):
                    way = self.around.aorta_mm[near] - here
                    length = np.linalg.norm(way, axis=1)
                    turn = _turn(tip.direction, way, length, np.full(len(way), tree.radius_mm[tip.node]))
                    cost = length * (1 + rules.ostium + rules.turn * turn**2)
                    if cost.min() <= self.root_limit and (best is None or cost.min() < best[0]):
                        best = float(cost.min()), tip, -1, self.around.aorta_mm[near[np.argmin(cost)]]
        return best

    def depth_factor(self, arc: Floats) -> float:
        if self.around.heart is None or len(arc) == 0:
            return 1.0
        return 1.0 + self.rules.inside * float((self.around.heart(arc) < -2.0).mean())

    def join(self, cost: float, tip: Tip, target: int, way: Floats) -> None:
        tree = self.tree
        start = tree.points_mm[tip.node]
        end, end_way = (way, np.zeros(3)) if target < 0 else (tree.points_mm[target], way)
        arc = _arc(start, tip.direction, end, end_way)
        if target < 0:
            arc = np.concatenate([arc, end[None]])
        else:
            arc = _on_surface(arc, start, end, self.around.heart)
        number = len(self.bridges)
        inner = np.stack([np.arange(len(arc) - 1), np.arange(1, len(arc))], 1).astype(np.intp)
        far_radius = tree.radius_mm[tip.node] if target < 0 else tree.radius_mm[target]
        radius = np.linspace(tree.radius_mm[tip.node], far_radius, len(arc) + 2)[1:-1]
        piece = CentreTree(arc, inner, radius, np.full(len(arc), number, np.intp))
        links = [(tip.node, 0)] + ([] if target < 0 else [(target, len(arc) - 1)])
        if target < 0:
            self.rooted_nodes.add(len(tree) + len(arc) - 1)
        self.tree = tree.joined(piece, links)
        path = np.concatenate([start[None], arc, end[None]])
        reach = float(max(tree.radius_mm[tip.node], far_radius))
        corner = lambda p: (float(p[0]), float(p[1]), float(p[2]))  # noqa: E731
        self.bridges.append(
            Bridge(
                corner(start),
                corner(end),
                float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum()),
                float(cost),
                target < 0,
                (corner(path.min(0) - reach), corner(path.max(0) + reach)),
            )
        )


def bridged(tree: CentreTree, around: Surroundings, rules: BridgeRules) -> tuple[CentreTree, list[Bridge], Mask]:
    """Join the pieces of a forest where the gap runs along the vessel.

    Returns the forest, the bridges and which of its points lie in a tree with a root at the aorta (all False without an aorta).
    """
    joiner = _Joiner(tree, around, rules)
    joiner.run()
    rooted = np.isin(joiner.tree.piece, list(joiner.rooted())) if joiner.rooted_nodes else np.zeros(len(joiner.tree), bool)
    return joiner.tree, joiner.bridges, rooted
