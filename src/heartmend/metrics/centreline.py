"""Agreement of the centrelines of thin vessels."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from heartmend.metrics.segment import Segment, points_mm, segments
from heartmend.types import Mask

OVERLAP_MM = 1.5
"""How far apart centrelines may run and still be one: the radius of a coronary artery where it begins."""


def centreline_dice(a: Segment, b: Segment) -> float:
    """Centreline Dice (Shit et al. 2021): each one's skeleton inside the other; 1 for two that are empty."""
    if not a.voxels and not b.voxels:
        return 1.0
    precision = _count(a.centreline & b.mask) / max(_count(a.centreline), 1)
    recall = _count(b.centreline & a.mask) / max(_count(b.centreline), 1)
    return 2 * precision * recall / max(precision + recall, 1e-9)


def centreline_overlap(a: Segment, b: Segment, tolerance_mm: float = OVERLAP_MM) -> float:
    """Share of the points of both centrelines within `tolerance_mm` of the other (overlap of Schaap et al. 2009).

    Two empty centrelines agree (1); one that is empty does not (0).
    """
    lines = [points_mm(segment.centreline, segment.spacing_mm) for segment in (a, b)]
    if not len(lines[0]) or not len(lines[1]):
        return float(len(lines[0]) == len(lines[1]))
    near = sum(np.count_nonzero(cKDTree(other).query(line)[0] <= tolerance_mm) for line, other in (lines, lines[::-1]))
    return float(near) / (len(lines[0]) + len(lines[1]))


def cldice(a: Mask, b: Mask) -> float:
    """Centreline Dice (Shit et al. 2021) of two masks; 1 for two empty ones."""
    return centreline_dice(*segments((a, b), (1, 1, 1)))


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))
