"""Tables and chart data of a report: metrics of each structure before and after repair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from heartmend.coronaries.segment_map import SegmentRecord
from heartmend.metrics.case import MapName, Row
from heartmend.metrics.evaluation import Evaluation
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.segment_names import DOUBTFUL
from heartmend.repair.uncertainty.estimate import StructureEstimate
from heartmend.wording import plural

ALONE = ("volume_ml", "components_unexpected", "holes", "roughness_mm")
"""Metrics of one label map."""
PAIR = ("dice", "hd95_mm")
"""Metrics of the two label maps."""
REFERENCE = ("dice", "nsd_1mm", "hd95_mm")
"""Metrics of a label map and the reference."""
KEYS = ("dice", "nsd_1mm", "hd95_mm", *ALONE)


@dataclass(frozen=True)
class Panel:
    """Values of one metric for a chart.

    Attributes:
        title: title of the panel.
        unit: unit of the values.
        before: value by structure and case id; empty for a metric of both label maps.
        after: value by structure and case id.
    """

    title: str
    unit: str
    before: Mapping[str, Mapping[str, float]]
    after: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class ReportTable:
    """Table of a report.

    Attributes:
        caption: caption.
        headings: headings of the columns.
        rows: cells as texts; the first cell is the name of a structure.
        notes: notes below the table.
    """

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = field(default=())


def before_after_table(comparison: Evaluation) -> ReportTable:
    """Make the table of metrics that need no reference.

    Args:
        comparison: evaluation of the repaired (b) and the original label maps (a) without a reference.

    Returns:
        Metrics of each label map, before → after, and of the two; means over the cases.
    """
    headings = (
        "structure", "cases", "volume, ml", "component count error", "holes", "roughness, mm",
        "changed by, %", "surface moved, mm (HD95)",
    )  # fmt: skip
    rows = []
    for name in _names(comparison):
        cells = [_pair(comparison, name, key, digits) for key, digits in zip(ALONE, (1, 1, 1, 2), strict=True)]
        dice, hd95 = (_values(comparison, name, key, "b", "a") for key in PAIR)
        between = [_mean([100 * (1 - value) for value in dice], 1), _mean(hd95, 1)]
        rows.append((name, str(len(_values(comparison, name, "volume_ml", "a"))), *cells, *between))
    notes = (
        "Means over the cases, before → after. Component count error: difference to the number of components in the "
        "anatomy. Roughness: standard deviation of the surface's height above its own mean within 3 mm. Changed "
        "by: share of the structure that differs before and after (1 - Dice of the two maps); it shows how much was "
        "done, not how good it is. Surface moved: 95th percentile of the distance between the two surfaces.",
    )
    return ReportTable("Each structure before and after repair", headings, tuple(rows), notes)


def reference_table(against: Evaluation) -> ReportTable:
    """Make the table of both label maps against the reference.

    Args:
        against: evaluation of the original (a) and the repaired label maps (b) with a reference.

    Returns:
        Metrics of each structure, before → after; means over the cases.
    """
    headings = ("structure", "cases", "Dice", "Dice error removed, %", "NSD at 1 mm", "HD95, mm", "worse")
    rows = []
    for summary in against.summary:
        name = summary.structure
        cells = [_pair(against, name, key, digits) for key, digits in zip(REFERENCE, (3, 3, 1), strict=True)]
        reduction = summary.dice_error_reduction
        removed = "" if reduction is None else f"{100 * reduction:.0f}"
        worse = "" if summary.n_worse is None else str(summary.n_worse)
        rows.append((name, str(summary.cases), cells[0], removed, cells[1], cells[2], worse))
    notes = (
        "Means over the cases, before → after. Dice error removed: fraction of the Dice error (1 - Dice) that the "
        "repair removed. NSD: normalised surface Dice. Worse: cases in which both Dice and NSD decreased by more than "
        "0.01.",
    )
    return ReportTable("Comparison with the reference", headings, tuple(rows), notes)


def estimate_summary(logs: Iterable[ChangeLog]) -> ReportTable | None:
    """Make the table of the expected errors of the repaired structures, which need no reference.

    Args:
        logs: change logs of the cases.

    Returns:
        Means over the cases with the case of the lowest expected Dice; None where nothing was estimated.
    """
    found: dict[str, list[tuple[str, StructureEstimate]]] = {}
    for log in logs:
        for one in log.estimates:
            found.setdefault(one.structure, []).append((log.case_id, one))
    headings = ("structure", "cases", "expected Dice", "90 % interval", "expected surface distance, mm",
                "90 % interval, mm", "lowest expected Dice")  # fmt: skip
    rows = []
    for name, members in found.items():
        means = {
            key: float(np.mean([getattr(one, key) for _, one in members]))
            for key in ("dice", "dice_low", "dice_high", "surface_mm", "surface_low_mm", "surface_high_mm")
        }
        worst, lowest = min(members, key=lambda member: member[1].dice)
        rows.append((
            name, str(len(members)), f"{means['dice']:.3f}", f"{means['dice_low']:.3f} to {means['dice_high']:.3f}",
            f"{means['surface_mm']:.2f}", f"{means['surface_low_mm']:.2f} to {means['surface_high_mm']:.2f}",
            f"{lowest.dice:.3f} ({worst})",
        ))  # fmt: skip
    notes = (
        "Estimated without a truth, means over the cases. The estimate was fitted on simulated faults; errors of "
        "another kind, such as those that all labels share, can be larger.",
    )
    return ReportTable("Expected errors of the repaired structures", headings, tuple(rows), notes) if rows else None


def segment_summary(logs: Iterable[ChangeLog]) -> ReportTable | None:
    """Make the table of the named segments of the coronary arteries.

    Args:
        logs: change logs of the cases.

    Returns:
        Length and confidence of each segment over the cases; None where no segments were named.
    """
    found: dict[tuple[int, str, str], list[tuple[str, SegmentRecord]]] = {}
    cases = 0
    for log in logs:
        cases += bool(log.segments)
        for one in log.segments:
            found.setdefault((one.id, one.segment, one.side), []).append((log.case_id, one))
    headings = ("segment", "tree", "cases", "length, mm", "confidence", f"below {DOUBTFUL:g}", "lowest confidence")
    rows = []
    for (_, name, side), members in sorted(found.items()):
        worst, lowest = min(members, key=lambda member: member[1].confidence)
        doubtful = sum(one.confidence < DOUBTFUL for _, one in members)
        rows.append((
            name, side, str(len(members)), f"{np.median([one.length_mm for _, one in members]):.0f}",
            f"{np.median([one.confidence for _, one in members]):.2f}", str(doubtful),
            f"{lowest.confidence:.2f} ({worst})",
        ))  # fmt: skip
    notes = (
        f"Of {plural(cases, 'case')} with coronary arteries; medians. Names by position, ids of ImageCAS-X; the "
        "confidence is the share of right names among segments of phantoms that agree as well with theirs, 1 where the "
        "input has the name.",
    )
    return ReportTable("Segments of the coronary arteries", headings, tuple(rows), notes) if rows else None


def panels(comparison: Evaluation, against: Evaluation | None) -> list[Panel]:
    """Collect the values for the chart of distributions.

    Args:
        comparison: evaluation without a reference, as for `before_after_table`.
        against: evaluation with a reference; None without one.

    Returns:
        Three panels.
    """
    found: list[Panel] = [
        Panel("roughness", "mm", *(_by_case(comparison, "roughness_mm", which) for which in ("a", "b"))),
        Panel("changed by", "%", {}, changed_percent(comparison)),
    ]
    if against is not None:
        errors = [_error_percent(_by_case(against, "dice", which)) for which in ("a", "b")]
        found.insert(0, Panel("Dice error: 1 - Dice with the reference", "%", *errors))
    else:
        found.append(Panel("volume change", "%", {}, _volume_change(comparison)))
    return found


def changed_percent(comparison: Evaluation) -> dict[str, dict[str, float]]:
    """Compute how much of each structure changed.

    Args:
        comparison: evaluation without a reference, as for `before_after_table`.

    Returns:
        1 - Dice of the two maps in percent, by structure and case id.
    """
    return _error_percent(_by_case(comparison, "dice", "b"))


def worse_cases(against: Evaluation | None) -> dict[str, tuple[str, ...]]:
    """List the cases in which a structure became worse.

    Args:
        against: evaluation with a reference; None without one.

    Returns:
        Case ids by structure; empty without a reference.
    """
    return {s.structure: s.worse_cases or () for s in (against.summary if against is not None else ())}


def mean_dice(against: Evaluation | None) -> dict[str, float]:
    """Compute the mean Dice of each repaired case with the reference.

    Args:
        against: evaluation with a reference; None without one.

    Returns:
        Mean over the structures, by case id; empty without a reference.
    """
    by_case: dict[str, list[float]] = {}
    for row in against.rows if against is not None else ():
        if row.labels == "b" and "dice" in row.values and row.expected:
            by_case.setdefault(row.case, []).append(row.values["dice"])
    return {case: float(np.mean(values)) for case, values in by_case.items()}


def _names(evaluation: Evaluation) -> list[str]:
    return list(dict.fromkeys(row.structure for row in evaluation.rows))


def _rows(evaluation: Evaluation, which: MapName) -> list[Row]:
    return [row for row in evaluation.rows if row.labels == which and row.present]


def _values(evaluation: Evaluation, name: str, key: str, *which: MapName) -> list[float]:
    """Return the values of the first map for the cases in which all these maps have the structure."""
    present = [{row.case for row in _rows(evaluation, w) if row.structure == name} for w in which]
    cases = set.intersection(*present)
    rows = [row for row in _rows(evaluation, which[0]) if row.structure == name and row.case in cases]
    return [row.values[key] for row in rows if key in row.values]


def _pair(evaluation: Evaluation, name: str, key: str, digits: int) -> str:
    before, after = (_mean(_values(evaluation, name, key, which), digits) for which in ("a", "b"))
    return f"{before} → {after}"


def _mean(values: Sequence[float], digits: int) -> str:
    return f"{np.mean(values):.{digits}f}" if values else "-"


def _by_case(evaluation: Evaluation, key: str, which: MapName) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for row in _rows(evaluation, which):
        if key in row.values:
            table.setdefault(row.structure, {})[row.case] = row.values[key]
    return table


def _error_percent(dice: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {name: {case: 100 * (1 - value) for case, value in found.items()} for name, found in dice.items()}


def _volume_change(comparison: Evaluation) -> dict[str, dict[str, float]]:
    before, after = (_by_case(comparison, "volume_ml", which) for which in ("a", "b"))
    return {
        name: {case: 100 * (ml / before[name][case] - 1) for case, ml in cases.items() if case in before.get(name, {})}
        for name, cases in after.items()
    }
