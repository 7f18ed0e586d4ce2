"""Names of the segments of coronary trees, by their course in the grooves of the heart.

The LAD is the vessel of the left tree that runs farthest in the anterior interventricular groove, the LCx the one that
runs farthest in the left atrioventricular groove; the left main is what they share. The RCA runs in the right
atrioventricular groove up to the crux. Branches are named by what they leave and what they run on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from heartmend.coronaries.confidence import calibrated
from heartmend.coronaries.left_tree import name_left_tree
from heartmend.coronaries.right_tree import name_right_tree
from heartmend.coronaries.rooted import RootedForest
from heartmend.coronaries.segments import NamedSegment, Segment, Side
from heartmend.coronaries.sides import TreeSides, find_sides
from heartmend.coronaries.surroundings import CoronarySurroundings, Course
from heartmend.geometry.centrelines.tree import CentreTree, IntArray
from heartmend.types import FloatArray, Mask

_WITHOUT_OSTIUM = 0.3
"""Largest agreement of a segment that reaches no ostium."""
_TREE_MM = 40.0
"""A longer component without an ostium may have several segments."""


@dataclass(frozen=True, eq=False)
class NamedTree:
    """Coronary trees with their sides and segments.

    Attributes:
        tree: the centrelines, in mm (voxel index times spacing).
        side: (n,) `Side` of each point.
        segment: (n,) `Segment` of each point; 0 where there is none.
        confidence: (n,) 0 to 1, share of right names among segments like this one.
        side_confidence: (n,) 0 to 1, that of the side.
        agreement: (n,) 0 to 1, how well the course of the segment agrees with its name.
        roots: indices of the ostia.
    """

    tree: CentreTree
    side: IntArray
    segment: IntArray
    confidence: FloatArray
    side_confidence: FloatArray
    agreement: FloatArray
    roots: tuple[int, ...] = ()

    @classmethod
    def unnamed(cls, tree: CentreTree) -> NamedTree:
        """Create trees without names.

        Args:
            tree: the centrelines.

        Returns:
            The trees.
        """
        nothing, sure = np.zeros(len(tree), np.intp), np.zeros(len(tree))
        return cls(tree, nothing, nothing, sure, sure, sure)

    def segments(self) -> list[NamedSegment]:
        """List the segments in the order of their ids.

        Returns:
            Length and confidence of each; a segment in both trees, such as `OTHER`, is one of each.
        """
        found = []
        for side in (Side.LEFT, Side.RIGHT, Side.UNKNOWN):
            for segment in Segment:
                points = (self.segment == segment) & (self.side == side)
                if points.any():
                    share = np.maximum(self.tree.share_mm[points], 1e-6)
                    confidence = float(np.average(self.confidence[points], weights=share))
                    found.append(NamedSegment(segment, side, float(share.sum()), confidence))
        return sorted(found, key=lambda one: (one.segment, one.side))


def name_segments(tree: CentreTree, surroundings: CoronarySurroundings) -> NamedTree:
    """Name the segments of coronary trees.

    Args:
        tree: the centrelines, in mm (voxel index times spacing).
        surroundings: the heart around them.

    Returns:
        The names. Each has an agreement: how much of its course is where a vessel of this name runs, times the
        confidence of the side; and a confidence, which follows from it (`calibrated`) where it reaches an ostium.
    """
    sides = find_sides(tree, surroundings)
    course = surroundings.course(tree.points_mm)
    segment, confidence = np.zeros(len(tree), np.intp), np.zeros(len(tree))
    rooted = sides.forest.root >= 0
    for side, name in ((Side.LEFT, name_left_tree), (Side.RIGHT, name_right_tree)):
        points = rooted & (sides.side == side)
        if points.any():
            segment[points], confidence[points] = (values[points] for values in name(sides.forest, points, course))
    for component in np.unique(tree.component[~rooted]):
        points = ~rooted & (tree.component == component)
        segment[points], sure = _detached(sides, points, course)
        confidence[points] = _WITHOUT_OSTIUM * sure
    sure = sides.confidence
    agreement = confidence * np.maximum(sure, 0.05)
    # Of vessels without an ostium too few were measured.
    confidence = np.where(rooted, calibrated(segment, agreement), agreement)
    return NamedTree(tree, sides.side, segment, confidence, sure, agreement, sides.forest.roots)


def _detached(sides: TreeSides, points: Mask, course: Course) -> tuple[IntArray, FloatArray]:
    """Names and confidence of the points of a component without an ostium.

    A long one is named as a tree that begins where it is nearest to the rest of its tree; a short one by its groove.
    """
    tree, left = sides.forest.tree, np.mean(sides.side[points] == Side.LEFT) >= 0.5
    own, rest = np.flatnonzero(points), np.flatnonzero((sides.forest.root >= 0) & (sides.side == sides.side[points][0]))
    if tree.share_mm[points].sum() >= _TREE_MM and len(rest):
        away = cKDTree(tree.points_mm[rest]).query(tree.points_mm[own])[0]
        forest = RootedForest.of(tree, (int(own[np.argmin(away)]),))
        segment, sure = (name_left_tree if left else name_right_tree)(forest, points, course)
        return segment[points], sure[points]
    grooves = (
        {Segment.LAD: course.front_groove, Segment.LCX: course.left_groove}
        if left
        else {Segment.RCA: course.right_groove, Segment.R_PDA: course.back_groove}
    )
    best = max(grooves, key=lambda one: float(grooves[one][points].mean()))
    share = float(grooves[best][points].mean())
    n = len(own)
    if share < 0.5:
        return np.full(n, int(Segment.OTHER), np.intp), np.full(n, 0.5)
    return np.full(n, int(best), np.intp), np.full(n, share)
