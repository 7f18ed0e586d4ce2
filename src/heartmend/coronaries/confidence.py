"""Confidence of the names of coronary segments: the share of right names among segments that agree as well with theirs.

The rules of a name say how well the course of a segment agrees with it. How often such a name is right was measured on
phantom trees with known names, in their true maps and in corrupted ones after their repair
(`benchmarks/coronary_confidence.py`, other trees than those of the results).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from heartmend.coronaries.segments import Segment
from heartmend.geometry.centrelines.tree import IntArray
from heartmend.types import FloatArray

GROUPS: Mapping[str, tuple[Segment, ...]] = {
    "left main": (Segment.LM,),
    "main vessels": (Segment.LAD, Segment.LCX, Segment.RCA),
    "branches of the left tree": (
        Segment.D1, Segment.D2, Segment.OM1, Segment.OM2, Segment.IM, Segment.L_PDA, Segment.L_PLA
    ),
    "branches of the right tree": (Segment.R_PDA, Segment.R_PLA),
    "others": (Segment.OTHER,),
}  # fmt: skip
_SHARES: Mapping[str, tuple[tuple[float, float], ...]] = {
    "left main": ((0.0, 0.0), (0.2, 0.87), (0.31, 0.87), (0.4, 0.92)),
    "main vessels": ((0.0, 0.0), (0.2, 0.94)),
    "branches of the left tree": ((0.0, 0.0), (0.26, 0.0), (0.62, 0.89), (0.65, 0.93), (0.86, 0.97), (0.92, 0.99)),
    "branches of the right tree": ((0.0, 0.0), (0.2, 0.93), (0.53, 0.93), (0.54, 0.96), (0.62, 0.99)),
    "others": ((0.0, 0.0), (0.2, 0.61)),
}
"""Agreement and share of right names, rising; linear between them. The shares from 0.2 on are measured, on twelve
trees; below, where hardly a segment was, the confidence falls to 0."""


def calibrated(segment: IntArray, agreement: FloatArray) -> FloatArray:
    """Convert the agreement of segments with their names into the share of right names.

    Args:
        segment: (n,) `Segment`; 0 where there is none.
        agreement: (n,) 0 to 1.

    Returns:
        (n,) confidence, 0 to 1; 0 where there is no segment.

    Example:
        >>> calibrated(np.array([0]), np.array([0.9])).tolist()
        [0.0]
    """
    confidence = np.zeros(len(segment))
    for group, members in GROUPS.items():
        own = np.isin(segment, members)
        x, y = np.array(_SHARES[group]).T
        confidence[own] = np.interp(agreement[own], x, y)
    return confidence
