"""Names of the segments of the right coronary tree."""

from __future__ import annotations

import numpy as np

from heartmend.coronaries.branches import Naming, best_path, longest_first
from heartmend.coronaries.rooted import RootedForest
from heartmend.coronaries.segments import Segment
from heartmend.coronaries.surroundings import Course, near
from heartmend.geometry.centrelines.tree import IntArray
from heartmend.types import FloatArray, Mask

_MIN_GROOVE_MM = 10.0
"""Length in the posterior groove from which on a vessel is the posterior descending artery."""
_CRUX_MM = 12.0
"""Branches within this distance of the end of the groove leave at the crux."""


def name_right_tree(forest: RootedForest, points: Mask, course: Course) -> tuple[IntArray, FloatArray]:
    """Name the segments of the right tree.

    Args:
        forest: the forest with its ostia.
        points: (n,) bool, the points of the right tree.
        course: where all points are on the heart.

    Returns:
        (n,) `Segment` and (n,) confidence; those of other points mean nothing.
    """
    naming = Naming(forest, points)
    depth = forest.depth_mm
    path = best_path(forest, points, course.right_groove, 0.0)
    rca = naming.mask(path)
    in_groove = np.flatnonzero(rca & (course.right_groove >= 0.5))
    crux_mm = float(depth[in_groove].max()) if len(in_groove) else float(depth[rca].max())
    descending = naming.mask(
        best_path(forest, points & (depth > crux_mm - _CRUX_MM), course.back_groove, _MIN_GROOVE_MM)
    )
    divides = [leaves for leaves, branch in forest.side_branches(rca) if _divides(naming, leaves, branch, crux_mm)]
    if descending.any() and (descending & ~rca).any():
        divides.append(int(np.flatnonzero(descending & rca)[np.argmax(depth[np.flatnonzero(descending & rca)])]))
    end_mm = min((float(depth[one]) for one in divides), default=crux_mm)
    if descending.any() or naming.length_mm(np.flatnonzero(rca & (depth > end_mm))) >= naming.SHORT_MM:
        rca &= depth <= end_mm
    naming.give(rca, Segment.RCA, naming.mean(np.flatnonzero(rca), course.right_groove))
    for leaves, branch in longest_first(forest, naming.named):
        kind, sure = _kind(branch, naming, course, descending)
        naming.give_points(branch, kind, sure * float(naming.confidence[leaves]))
    return naming.segment, naming.confidence


def _divides(naming: Naming, leaves: int, branch: IntArray, crux_mm: float) -> bool:
    """Whether the RCA ends where this branch leaves."""
    return (
        abs(float(naming.forest.depth_mm[leaves]) - crux_mm) <= _CRUX_MM and naming.length_mm(branch) >= naming.SHORT_MM
    )


def _kind(branch: IntArray, naming: Naming, course: Course, descending: Mask) -> tuple[Segment, float]:
    """Name of a branch of the RCA and its confidence."""
    if naming.length_mm(branch) < naming.SHORT_MM:
        return Segment.RCA, 0.5
    outer = naming.outer(branch)
    if descending[branch].any():
        return Segment.R_PDA, naming.mean(outer, course.back_groove)
    on_left = naming.mean(outer, course.right_ventricle - course.left_ventricle)
    # No other branch of the right tree runs on the inferior wall of the left ventricle.
    if on_left > 0 and naming.mean(outer, course.anterior_mm) < 0:
        return Segment.R_PLA, naming.mean(outer, near(course.left_ventricle))
    return Segment.OTHER, min(max(-on_left / 10.0, 0.2), 0.8)
