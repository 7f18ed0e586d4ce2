"""Reasons why a structure is ranked high: the indicators that differ from the median of the cohort."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from heartmend.anatomy.schema import Structure
from heartmend.quality.error_indicators import ErrorIndicators
from heartmend.repair import unusual_size
from heartmend.repair.changes import ORIGINAL_KEPT, Change
from heartmend.repair.editing.correction_time import LOOK_MINUTES

OUTLIER_RATIO = 1.4
"""A value this many times the median of the cohort is a reason."""
MIN_MM = 0.1
"""Smaller roughness and distances are no reason."""
VOLUME_OUTLIER_Z = 3.5
"""A volume this many robust standard deviations from the median is a reason (Iglewicz and Hoaglin 1993)."""
MIN_ML = 0.05
"""Smaller volumes are no reason."""
MAD_TO_SD = 1.4826
"""Standard deviation of a Gaussian variable with a median absolute deviation of 1."""


@dataclass(frozen=True)
class CohortMedians:
    """Medians of the indicators of one structure over the cases that have it.

    Attributes:
        n_cases: number of cases.
        n_present: number of cases that have the structure.
        expected_error: median of the expected Dice error.
        roughness_mm: median of the roughness.
        shape_distance_mm: median of the distance to the fitted shape.
        volume_ml: median of the volume.
        volume_sd_ml: robust standard deviation of the volume, from the median absolute deviation.
        minutes: median time of a correction.
    """

    n_cases: int
    n_present: int
    expected_error: float
    roughness_mm: float
    shape_distance_mm: float
    volume_ml: float
    volume_sd_ml: float
    minutes: float = LOOK_MINUTES

    @classmethod
    def of(cls, indicators: Sequence[ErrorIndicators]) -> CohortMedians:
        """Compute the medians of one structure.

        Args:
            indicators: indicators of the structure in all cases.

        Returns:
            The medians; 0 where no case has the structure, and the shortest time.
        """
        present = [i for i in indicators if i.present]
        volumes = [i.volume_ml for i in present]
        median_ml = _median(volumes)
        sd_ml = MAD_TO_SD * _median([abs(v - median_ml) for v in volumes])
        distances = [i.shape_distance_mm for i in present if i.shape_distance_mm is not None]
        roughness = [i.roughness_mm for i in present]
        errors = [i.expected_error for i in present]
        minutes = max(_median([i.minutes for i in present]), LOOK_MINUTES)
        return cls(
            len(indicators), len(present), _median(errors), _median(roughness), _median(distances), median_ml, sd_ml,
            minutes,
        )  # fmt: skip


def reasons(indicators: ErrorIndicators, medians: CohortMedians, structure: Structure) -> tuple[str, ...]:
    """List the indicators of a structure that differ from the medians of the cohort.

    Args:
        indicators: indicators of the structure in a case.
        medians: medians of the structure in the cohort.
        structure: the structure.

    Returns:
        Reasons as texts, the most important first; may be empty.
    """
    if indicators.host:
        on_its_own = f"on its own in {medians.n_present} of {medians.n_cases} cases"
        return (f"part of the {indicators.host} in this label map, {on_its_own}; each stays as it is",)
    if not indicators.present:
        where = f"; it may be part of the {' or '.join(structure.must_touch)} here" if structure.must_touch else ""
        return (f"absent, present in {medians.n_present} of {medians.n_cases} cases{where}",)
    found = [*_volume_reason(indicators, medians), *_rule_reasons(indicators.changes, structure)]
    if indicators.outside_ml >= MIN_ML:
        found.append(f"{indicators.outside_ml:.1f} ml outside the ROI of the heart")
    distance_mm = indicators.shape_distance_mm
    if distance_mm is not None and _is_outlier(distance_mm, medians.shape_distance_mm):
        found.append(
            f"mean distance to the fitted shape {distance_mm:.1f} mm (median {medians.shape_distance_mm:.1f} mm)"
        )
    if _is_outlier(indicators.roughness_mm, medians.roughness_mm):
        found.append(f"roughness {indicators.roughness_mm:.2f} mm (median {medians.roughness_mm:.2f} mm)")
    is_tube = structure.kind == "tube" and indicators.shape_error is not None
    if is_tube and _is_outlier(indicators.expected_error, medians.expected_error):
        found.append(f"Dice error {100 * (indicators.shape_error or 0):.0f} % relative to the repaired vessel tree")
    if indicators.slice_staircase_mm:
        found.append(f"slice staircase: drawn on slices {indicators.slice_staircase_mm:.1f} mm thick")
    # The note of a rule can have the same text as another rule.
    return tuple(dict.fromkeys(found))


def _volume_reason(indicators: ErrorIndicators, medians: CohortMedians) -> list[str]:
    difference = indicators.volume_ml - medians.volume_ml
    if any(change.rule == unusual_size.RULE for change in indicators.changes):
        return []  # it is named beside the rest of its heart
    if medians.volume_sd_ml <= 0 or abs(difference) < VOLUME_OUTLIER_Z * medians.volume_sd_ml:
        return []
    size = "large" if difference > 0 else "small"
    return [f"unusually {size}: {indicators.volume_ml:.1f} ml (median {medians.volume_ml:.1f} ml)"]


def _rule_reasons(changes: Iterable[Change], structure: Structure) -> list[str]:
    """List each violated rule once."""
    by_rule: dict[str, list[Change]] = {}
    for change in changes:
        rule = "swapped in" if change.action == f"moved to {structure.name}" else change.rule
        rule = "scan_border" if rule == "field_of_view" and change.note else rule
        by_rule.setdefault(ORIGINAL_KEPT if change.action == ORIGINAL_KEPT else rule, []).append(change)
    found = []
    for rule, text in _TEXTS.items():
        members = by_rule.get(rule, [])
        ml = sum(c.volume_mm3 for c in members) / 1000
        if members and (ml >= MIN_ML or not any(c.voxels for c in members)):
            note, plural = "; ".join(dict.fromkeys(c.note for c in members)), "s" if len(members) > 1 else ""
            found.append(text.format(n=len(members), s=plural, ml=ml, note=note))
    return found


_TEXTS = {
    "slices": "missing or inconsistent slices ({note})",
    "shifts": "shifted slices ({note})",
    "cut_vessels": "interrupted ({note})",
    "swaps": "{ml:.1f} ml probably belong to another structure",
    "swapped in": "{ml:.1f} ml probably have the label of another structure",
    ORIGINAL_KEPT: "{note}",
    "far_components": "{ml:.1f} ml far from the heart",
    "components": "{n} false-positive component{s}, {ml:.1f} ml",
    "detached_segments": "{n} detached segment{s}, {ml:.1f} ml",
    "holes": "{n} hole{s}, {ml:.1f} ml",
    "speckle": "speckle, {ml:.1f} ml",
    "field_of_view": "cut off by the field of view",
    "scan_border": "cut off by the field of view, {note}",
}


def _is_outlier(value: float, median: float) -> bool:
    return value >= MIN_MM and value > OUTLIER_RATIO * median


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else 0.0
