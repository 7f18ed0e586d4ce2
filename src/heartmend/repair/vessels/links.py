"""Links across the gaps of a vessel tree, and their costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from heartmend.geometry.centrelines.tree import CentreTree
from heartmend.geometry.centrelines.tube import fit_line
from heartmend.repair.vessels.settings import BridgeSettings
from heartmend.repair.vessels.vessel_context import VesselContext
from heartmend.types import FloatArray, Mask

AORTA = -1
"""Target of a link to the aorta."""
_UNKNOWN_TURN = 0.5
"""Angle in radians that is assumed for a component too short to have a direction."""
_BEND = 0.3
"""Share of a tip's angle that a bridge follows: directions from a few mm of vessel are uncertain."""


@dataclass(frozen=True)
class Link:
    """Link from a tip to a point of another component or of the aorta.

    Attributes:
        cost_mm: cost by `BridgeSettings`.
        tip: index of the tip in the forest.
        leaving: (3,) outward unit direction of the tip; zero if it is unknown.
        target: index of the target point in the forest, or `AORTA`.
        end_mm: (3,) position of the target.
        arriving: (3,) unit direction into the vessel at the target; zero if it is unknown.
    """

    cost_mm: float
    tip: int
    leaving: FloatArray
    target: int
    end_mm: FloatArray
    arriving: FloatArray


@dataclass(frozen=True, eq=False)
class CostLimits:
    """Largest costs of the links from one tip.

    Attributes:
        beside: (components,) by component.
        in_line: (components,) of links to an end that both vessels point at; of two that are too short to have a
            direction none does.
    """

    beside: FloatArray
    in_line: FloatArray


@dataclass(frozen=True)
class LinkSearch:
    """Search for the best links of the tips of a forest.

    Attributes:
        tree: the forest.
        context: structures around it.
        settings: costs of links.
        aorta: the surface of the aorta; None if it is unknown.
    """

    tree: CentreTree
    context: VesselContext
    settings: BridgeSettings
    aorta: cKDTree | None

    @cached_property
    def directions(self) -> dict[int, FloatArray]:
        """Outward direction (3,) of every end, by its index in the forest."""
        return tip_directions(self.tree, self.settings.direction_mm)

    def to_vessel(self, tip: int, allowed: Mask, max_cost_mm: CostLimits, limit_mm: float) -> Iterator[Link]:
        """Search for links to other components.

        Args:
            tip: index of the tip.
            allowed: (components,) bool, components that may be linked.
            max_cost_mm: largest costs of a link to each component, beside the vessels' width.
            limit_mm: largest cost of any link.

        Yields:
            Links in descending order of their costs; the last one is the best.
        """
        tree, settings = self.tree, self.settings
        start, direction = tree.points_mm[tip], self.directions[tip]
        way = tree.points_mm - start
        length = np.linalg.norm(way, axis=1)
        target = np.flatnonzero(allowed[tree.component] & (length <= limit_mm))
        way, length = way[target], length[target]
        width = tree.radius_mm[tip] + tree.radius_mm[target]
        factor = 1 + settings.turn_weight * turn_angles(direction, way, length, width / 2) ** 2
        is_end = np.isin(target, tree.ends)
        factor[~is_end] += settings.branch_penalty
        component = tree.component[target]
        most = max_cost_mm.beside[component]
        own_turn = turn_angles(direction, way, length, width / 2)
        for k in np.flatnonzero(is_end):
            one = slice(k, k + 1)
            turn = float(turn_angles(self.directions[int(target[k])], -way[one], length[one], width[one] / 2)[0])
            factor[k] += settings.turn_weight * turn**2
            if max(turn, own_turn[k]) <= _UNKNOWN_TURN:
                most[k] = max_cost_mm.in_line[component[k]]
        cost = length * factor
        most = np.minimum(most + width, limit_mm)
        best = np.inf
        for k in np.argsort(cost)[:3]:
            if cost[k] > most[k] or cost[k] >= best:
                continue
            end = int(target[k])
            arriving = -self.directions.get(end, np.zeros(3))
            link = Link(float(cost[k]), tip, direction, end, tree.points_mm[end], arriving)
            inside = self.context.share_inside(hermite_arc(start, link))
            full_cost = float(cost[k]) * (1 + settings.inside_penalty * inside)
            if full_cost <= most[k] and full_cost < best:
                best = full_cost
                yield Link(full_cost, tip, direction, end, link.end_mm, arriving)

    def to_aorta(self, tip: int, limit_mm: float) -> Iterator[Link]:
        """Search for a link to the aorta.

        Args:
            tip: index of the tip.
            limit_mm: largest cost of the link.

        Yields:
            The best link, if there is one within the limit.
        """
        assert self.aorta is not None
        tree, settings, direction = self.tree, self.settings, self.directions[tip]
        near = np.array(self.aorta.query_ball_point(tree.points_mm[tip], limit_mm), np.intp)
        if not len(near):
            return
        way = self.context.aorta_mm[near] - tree.points_mm[tip]
        length = np.linalg.norm(way, axis=1)
        turn = turn_angles(direction, way, length, np.full(len(way), tree.radius_mm[tip]))
        cost = length * (1 + settings.ostium_penalty + settings.turn_weight * turn**2)
        k = int(np.argmin(cost))
        if cost[k] <= limit_mm:
            yield Link(float(cost[k]), tip, direction, AORTA, self.context.aorta_mm[near[k]], np.zeros(3))


def tip_directions(tree: CentreTree, reach_mm: float) -> dict[int, FloatArray]:
    """Estimate the outward direction of every end of a forest.

    Args:
        tree: the forest.
        reach_mm: length of vessel to which a line is fitted.

    Returns:
        Unit direction (3,) by the index of the end; zero for a component of less than half that length.
    """
    directions = {}
    for tip, back_mm in zip(tree.ends, tree.along_mm(reach_mm, tree.ends), strict=True):
        near = np.isfinite(back_mm)
        known = back_mm[near].max() > 0.5 * reach_mm
        directions[int(tip)] = fit_line(tree.points_mm[near], back_mm[near])[1] if known else np.zeros(3)
    return directions


def turn_angles(direction: FloatArray, way: FloatArray, length: FloatArray, width_mm: FloatArray) -> FloatArray:
    """Compute the angles between the direction of a tip and ways that leave it.

    Args:
        direction: (3,) unit direction of the tip; zero if it is unknown.
        way: (k, 3) vectors in mm.
        length: (k,) their lengths.
        width_mm: (k,) width of the vessel, which makes the direction of a short way uncertain.

    Returns:
        (k,) angles in radians, less the angle that the width covers.

    Example:
        >>> way = np.array([[2.0, 0, 0], [0, 2.0, 0]])
        >>> turn_angles(np.array([1.0, 0, 0]), way, np.array([2.0, 2.0]), np.zeros(2)).round(2).tolist()
        [0.0, 1.57]
    """
    if not direction.any():
        return np.full(len(way), _UNKNOWN_TURN)
    cosine = np.clip(way @ direction / np.maximum(length, 1e-6), -1.0, 1.0)
    return np.maximum(np.arccos(cosine) - np.arctan2(width_mm, length), 0.0)


def hermite_arc(start: FloatArray, link: Link, step_mm: float = 0.7) -> FloatArray:
    """Compute the cubic Hermite curve of a link.

    Args:
        start: (3,) position of the tip.
        link: the link.
        step_mm: largest distance between two points of a straight curve.

    Returns:
        (n, 3) points of the curve, its ends excluded.
    """
    gap = link.end_mm - start
    length = float(np.linalg.norm(gap))
    t = np.linspace(0, 1, max(int(np.ceil(length / step_mm)), 2) + 1)[1:-1, None]
    leaving = gap + _BEND * (link.leaving * length - gap) if link.leaving.any() else gap
    arriving = gap + _BEND * (link.arriving * length - gap) if link.arriving.any() else gap
    ends = (2 * t**3 - 3 * t**2 + 1) * start + (3 * t**2 - 2 * t**3) * link.end_mm
    return ends + (t**3 - 2 * t**2 + t) * leaving + (t**3 - t**2) * arriving
