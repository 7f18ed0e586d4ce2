"""Why a structure is thought to be wrong, in words for a person: only what stands out, the gravest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from heartmend.anatomy.schema import Structure
from heartmend.quality.error_indicators import ErrorIndicators
from heartmend.repair.changes import ORIGINAL_KEPT, Change

STANDS_OUT = 1.4
"""A figure this many times the cohort's median is told."""
LEAST_MM = 0.1
FAR_FROM_USUAL = 3.5
"""A volume that is so many robust standard deviations from the cohort's (Iglewicz and Hoaglin 1993) is told."""
LEAST_ML = 0.05
MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class CohortMedians:
    """What is usual of a structure in this cohort: medians over the cases that have it."""

    cases: int
    having: int
    error: float
    roughness_mm: float
    shape_mm: float
    volume_ml: float
    volume_sd_ml: float
    """Robust: of the median absolute deviation."""

    @classmethod
    def of(cls, signs: Sequence[ErrorIndicators]) -> CohortMedians:
        """Of one structure over all cases."""
        there = [s for s in signs if s.present]
        volumes = [s.volume_ml for s in there]
        middle = _median(volumes)
        sd = MAD_TO_SD * _median([abs(v - middle) for v in volumes])
        distances = [s.shape_mm for s in there if s.shape_mm is not None]
        rough = [s.roughness_mm for s in there]
        errors = [s.error for s in there]
        return cls(len(signs), len(there), _median(errors), _median(rough), _median(distances), middle, sd)


def reasons(signs: ErrorIndicators, usual: CohortMedians, structure: Structure) -> tuple[str, ...]:
    """What stands out of a structure in a case, beside what is usual in the cohort; may be empty."""
    if not signs.present:
        return (f"absent, though {usual.having} of {usual.cases} cases have it",)
    found = [*_volume(signs, usual), *_rules(signs.changes, structure)]
    if signs.outside_ml >= LEAST_ML:
        found.append(f"{signs.outside_ml:.1f} ml of it lie far from the heart")
    if signs.shape_mm is not None and _stands_out(signs.shape_mm, usual.shape_mm):
        found.append(
            f"its surface lies {signs.shape_mm:.1f} mm from the cohort's shape on average, usual are "
            f"{usual.shape_mm:.1f} mm"
        )
    if _stands_out(signs.roughness_mm, usual.roughness_mm):
        found.append(f"rough by {signs.roughness_mm:.2f} mm, usual are {usual.roughness_mm:.2f} mm")
    if structure.kind == "tube" and signs.shape_error is not None and _stands_out(signs.error, usual.error):
        found.append(f"as a tree of tubes it would be another by {100 * signs.shape_error:.0f} % (Dice)")
    if signs.slice_staircase_mm:
        found.append(f"stairs: drawn on slices {signs.slice_staircase_mm:.1f} mm thick")
    return tuple(found)


def _volume(signs: ErrorIndicators, usual: CohortMedians) -> list[str]:
    off = signs.volume_ml - usual.volume_ml
    if usual.volume_sd_ml <= 0 or abs(off) < FAR_FROM_USUAL * usual.volume_sd_ml:
        return []
    way = "large" if off > 0 else "small"
    return [f"unusually {way}: {signs.volume_ml:.1f} ml, usual are {usual.volume_ml:.1f} ml"]


def _rules(changes: Iterable[Change], structure: Structure) -> list[str]:
    """The broken rules, each once."""
    by_rule: dict[str, list[Change]] = {}
    for change in changes:
        taken = "swapped in" if change.action == f"moved to {structure.name}" else change.rule
        by_rule.setdefault(ORIGINAL_KEPT if change.action == ORIGINAL_KEPT else taken, []).append(change)
    told = []
    for rule, words in _WORDS.items():
        members = by_rule.get(rule, [])
        ml = sum(c.volume_mm3 for c in members) / 1000
        if members and (ml >= LEAST_ML or not any(c.voxels for c in members)):
            note, many = "; ".join(dict.fromkeys(c.note for c in members)), len(members) > 1
            told.append(words.format(n=len(members), s="s" if many else "", ml=ml, note=note))
    return told


_WORDS = {
    "slices": "slices missing or at odds with their neighbours ({note})",
    "shifts": "slices shifted sideways ({note})",
    "cut_vessels": "in two where it should be one ({note})",
    "swaps": "{ml:.1f} ml of it look like another structure",
    "swapped in": "{ml:.1f} ml of it are called by another name",
    ORIGINAL_KEPT: "{note}",
    "components": "{n} island{s}, {ml:.1f} ml",
    "detached_segments": "{n} stray piece{s}, {ml:.1f} ml",
    "holes": "{n} hole{s} or pocket{s}, {ml:.1f} ml",
    "speckle": "single stray voxels, {ml:.1f} ml",
    "field_of_view": "cut off by the field of view",
}


def _stands_out(value: float, usual: float) -> bool:
    return value >= LEAST_MM and value > STANDS_OUT * usual


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else 0.0
