"""The before and after table that a person reads on the screen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from heartmend.metrics.score import Scores, Summary, mean_scores
from heartmend.metrics.surface import TOLERANCE_MM


def before_after_table(
    summary: Mapping[int, Summary],
    names: Mapping[int, str],
    title: str = "Against truth, before → after mending",
    tolerance_mm: float = TOLERANCE_MM,
) -> Table:
    """The summary as a rich table at most 100 columns wide; what got better is green, what got worse red."""
    table = Table(title=title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("structure", no_wrap=True)
    surface = f"nsd {tolerance_mm:g} mm"
    for heading in ("Dice", "gone", surface, "HD95 mm", "pieces off", "harmed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for structure, s in summary.items():
        harmed = Text(f"{len(s.harmed)}/{s.cases}", style="bold red" if s.harmed else "dim")
        table.add_row(names.get(structure, str(structure)), *_cells(s.noisy, s.mended, s.gone), harmed)
    if summary:
        members = list(summary.values())
        before, after = mean_scores([s.noisy for s in members]), mean_scores([s.mended for s in members])
        harmed_pairs, pairs = sum(len(s.harmed) for s in members), sum(s.cases for s in members)
        harmed = Text(f"{harmed_pairs}/{pairs}", style="bold red" if harmed_pairs else "dim")
        table.add_section()
        table.add_row("mean", *_cells(before, after, float(np.mean([s.gone for s in members]))), harmed)
    centrelines = [
        f"{names.get(k, str(k))}: centreline Dice {s.noisy.cldice:.3f} → {s.mended.cldice:.3f}"
        for k, s in summary.items()
        if s.noisy.cldice is not None and s.mended.cldice is not None
    ]
    legend = "gone: share of the Dice error taken away; nsd: normalised surface Dice"
    table.caption, table.caption_justify = "\n".join([legend, *centrelines]), "left"
    return table


def _cells(before: Scores, after: Scores, gone: float) -> list[Text]:
    return [
        _change(before.dice, after.dice, 3),
        Text(f"{100 * gone:+.0f}%", style=_style(gone, 0.005)),
        _change(before.nsd, after.nsd, 3),
        _change(before.hd95_mm, after.hd95_mm, 1, lower_is_better=True),
        _change(before.pieces_off, after.pieces_off, 1, lower_is_better=True),
    ]


def _change(before: float, after: float, digits: int, lower_is_better: bool = False) -> Text:
    gain = before - after if lower_is_better else after - before
    style = _style(gain, 0.5 * 10.0**-digits)
    return Text.assemble((f"{before:.{digits}f}→", "dim"), (f"{after:.{digits}f}", style))


def _style(gain: float, least: float) -> str:
    return "green" if gain > least else "red" if gain < -least else ""
