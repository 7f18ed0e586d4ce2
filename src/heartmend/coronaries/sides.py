"""Left and right coronary tree, by the place of the ostium and by the course of the vessel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from heartmend.coronaries.rooted import RootedForest
from heartmend.coronaries.segments import Side
from heartmend.coronaries.surroundings import CoronarySurroundings
from heartmend.geometry.centrelines.tree import CentreTree, IntArray
from heartmend.types import FloatArray

_PROXIMAL_MM = 80.0
"""Beyond this length a right tree may run on the left ventricle."""
_CLEAR_MM = 20.0
"""A vessel that is so much nearer to the heart of its own side is certain."""
_ROOT_SLICE_MM = 12.0
"""Part of the aorta about an ostium, from whose middle the direction of the ostium is measured."""
_SURE, _DOUBTFUL = 0.6, 0.4
"""Scores from which on a side is certain, and up to which it is doubtful."""
_WITHOUT_OSTIUM = 0.4
"""Confidence of a segment that reaches no ostium, by its nearest tree."""


@dataclass(frozen=True, eq=False)
class TreeSides:
    """Sides of a forest.

    Attributes:
        forest: the forest with its ostia.
        side: (n,) `Side` of each point.
        confidence: (n,) 0 to 1.
    """

    forest: RootedForest
    side: IntArray
    confidence: FloatArray

    def certain(self, confidence: float = 0.5) -> IntArray:
        """Select the sides of points that reach an ostium and are certain.

        Args:
            confidence: smallest confidence.

        Returns:
            (n,) `Side`, unknown where they are not.
        """
        return np.where((self.forest.root >= 0) & (self.confidence >= confidence), self.side, Side.UNKNOWN)


def find_sides(tree: CentreTree, surroundings: CoronarySurroundings) -> TreeSides:
    """Find out which points belong to the left and which to the right coronary tree.

    A tree is a left one if its ostium is on the side of the left atrium and its first 80 mm run nearer to the left
    ventricle or left atrium than to the right atrium; the two count alike. Where one component has two ostia of
    different sides, it is divided in the middle between them; ostia of the same side are one tree.

    Args:
        tree: the centrelines, in mm (voxel index times spacing).
        surroundings: the heart around them.

    Returns:
        The side of each point. Components without an ostium have that of the nearest tree, with a low confidence.
    """
    forest = RootedForest.at_aorta(tree, surroundings.aorta_mm)
    scores = [_leftness(forest, number, surroundings) for number in range(len(forest.roots))]
    forest = _one_root_per_side(forest, scores)
    scores = _both_sides(forest, [_leftness(forest, number, surroundings) for number in range(len(forest.roots))])
    side, confidence = np.full(len(tree), int(Side.UNKNOWN), np.intp), np.zeros(len(tree))
    for number, score in enumerate(scores):
        points = forest.root == number
        side[points] = Side.LEFT if score > 0 else Side.RIGHT
        confidence[points] = min(abs(score) / _SURE, 1.0)
    detached, known = np.flatnonzero(side == Side.UNKNOWN), np.flatnonzero(side != Side.UNKNOWN)
    if len(detached) and len(known):
        nearest = known[cKDTree(tree.points_mm[known]).query(tree.points_mm[detached])[1]]
        for component in np.unique(tree.component[detached]):
            points = tree.component[detached] == component
            votes = np.bincount(side[nearest[points]], minlength=3)
            side[detached[points]] = votes.argmax()
            confidence[detached[points]] = _WITHOUT_OSTIUM * votes.max() / votes.sum()
    return TreeSides(forest, side, confidence)


def _leftness(forest: RootedForest, number: int, surroundings: CoronarySurroundings) -> float:
    """From -1, a right tree, to 1, a left one."""
    tree = forest.tree
    proximal = np.flatnonzero((forest.root == number) & (forest.depth_mm <= _PROXIMAL_MM))
    course = surroundings.course(tree.points_mm[proximal])
    nearer = course.right_atrium - np.minimum(course.left_atrium, course.left_ventricle)
    share = np.maximum(tree.share_mm[proximal], 1e-6)
    run = float(np.average(np.clip(nearer / _CLEAR_MM, -1, 1), weights=share))
    ostium = tree.points_mm[forest.roots[number]]
    around = np.linalg.norm(surroundings.aorta_mm - ostium, axis=1) < 2 * _ROOT_SLICE_MM
    offset = ostium - surroundings.aorta_mm[around].mean(axis=0)
    place = float(offset @ surroundings.leftward) / max(float(np.linalg.norm(offset)), 1e-6)
    known = min(float(share.sum()) / _CLEAR_MM, 1.0)  # a stub has no course
    return float((known * run + place) / (known + 1))


def _both_sides(forest: RootedForest, scores: list[float]) -> list[float]:
    """A heart has a left and a right tree: where all long ones seem to be of one side, the least certain is not."""
    long = [i for i in range(len(scores)) if forest.tree.share_mm[forest.root == i].sum() >= _PROXIMAL_MM]
    if len(long) < 2 or len({scores[i] > 0 for i in long}) == 2:
        return scores
    doubtful = min(long, key=lambda i: abs(scores[i]))
    if abs(scores[doubtful]) > _DOUBTFUL:
        return scores
    turned = -0.1 if scores[doubtful] > 0 else 0.1
    return [turned if i == doubtful else score for i, score in enumerate(scores)]


def _one_root_per_side(forest: RootedForest, scores: list[float]) -> RootedForest:
    """Where a component has several ostia on one side, that of the longest stretch is its root."""
    length = [float(forest.tree.share_mm[forest.root == number].sum()) for number in range(len(scores))]
    kept = dict[tuple[int, bool], int]()
    for number in np.argsort(length)[::-1].tolist():
        kept.setdefault((int(forest.tree.component[forest.roots[number]]), scores[number] > 0), number)
    return RootedForest.of(forest.tree, tuple(forest.roots[i] for i in sorted(kept.values())))
