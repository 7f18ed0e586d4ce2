"""Agreement of vessel centrelines by vessel: precision and recall, and the overlap measures of the Rotterdam framework.

Every tip of a tree gives one vessel, the path from the root to it. The measures are those of Schaap et al. (Medical
Image Analysis 2009): OV, the overlap of both centrelines; OF, the share of a vessel before its first error; OT, the
overlap where the vessel is at least 1.5 mm wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from heartmend.geometry.centrelines.tree import CentreTree, IntArray
from heartmend.types import FloatArray, Mask

START_MM = 5.0
"""A missing point in this part of a vessel is not its first error: where a vessel begins is hard to define."""
RELEVANT_DIAMETER_MM = 1.5
"""Vessels from this diameter on are clinically relevant (Schaap et al. 2009)."""


@dataclass(frozen=True)
class TreeOverlap:
    """Agreement of a centreline forest with a reference.

    Attributes:
        precision: share of the length that is near the reference.
        recall: share of the reference's length that is near it.
        overlap: OV, the share of both lengths that is near the other.
        until_first_error: OF, the share of each reference vessel that was found before its first missing point beyond
            its first 5 mm; mean over the vessels.
        relevant_overlap: OT, the overlap in the part where the reference is at least 1.5 mm wide.
    """

    precision: float
    recall: float
    overlap: float
    until_first_error: float
    relevant_overlap: float


def tree_overlap(
    forest: CentreTree,
    reference: CentreTree,
    root_mm: Sequence[float] | FloatArray,
    tolerance_mm: float | None = None,
) -> TreeOverlap:
    """Compare a centreline forest with a reference.

    Args:
        forest: the forest.
        reference: the reference.
        root_mm: (3,) or (k, 3) positions of the root, such as those of the aorta; they give the vessels their
            direction. Empty: each tree begins at its thickest end.
        tolerance_mm: largest accepted distance of two centrelines; None for the radius of the reference at its nearest
            point, as in the Rotterdam framework.

    Returns:
        The measures, 0 to 1; 1 for two empty forests, 0 for one.

    Example:
        A vessel of 10 mm of which the first 6 mm were found:

        >>> from heartmend.geometry.centrelines.tree import chain
        >>> line = lambda n: chain(np.arange(n + 1.0)[:, None] * [1, 0, 0], np.full(n + 1, 0.9))
        >>> found = tree_overlap(line(6), line(10), (0, 0, 0))
        >>> round(found.precision, 2), round(found.recall, 2), round(found.until_first_error, 2)
        (1.0, 0.65, 0.65)
    """
    if not len(forest.points_mm) or not len(reference.points_mm):
        same = float(len(forest.points_mm) == len(reference.points_mm))
        return TreeOverlap(same, same, same, same, same)
    roots = np.asarray(root_mm, float).reshape(-1, 3)
    limit = reference.radius_mm if tolerance_mm is None else np.full(len(reference.points_mm), tolerance_mm)
    away, nearest = cKDTree(reference.points_mm).query(forest.points_mm)
    correct = away <= limit[nearest]
    found = cKDTree(forest.points_mm).query(reference.points_mm)[0] <= limit
    wide = reference.radius_mm >= RELEVANT_DIAMETER_MM / 2
    weight, weight_of_reference = forest.share_mm, reference.share_mm
    return TreeOverlap(
        precision=_share(weight, correct),
        recall=_share(weight_of_reference, found),
        overlap=_share(np.r_[weight, weight_of_reference], np.r_[correct, found]),
        until_first_error=float(np.mean([_before_first(path, found, reference) for path in reference.vessels(roots)])),
        relevant_overlap=_share(
            np.r_[weight[wide[nearest]], weight_of_reference[wide]], np.r_[correct[wide[nearest]], found[wide]]
        ),
    )


def _share(weight: FloatArray, chosen: Mask) -> float:
    total = float(weight.sum())
    return float(weight[chosen].sum()) / total if total > 0 else float(chosen.all())


def _before_first(path: IntArray, found: Mask, reference: CentreTree) -> float:
    """Share of the length of a path that was found before its first missing point beyond `START_MM`."""
    points = reference.points_mm[path]
    step = np.linalg.norm(np.diff(points, axis=0), axis=1)
    weight = (np.r_[step, 0.0] + np.r_[0.0, step]) / 2
    hit = found[path]
    is_error = ~hit & (np.r_[0.0, np.cumsum(step)] > START_MM)
    first = int(np.argmax(is_error)) if is_error.any() else len(hit)
    return _share(weight, hit & (np.arange(len(path)) < first))
