"""Width of thin vessels that all cases share: a vessel has no place on the template, so it is one number for each.

A movement is that of the surface outwards, in mm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.distance import signed_distance_mm
from heartmend.metrics.overlap import dice
from heartmend.repair.shared_errors.estimate import MIN_CASES, MIN_TRUSTED, confidence_interval_mm
from heartmend.repair.shared_errors.regions import RegionError
from heartmend.repair.shared_errors.report import Source
from heartmend.types import Mask

REGION = "width"
"""Name of the region in the tables."""
SHIFTS_MM = np.arange(-20, 21) * 0.1
"""Movements that are tried."""
AGREEMENT = 0.8
"""Least share of the cases that agree on the direction of the movement."""
IGNORED_MM = 0.3
"""A smaller movement by the CTs is not applied: it is within the accuracy of the method."""


def tube_shift_mm(label: Mask, trusted: Mask, spacing_mm: tuple[float, float, float]) -> float | None:
    """Compute by how much the surface of a thin vessel has to move to fit its trusted mask best.

    Args:
        label: (x, y, z) bool, the mask of the label map.
        trusted: (x, y, z) bool, the trusted mask.
        spacing_mm: voxel spacing.

    Returns:
        The movement outwards in mm with the largest Dice; the middle of several that are equally good. None where one
        of the masks is empty.
    """
    box = bounding_box(label | trusted, [int(np.ceil(SHIFTS_MM[-1] / step)) for step in spacing_mm])
    if box is None or not label.any() or not trusted.any():
        return None
    distance, truth = signed_distance_mm(label[box], spacing_mm), trusted[box]
    dices = np.array([dice(distance + shift > 0, truth) for shift in SHIFTS_MM])
    best = SHIFTS_MM[dices >= dices.max() - 1e-9]
    return float(best[np.abs(best).argmin()]) if (best == 0).any() else float(best.mean())


def common_shifts_mm(cases: Sequence[Mapping[str, float]], source: Source) -> dict[str, float]:
    """Compute the movement of each thin vessel that is applied to all cases.

    Args:
        cases: measured movement of each vessel, by name, one table for each case.
        source: what the vessels were compared with.

    Returns:
        The median over the cases, by name, where nearly all of them agree on its direction.
    """
    least, ignored_mm = (MIN_CASES, IGNORED_MM) if source == "image" else (MIN_TRUSTED, 0.0)
    found = {}
    for name, shifts in _by_name(cases).items():
        median = float(np.median(shifts))
        agree = np.count_nonzero(np.sign(shifts) == np.sign(median))
        if len(shifts) >= least and abs(median) > ignored_mm and agree >= AGREEMENT * len(shifts):
            found[name] = median
    return found


def typical_shifts_mm(cases: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Compute the movement of each thin vessel in a usual case of the cohort.

    Args:
        cases: measured movement of each vessel, by name, one table for each case.

    Returns:
        The median, by name, where at least `MIN_CASES` cases have one.
    """
    return {name: float(np.median(shifts)) for name, shifts in _by_name(cases).items() if len(shifts) >= MIN_CASES}


def summarise_tubes(cases: Sequence[Mapping[str, float]], applied_mm: Mapping[str, float]) -> list[RegionError]:
    """Compute the error of the width of each thin vessel.

    Args:
        cases: measured movement of each vessel, by name, one table for each case.
        applied_mm: the movement that is applied to all cases, by name.

    Returns:
        One region for each vessel that was measured in at least two cases.
    """
    found = []
    for name, shifts in _by_name(cases).items():
        if len(shifts) >= 2:
            low, high = confidence_interval_mm(-shifts)
            mean, deviation = -float(shifts.mean()), float(shifts.std(ddof=1))
            left = mean + applied_mm.get(name, 0.0)
            found.append(RegionError(name, REGION, len(shifts), "measured", mean, low, high, deviation, left))
    return found


def _by_name(cases: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    names = sorted({name for case in cases for name in case})
    return {name: np.array([case[name] for case in cases if name in case]) for name in names}
