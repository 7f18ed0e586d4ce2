"""Scatter plot of a population: the position of each heart along two principal modes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from heartmend.figures.style import DPI, GUIDE, INK, PAPER


def scatter_figure(
    scores: NDArray[np.float64], ids: Sequence[str], outlier_z: Sequence[float], axis_names: tuple[str, str], title: str
) -> Figure:
    """Plot the hearts of a population along two modes.

    Args:
        scores: (case, 2) position of each heart in standard deviations.
        ids: case ids, drawn beside the points.
        outlier_z: outlier score of each heart, shown by colour from 0 to 4.
        axis_names: names of the two axes.
        title: title of the figure.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(6.4, 5.6), facecolor=PAPER, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    points = axes.scatter(scores[:, 0], scores[:, 1], c=np.clip(outlier_z, 0, 4), cmap="cividis_r", vmin=0, vmax=4,
                          s=46, edgecolors=INK, linewidths=0.5, zorder=3)  # fmt: skip
    for (x, y), id in zip(scores, ids, strict=True):
        axes.annotate(id, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=7.5, color=INK)
    axes.axhline(0, color=GUIDE, lw=0.8, zorder=1)
    axes.axvline(0, color=GUIDE, lw=0.8, zorder=1)
    axes.set_xlabel(axis_names[0], color=INK)
    axes.set_ylabel(axis_names[1], color=INK)
    axes.set_title(title, loc="left", fontsize=13, weight="bold", color=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.colorbar(points, ax=axes, label="outlier score (robust z; 3 is rare)", shrink=0.8)
    return figure
