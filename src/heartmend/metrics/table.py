"""An evaluation as a person reads it on the screen: agreement, then what each label map is like by itself."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from heartmend.metrics.catalogue import Metric
from heartmend.metrics.summary import StructureSummary

AGREEMENT = ("dice", "nsd_1mm", "hd95_mm", "assd_mm")
OWN = ("volume_ml", "pieces_unexpected", "holes", "euler_unexpected", "roughness_mm")


def summary_tables(summary: Sequence[StructureSummary], metrics: Sequence[Metric]) -> Group:
    """Means over the cases, at most 100 columns wide: `a→b`, green where b is better, red where it is worse."""
    by_key = {metric.key: metric for metric in metrics}
    has_reference = any("a" in s.spreads.get("dice", {}) for s in summary)
    title = "Against the reference, a → b (means)" if has_reference else "b against a (means)"
    first = _table(title, [by_key[k] for k in AGREEMENT if k in by_key], summary, "gone" if has_reference else "")
    second = _table("Each label map alone, a → b (means)", [by_key[k] for k in OWN if k in by_key], summary)
    return Group(first, second)


def _table(title: str, metrics: Sequence[Metric], summary: Sequence[StructureSummary], gain: str = "") -> Table:
    table = Table(title=title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("structure", no_wrap=True)
    for metric in metrics:
        unit = f", {metric.unit}" if metric.unit else ""
        table.add_column(f"{metric.title}{unit}", justify="right")
    if gain:
        table.add_column("gone", justify="right", no_wrap=True)
        table.add_column("harmed", justify="right", no_wrap=True)
    for s in summary:
        cells = [_cell(metric, s) for metric in metrics]
        table.add_row(s.structure, *cells, *(_gain(s) if gain else ()))
    return table


def _gain(s: StructureSummary) -> tuple[Text, Text]:
    gone = Text("-") if s.gone is None else Text(f"{100 * s.gone:+.0f}%", style=_style(s.gone, 0.005))
    count = len(s.harmed or ())
    return gone, Text(f"{count}/{s.cases}", style="bold red" if count else "dim")


def _cell(metric: Metric, s: StructureSummary) -> Text:
    means = {which: found.mean for which, found in s.spreads.get(metric.key, {}).items()}
    if "b" not in means:
        return Text("-", style="dim")
    if "a" not in means:
        return Text(f"{means['b']:.{metric.digits}f}")
    gain = {"higher": 1, "lower": -1, "one": 0, "none": 0}[metric.better] * (means["b"] - means["a"])
    style = _style(gain, 0.5 * 10.0**-metric.digits)
    return Text.assemble((f"{means['a']:.{metric.digits}f}→", "dim"), (f"{means['b']:.{metric.digits}f}", style))


def _style(gain: float, least: float) -> str:
    return "green" if gain > least else "red" if gain < -least else ""
