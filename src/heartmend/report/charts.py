"""Charts of a report: distributions of the structures over the cases, and the course of the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from heartmend.anatomy.schema import Anatomy
from heartmend.figures.style import EDGE, INK
from heartmend.report.run_summary import FitLog
from heartmend.report.tables import Panel

BEFORE, AFTER = "#9a9a9a", "#0072B2"
GREY = "#d8d8d8"
Line = tuple[str, Sequence[float], Sequence[float], str]
"""Name, steps, values, colour."""


def distribution_figure(panels: Sequence[Panel], anatomy: Anatomy) -> Figure:
    """Draw the distribution of metrics over the cases: a column for each panel, a row for each structure.

    Args:
        panels: values of each metric.
        anatomy: anatomy of the label maps, for names and colours.

    Returns:
        A figure: every case is a dot, before above after, with medians as bars.
    """
    names = [n for n in anatomy.names if any(n in panel.before or n in panel.after for panel in panels)]
    figure = Figure(figsize=(3.4 * max(len(panels), 1) + 0.9, 0.46 * len(names) + 1.1))
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, max(len(panels), 1), sharey=True, squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=False):
        _strips(ax, panel, names)
    axes[0].set_yticks(range(len(names)), names, fontsize=9)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    for row, name in enumerate(names):
        colour = np.array(anatomy.by_name(name).colour) / 255
        axes[0].plot(
            [-0.012], [row], "s", ms=7, color=colour, mec=EDGE, mew=0.6, clip_on=False,
            transform=axes[0].get_yaxis_transform(),
        )  # fmt: skip
    axes[0].tick_params(axis="y", pad=10)
    figure.tight_layout(w_pad=1.4)
    return figure


def _strips(ax: Axes, panel: Panel, names: Sequence[str]) -> None:
    """Draw violins with the cases as dots; before, if there is one, above after."""
    has_before = bool(panel.before)
    for values, colour, offset in ((panel.before, BEFORE, -0.2), (panel.after, AFTER, 0.2 if has_before else 0.0)):
        for row, name in enumerate(names):
            found = np.array(list(values.get(name, {}).values()))
            if not len(found):
                continue
            y = row + offset
            if len(found) > 3 and np.ptp(found) > 1e-9:
                drawn = ax.violinplot(found, [y], orientation="horizontal", widths=0.36, showextrema=False)
                for body in cast(list[PolyCollection], drawn["bodies"]):
                    body.set(facecolor=colour, alpha=0.28, linewidth=0)
            ax.plot(found, np.full(len(found), y), "o", ms=2.6, color=colour, alpha=0.65, mew=0)
            ax.plot([np.median(found)] * 2, [y - 0.17, y + 0.17], color=colour, lw=2)
    label = f"{panel.title}, {panel.unit}" if panel.unit else panel.title
    ax.set_title(label, fontsize=9.5, color=INK)
    ax.grid(axis="x", color=GREY, lw=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=8, colors=INK, length=0)
    for side in ax.spines.values():
        side.set_visible(False)


def fit_figure(log: FitLog) -> Figure:
    """Draw loss, Dice, memory and time over the steps of the fit, with its phases as bands.

    Args:
        log: training log of the fit.

    Returns:
        A figure with a panel for each quantity.
    """
    whole_volume_steps = [step for step, _ in log.whole_volume_dice]
    panels: list[tuple[str, list[Line]]] = [
        ("loss", [("", log.step, log.loss, AFTER)]),
        (
            "Dice",
            [
                ("training points", log.step, log.training_dice, BEFORE),
                ("whole volumes", whole_volume_steps, [dice for _, dice in log.whole_volume_dice], AFTER),
            ],
        ),
        ("peak memory, MB", [("", log.step, log.peak_memory_mb, AFTER)]),
    ]
    if log.seconds:
        panels.append(("time, min", [("", log.step, [s / 60 for s in log.seconds], AFTER)]))
    figure = Figure(figsize=(3.0 * len(panels), 2.5))
    FigureCanvasAgg(figure)
    for ax, (title, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for low, high in _phases(log)[1::2]:
            ax.axvspan(low, high, color=GREY, alpha=0.45, lw=0)
        for name, steps, values, colour in lines:
            ax.plot(steps, values, color=colour, lw=1.5, label=name, marker="o" if len(steps) < 12 else None, ms=4)
        if len(lines) > 1:
            ax.legend(fontsize=8, frameon=False, loc="lower right")
        ax.set_title(title, fontsize=9.5, color=INK)
        ax.set_xlabel("step", fontsize=8.5, color=INK)
        ax.tick_params(labelsize=8, colors=INK)
        ax.spines[["top", "right"]].set_visible(False)
        if title not in ("loss", "Dice"):
            ax.set_ylim(0, 1.08 * max(value for _, _, values, _ in lines for value in values))
    figure.tight_layout(w_pad=1.4)
    return figure


def _phases(log: FitLog) -> list[tuple[float, float]]:
    """Return the first and last step of each phase."""
    ends: Mapping[int, float] = dict(zip(log.phase, log.step, strict=True))
    starts = [0.0, *list(ends.values())[:-1]]
    return list(zip(starts, ends.values(), strict=True))
