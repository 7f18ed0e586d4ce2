"""Several hearts side by side, each lit and seen from the front, such as the way from one to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from heartmend.figures.surfaces import FRONT_AND_BACK, _render
from heartmend.figures.view import INK, PAPER, AxCodes, Volume, swatch, to_lps

CELL_INCHES = 2.4
PIXEL_MM = 0.9


def strip_figure(
    rows: Sequence[Sequence[tuple[Volume, Sequence[float]]]],
    headings: Sequence[str],
    names_of_rows: Sequence[str],
    colours: Mapping[int, Sequence[float]],
    names: Mapping[int, str],
    title: str,
    axcodes: AxCodes = ("R", "A", "S"),
    view_deg: tuple[float, float] = FRONT_AND_BACK[0],
) -> Figure:
    """A picture of each label map (with its spacing in mm), all at one scale, about one middle.

    headings: one for each column; names_of_rows: one for each row, empty if there is none.
    """
    tint = np.ones((256, 3))
    for id, colour in colours.items():
        tint[id] = np.array(colour[:3], float) / 255
    pictures = []
    for row in rows:
        for labels, spacing_mm in row:
            (turned,), spacing = to_lps([labels], spacing_mm, axcodes)
            pictures.append(_render(turned.astype(np.uint8), spacing, tint, view_deg, PIXEL_MM))
    tall, wide = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    squares = [_centred(picture, tall, wide) for picture in pictures]
    ink = np.logical_or.reduce([(square < 1).any(axis=2) for square in squares])
    lines, columns = (np.flatnonzero(ink.any(axis=axis)) if ink.any() else np.array([0, 1]) for axis in (1, 0))
    part = (slice(lines[0], lines[-1] + 1), slice(columns[0], columns[-1] + 1))
    height = CELL_INCHES * (lines[-1] + 1 - lines[0]) / (columns[-1] + 1 - columns[0])
    size = (CELL_INCHES * len(headings) + 0.2, height * len(rows) + 1.4)
    figure = Figure(figsize=size, facecolor=PAPER, dpi=120)
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
        if column == 0 and names_of_rows[line]:
            axes.text(0.0, 0.5, names_of_rows[line], transform=axes.transAxes, rotation=90, fontsize=9, color=INK,
                      va="center", ha="right")  # fmt: skip
    figure.text(0.02, 1 - 0.28 / size[1], title, fontsize=13, weight="bold", color=INK, va="center")
    shown = [id for id in colours if any((labels == id).any() for row in rows for labels, _ in row)]
    handles = [swatch(tint[id], names[id]) for id in shown]
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
