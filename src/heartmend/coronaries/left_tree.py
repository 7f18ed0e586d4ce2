"""Names of the segments of the left coronary tree."""

from __future__ import annotations

import numpy as np

from heartmend.coronaries.branches import Naming, best_path, longest_first
from heartmend.coronaries.rooted import RootedForest
from heartmend.coronaries.segments import Segment
from heartmend.coronaries.surroundings import Course, near
from heartmend.geometry.centrelines.tree import IntArray
from heartmend.types import FloatArray, Mask

_MIN_GROOVE_MM = 10.0
"""Length in its groove from which on a vessel is the LAD or the LCx."""
_LONGEST_MAIN_MM = 25.0
"""A longer left main is doubtful."""
_RAMUS_MM = 4.0
"""A branch that leaves within this distance of the bifurcation is an intermediate one."""
_INFERIOR = -0.7
"""Sine of the angle about the long axis below which a branch is on the inferior wall; -1 is straight below."""


def name_left_tree(forest: RootedForest, points: Mask, course: Course) -> tuple[IntArray, FloatArray]:
    """Name the segments of the left tree.

    Args:
        forest: the forest with its ostia.
        points: (n,) bool, the points of the left tree.
        course: where all points are on the heart.

    Returns:
        (n,) `Segment` and (n,) confidence; those of other points mean nothing.
    """
    naming = Naming(forest, points)
    lad = best_path(forest, points, course.front_groove, _MIN_GROOVE_MM)
    lcx = best_path(forest, points & ~naming.mask(lad), course.left_groove, _MIN_GROOVE_MM)
    on_lad, on_lcx = naming.mask(lad), naming.mask(lcx)
    main = on_lad & on_lcx
    own_lad, own_lcx = on_lad & ~main, on_lcx & ~main
    # Beyond its last point in the groove the vessel is a branch that the LCx ends in.
    in_groove = np.flatnonzero(own_lcx & (course.left_groove >= 0.5))
    if len(in_groove):
        end_mm = forest.depth_mm[in_groove].max()
        rest = own_lcx & (forest.depth_mm > end_mm)
        if forest.tree.share_mm[rest].sum() >= _MIN_GROOVE_MM:
            own_lcx &= ~rest
    naming.give(own_lad, Segment.LAD, _mean(naming, own_lad, course.front_groove))
    naming.give(own_lcx, Segment.LCX, _mean(naming, own_lcx, course.left_groove))
    if main.any():
        sure = min(naming.confidence_of(own_lad), naming.confidence_of(own_lcx))
        naming.give(main, Segment.LM, sure if forest.tree.share_mm[main].sum() <= _LONGEST_MAIN_MM else 0.5 * sure)
    if not (main.any() or own_lad.any() or own_lcx.any()):
        # The stump of a tree whose rest is missing is the left main.
        is_stump = forest.tree.share_mm[points].sum() <= _LONGEST_MAIN_MM
        naming.give(points, Segment.LM if is_stump else Segment.OTHER, 0.3)
        return naming.segment, naming.confidence
    bifurcation_mm = float(forest.depth_mm[main].max()) if main.any() else -np.inf
    branches: dict[Segment, list[tuple[float, IntArray, float]]] = {Segment.D1: [], Segment.OM1: []}
    for leaves, branch in longest_first(forest, naming.named):
        kind, sure = _kind(forest, leaves, branch, naming, course, bifurcation_mm)
        sure *= float(naming.confidence[leaves])  # a branch is no surer than the name of its vessel
        if kind in branches:
            branches[kind].append((float(forest.depth_mm[leaves]), branch, sure))
        else:
            naming.give_points(branch, kind, sure)
    for first, second in ((Segment.D1, Segment.D2), (Segment.OM1, Segment.OM2)):
        for number, (_, branch, sure) in enumerate(sorted(branches[first], key=lambda one: one[0])):
            naming.give_points(branch, (first, second, Segment.OTHER)[min(number, 2)], sure)
    return naming.segment, naming.confidence


def _kind(
    forest: RootedForest, leaves: int, branch: IntArray, naming: Naming, course: Course, bifurcation_mm: float
) -> tuple[Segment, float]:
    """Name of a branch and its confidence: D1 for any diagonal, OM1 for any obtuse marginal branch."""
    parent = Segment(naming.segment[leaves])
    outer = naming.outer(branch)
    left, right, atrium = (
        naming.mean(outer, values) for values in (course.left_ventricle, course.right_ventricle, course.left_atrium)
    )
    on_left = (right - left) / 10.0
    if naming.length_mm(branch) < naming.SHORT_MM:
        return parent, 0.5
    at_bifurcation = abs(float(forest.depth_mm[leaves]) - bifurcation_mm) <= _RAMUS_MM
    if parent == Segment.LM or at_bifurcation:
        return (Segment.IM, min(on_left, 1.0)) if on_left > 0 else (Segment.OTHER, 0.5)
    if parent == Segment.LAD:
        return (Segment.D1, min(on_left, 1.0)) if on_left > 0 else (Segment.OTHER, min(-on_left, 0.7))
    if atrium < left:
        return Segment.OTHER, min((left - atrium) / 10.0, 0.7)
    posterior = naming.mean(outer, course.back_groove)
    if posterior >= 0.5:
        return Segment.L_PDA, posterior
    if naming.mean(outer, course.height_on_short_axis) < _INFERIOR:
        return Segment.L_PLA, 0.7 * float(naming.mean(outer, near(course.left_ventricle)))
    return Segment.OM1, float(naming.mean(outer, near(course.left_ventricle)))


def _mean(naming: Naming, mask: Mask, values: FloatArray) -> float:
    return naming.mean(np.flatnonzero(mask), values) if mask.any() else 0.0
