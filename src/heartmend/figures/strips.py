"""Strips of rendered hearts, such as the steps along a mode or an interpolation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from heartmend.figures.style import DPI, INK, PAPER, StructureStyle, swatch
from heartmend.figures.surfaces import FRONT_AND_BACK, render_surface
from heartmend.figures.view import AxCodes, Volume, to_lps

CELL_INCHES = 2.4
PIXEL_MM = 0.9


def strip_figure(
    rows: Sequence[Sequence[tuple[Volume, Sequence[float]]]],
    headings: Sequence[str],
    row_names: Sequence[str],
    style: StructureStyle,
    title: str,
    axcodes: AxCodes = ("R", "A", "S"),
    view_deg: tuple[float, float] = FRONT_AND_BACK[0],
) -> Figure:
    """Render label maps in rows and columns, all at one scale.

    Args:
        rows: for each row the label maps (x, y, z), each with its voxel size in mm.
        headings: heading of each column.
        row_names: name of each row; may be empty.
        style: colours and names of the structures.
        title: title of the figure.
        axcodes: anatomical direction of each axis of the label maps.
        view_deg: rotation about the patient's long axis and tilt forward in degrees; (0, 0) is the view from the front.

    Returns:
        The figure.
    """
    table = style.table()
    pictures = []
    for row in rows:
        for labels, spacing_mm in row:
            (turned,), spacing = to_lps([labels], spacing_mm, axcodes)
            pictures.append(render_surface(turned.astype(np.uint8), spacing, table, view_deg, PIXEL_MM))
    tall, wide = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    squares = [_centred(picture, tall, wide) for picture in pictures]
    ink = np.logical_or.reduce([(square < 1).any(axis=2) for square in squares])
    lines, columns = (np.flatnonzero(ink.any(axis=axis)) if ink.any() else np.array([0, 1]) for axis in (1, 0))
    part = (slice(lines[0], lines[-1] + 1), slice(columns[0], columns[-1] + 1))
    height = CELL_INCHES * (lines[-1] + 1 - lines[0]) / (columns[-1] + 1 - columns[0])
    size = (CELL_INCHES * len(headings) + 0.2, height * len(rows) + 1.4)
    figure = Figure(figsize=size, facecolor=PAPER, dpi=DPI)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(rows), len(headings), left=0.02, right=0.99, bottom=0.5 / size[1], top=1 - 0.85 / size[1], wspace=0.03,
        hspace=0.04,
    )  # fmt: skip
    for at, square in enumerate(squares):
        line, column = divmod(at, len(headings))
        axes = figure.add_subplot(grid[line, column])
        axes.imshow(square[part], interpolation="bicubic")
        axes.set_axis_off()
        if line == 0:
            axes.set_title(headings[column], fontsize=10, color=INK)
        if column == 0 and row_names[line]:
            axes.text(0.0, 0.5, row_names[line], transform=axes.transAxes, rotation=90, fontsize=9, color=INK,
                      va="center", ha="right")  # fmt: skip
    figure.text(0.02, 1 - 0.28 / size[1], title, fontsize=13, weight="bold", color=INK, va="center")
    shown = [id for id in style.colours if any((labels == id).any() for row in rows for labels, _ in row)]
    handles = [swatch(table[id], style.name(id)) for id in shown]
    figure.legend(
        handles=handles, loc="center", bbox_to_anchor=(0.5, 0.24 / size[1]), ncol=max(len(handles), 1), frameon=False,
        fontsize=7.5, handlelength=1.0, columnspacing=0.9, labelcolor=INK,
    )  # fmt: skip
    return figure


def _centred(picture: Volume, tall: int, wide: int) -> Volume:
    top, left = (tall - picture.shape[0]) // 2, (wide - picture.shape[1]) // 2
    out = np.ones((tall, wide, 3))
    out[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return out
