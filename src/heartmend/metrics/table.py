"""Evaluation as tables for the terminal: agreement of the maps, then the metrics of each map alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from heartmend.anatomy.schema import Anatomy
from heartmend.metrics.case import MapName
from heartmend.metrics.metric_catalogue import Metric
from heartmend.metrics.statistics import Spread
from heartmend.metrics.summary import WORSE_BY, StructureSummary, count_worse

Cell = Callable[[StructureSummary], Text]

AGAINST_REFERENCE = ("dice", "nsd_1mm", "hd95_mm")
AGAINST_A = ("dice", "volume_ratio", "nsd_1mm", "hd95_mm", "assd_mm")
ALONE = ("volume_ml", "components", "holes", "euler_unexpected", "roughness_mm")
_CENTRELINE = {"clDice": "cldice", "OV": "centreline_ov", "OF": "centreline_of", "OT": "centreline_ot"}
_SHORT = {"euler_unexpected": "Euler\nerror", "roughness_mm": "roughness,\nmm"}


def summary_tables(
    summary: Sequence[StructureSummary], metrics: Sequence[Metric], anatomy: Anatomy,
    parts: Sequence[StructureSummary] = (),
) -> RenderableType:  # fmt: skip
    """Arrange the summaries of an evaluation in tables for the terminal, 80 columns wide.

    Args:
        summary: one summary for each structure.
        metrics: the metrics that the summaries contain.
        anatomy: the structures, with their expected numbers of components.
        parts: summaries of the parts of the coronary arteries.

    Returns:
        An object for `rich`: means over the cases as `a→b`, green where b is better, red where it is worse.
    """
    of = {metric.key: metric for metric in metrics}
    if any(s.dice_error_reduction is not None for s in summary):
        columns = {_heading(of[k]): _mean(of[k]) for k in AGAINST_REFERENCE if k in of}
        columns |= {"Dice error\nremoved": _removed, "effect": _effect, "p": _p, "worse": _worse}
        agreement = _table("Against the reference, mean of a → b", columns, summary)
        notes = [
            "Dice error removed: share of the Dice error of a that b removes",
            "effect (rank-biserial), p (Wilcoxon, Holm): b against a in Dice",
            f"worse: cases that lost more than {WORSE_BY:g} of Dice and of NSD 1 mm,",
            f"  in all {count_worse(summary)} of such pairs",
        ]
        compared: tuple[str, ...] = AGAINST_REFERENCE
    else:
        agreement = _table("b against a, mean", {_heading(of[k]): _mean(of[k]) for k in AGAINST_A if k in of}, summary)
        notes = ["NSD: normalised surface Dice"]
        compared = AGAINST_A
    agreement.caption = "\n".join([*notes, *_centrelines([*summary, *parts]), *_presence_errors(summary)])
    columns = {_heading(of[k]): _interval(of[k]) for k in compared if k in of}
    intervals = _table("95 % interval of the mean of b", columns, summary)
    columns = {_SHORT.get(k, _heading(of[k])): _mean(of[k]) for k in ALONE if k in of}
    if "components" in columns:
        columns["components"] = _components(of["components"], anatomy)
    alone = _table("Each map alone, mean of a → b", columns, summary)
    notes = ["(n): number of components that the anatomy expects; Euler error: distance of the Euler number from n"]
    alone.caption = "\n".join([*notes, *_contacts(summary, anatomy)])
    tables: list[RenderableType] = [agreement, Text(), intervals]
    return Group(*tables, Text(), alone) if columns else Group(*tables)


def _table(title: str, columns: Mapping[str, Cell], summary: Sequence[StructureSummary]) -> Table:
    table = Table(
        title=title, title_style="bold", title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD,
        pad_edge=False, padding=0,
    )  # fmt: skip
    table.add_column("structure", no_wrap=True)
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for s in summary:
        table.add_row(s.structure, *(cell(s) for cell in columns.values()))
    return table


def _heading(metric: Metric) -> str:
    return f"{metric.title}, {metric.unit}" if metric.unit else metric.title


def _mean(metric: Metric) -> Cell:
    def cell(s: StructureSummary) -> Text:
        found = s.spreads.get(metric.key, {})
        a, b = (f"{found[which].mean:.{metric.digits}f}" if which in found else "" for which in ("a", "b"))
        if not a or not b:
            return Text(a or b)
        style = _style(metric.gain(found["a"].mean, found["b"].mean), 0.5 * 10.0**-metric.digits)
        return Text.assemble((f"{a}→", "dim"), (b, style))

    return cell


def _interval(metric: Metric) -> Cell:
    def cell(s: StructureSummary) -> Text:
        found = s.spreads.get(metric.key, {}).get("b")
        return Text(
            "" if found is None else f"{found.ci95_low:.{metric.digits}f} to {found.ci95_high:.{metric.digits}f}"
        )

    return cell


def _components(metric: Metric, anatomy: Anatomy) -> Cell:
    def cell(s: StructureSummary) -> Text:
        return Text.assemble(_mean(metric)(s), (f" ({anatomy.by_name(s.structure).components})", "dim"))

    return cell


def _removed(s: StructureSummary) -> Text:
    share = s.dice_error_reduction
    return Text("") if share is None else Text(f"{100 * share:+.0f}%", style=_style(share, 0.005))


def _effect(s: StructureSummary) -> Text:
    return Text(f"{s.tests['dice'].rank_biserial:+.2f}" if "dice" in s.tests else "")


def _p(s: StructureSummary) -> Text:
    p = s.tests["dice"].p_holm if "dice" in s.tests else None
    return Text("" if p is None else "<.001" if p < 0.001 else f"{p:.3f}"[1:] if p < 1 else "1")


def _worse(s: StructureSummary) -> Text:
    if s.n_worse is None:
        return Text("")
    return Text(f"{s.n_worse}/{s.cases}", style="bold red" if s.n_worse else "dim")


def _centrelines(summary: Sequence[StructureSummary]) -> list[str]:
    """Agreement of the centrelines of thin vessels."""
    lines = []
    for s in summary:
        found = {name: key for name, key in _CENTRELINE.items() if key in s.spreads}
        if found:
            lines.append(f"{s.structure}: " + ", ".join(f"{name} {_means(s, key, 3)}" for name, key in found.items()))
    return lines


def _presence_errors(summary: Sequence[StructureSummary]) -> list[str]:
    """Counts of the cases in which a map lacks a structure, or has one that is not expected."""
    lines = []
    for s in summary:
        for found, counts in (
            ("missing", s.false_negative_cases),
            ("present but not expected", s.false_positive_cases),
        ):
            lines += [f"{s.structure}: {found} in {which} in {n} cases" for which, n in counts.items() if n]
        if any(s.false_negative_cases.values()) and "hd95_mm" in s.present:
            lines.append(f"{s.structure}: HD95 where both have it {_joined(s.present['hd95_mm'], 2)} mm")
    return lines


def _contacts(summary: Sequence[StructureSummary], anatomy: Anatomy) -> list[str]:
    """Contact and gap of structures with their hosts."""
    return [
        f"{s.structure} on {' and '.join(anatomy.by_name(s.structure).hosts)}: "
        f"contact {_means(s, 'contact_mm2', 0)} mm², gap {_means(s, 'gap_mm', 1)} mm"
        for s in summary
        if {"contact_mm2", "gap_mm"} <= s.spreads.keys()
    ]


def _means(s: StructureSummary, key: str, digits: int) -> str:
    return _joined(s.spreads[key], digits)


def _joined(found: Mapping[MapName, Spread], digits: int) -> str:
    return " → ".join(f"{found[which].mean:.{digits}f}" for which in ("a", "b") if which in found)


def _style(gain: float, least: float) -> str:
    return "green" if gain > least else "red" if gain < -least else ""
