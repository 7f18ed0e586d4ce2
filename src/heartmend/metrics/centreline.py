"""Agreement of the centrelines of thin vessels."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from heartmend.metrics.segment import Segment, points_mm, segments
from heartmend.types import Mask

OVERLAP_MM = 1.5
"""Largest accepted distance of two centrelines: the radius of a coronary artery at its origin."""


def centreline_dice(a: Segment, b: Segment) -> float:
    """Compute the centreline Dice (clDice) of two segments (Shit et al. 2021).

    Args:
        a: a segment.
        b: a segment of the same box.

    Returns:
        The harmonic mean of the shares of each skeleton inside the other mask, 0 to 1; 1 for two empty segments.
    """
    if not a.voxels and not b.voxels:
        return 1.0
    precision = _count(a.centreline & b.mask) / max(_count(a.centreline), 1)
    recall = _count(b.centreline & a.mask) / max(_count(b.centreline), 1)
    return 2 * precision * recall / max(precision + recall, 1e-9)


def centreline_overlap(a: Segment, b: Segment, tolerance_mm: float = OVERLAP_MM) -> float:
    """Compute the overlap of two centrelines (Schaap et al. 2009).

    Args:
        a: a segment.
        b: a segment of the same box and spacing.
        tolerance_mm: largest accepted distance in mm.

    Returns:
        The share of the points of both centrelines within the tolerance of the other, 0 to 1; 1 for two empty
        centrelines, 0 for one.
    """
    lines = [points_mm(segment.centreline, segment.spacing_mm) for segment in (a, b)]
    if not len(lines[0]) or not len(lines[1]):
        return float(len(lines[0]) == len(lines[1]))
    near = sum(np.count_nonzero(cKDTree(other).query(line)[0] <= tolerance_mm) for line, other in (lines, lines[::-1]))
    return float(near) / (len(lines[0]) + len(lines[1]))


def centreline_precision(a: Segment, b: Segment, tolerance_mm: float = OVERLAP_MM) -> float:
    """Compute the share of the centreline of a that is near that of b. With a and b exchanged it is the recall.

    Args:
        a: a segment.
        b: a segment of the same box and spacing.
        tolerance_mm: largest accepted distance in mm.

    Returns:
        The share, 0 to 1; 1 for two empty centrelines, 0 for one.
    """
    line, other = (points_mm(segment.centreline, segment.spacing_mm) for segment in (a, b))
    if not len(line) or not len(other):
        return float(len(line) == len(other))
    return float(np.mean(cKDTree(other).query(line)[0] <= tolerance_mm))


def cldice(a: Mask, b: Mask) -> float:
    """Compute the centreline Dice (clDice) of two masks (Shit et al. 2021).

    Args:
        a: boolean mask (x, y, z) of thin vessels.
        b: boolean mask of the same shape.

    Returns:
        The harmonic mean of the shares of each skeleton inside the other mask, 0 to 1; 1 for two empty masks.

    Example:
        A line of 9 voxels and 3 of them: precision 3 of 3, recall 3 of 9.

        >>> import numpy as np
        >>> line, part = np.zeros((2, 9, 3, 3), bool)
        >>> line[:, 1, 1], part[3:6, 1, 1] = True, True
        >>> cldice(part, line)
        0.5
    """
    return centreline_dice(*segments((a, b), (1, 1, 1)))


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))
