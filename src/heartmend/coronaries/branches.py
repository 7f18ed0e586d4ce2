"""Main vessels and branches of one coronary tree, and the names that they get."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from heartmend.coronaries.rooted import RootedForest
from heartmend.coronaries.segments import Segment
from heartmend.geometry.centrelines.tree import IntArray
from heartmend.types import FloatArray, Mask


class Naming:
    """Names of the points of one tree, given one after another."""

    SHORT_MM = 6.0
    """A shorter branch has no course of its own: it has the name of its vessel."""

    def __init__(self, forest: RootedForest, points: Mask) -> None:
        """Begin without names.

        Args:
            forest: the forest.
            points: (n,) bool, the points of the tree.
        """
        self.forest, self.points = forest, points
        self.segment = np.zeros(len(points), np.intp)
        self.confidence = np.zeros(len(points))

    @property
    def named(self) -> Mask:
        """(n,) bool, the points that have a name."""
        return self.segment > 0

    def give(self, mask: Mask, segment: Segment, confidence: float) -> None:
        """Name points.

        Args:
            mask: (n,) bool.
            segment: their name.
            confidence: 0 to 1.
        """
        self.segment[mask], self.confidence[mask] = segment, min(max(confidence, 0.0), 1.0)

    def give_points(self, points: IntArray, segment: Segment, confidence: float) -> None:
        """Name points by their indices.

        Args:
            points: indices.
            segment: their name.
            confidence: 0 to 1.
        """
        self.give(self.mask(points), segment, confidence)

    def mask(self, points: IntArray | list[int]) -> Mask:
        """Convert indices of points to a mask (n,)."""
        found = np.zeros(len(self.points), bool)
        found[points] = True
        return found

    def confidence_of(self, mask: Mask) -> float:
        """Confidence of named points; 0 for none."""
        return float(self.confidence[mask].mean()) if mask.any() else 0.0

    def length_mm(self, points: IntArray) -> float:
        """Length of centreline of some points."""
        return float(self.forest.tree.share_mm[points].sum())

    def outer(self, branch: IntArray) -> IntArray:
        """Points of a branch beyond a third of its way, where it runs on its own wall."""
        depth = self.forest.depth_mm[branch]
        return branch[depth >= depth.min() + (depth.max() - depth.min()) / 3]

    def mean(self, points: IntArray, values: FloatArray) -> float:
        """Mean of (n,) values over some points, by length."""
        return float(np.average(values[points], weights=np.maximum(self.forest.tree.share_mm[points], 1e-6)))


def best_path(forest: RootedForest, points: Mask, weight: FloatArray, min_mm: float) -> list[int]:
    """Find the vessel that runs farthest where a weight is high.

    Args:
        forest: the forest.
        points: (n,) bool, the points whose length counts.
        weight: (n,) 0 to 1.
        min_mm: smallest weighted length.

    Returns:
        Indices from the ostium to the tip; empty if no vessel runs there for so long. Of vessels that run as far the
        longest is taken.
    """
    gain = np.where(points, forest.tree.share_mm * weight, 0.0)
    length = np.where(points, forest.tree.share_mm, 0.0)
    best, best_mm = list[int](), -np.inf
    for tip in forest.tips(points):
        path = forest.path_to(tip)
        weighted_mm = float(gain[path].sum())
        found_mm = weighted_mm + 0.01 * float(length[path].sum())
        if weighted_mm >= min_mm and found_mm > best_mm:
            best, best_mm = path, found_mm
    return best


def longest_first(forest: RootedForest, named: Mask) -> Iterator[tuple[int, IntArray]]:
    """List the branches of named vessels, the longest first.

    Args:
        forest: the forest.
        named: (n,) bool, the points of the vessels.

    Yields:
        Where a branch leaves, and its points.
    """
    found = list(forest.side_branches(named))
    yield from sorted(found, key=lambda one: -float(forest.tree.share_mm[one[1]].sum()))
