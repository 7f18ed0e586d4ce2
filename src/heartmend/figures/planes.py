"""Label maps before and after and their changes, in three orthogonal planes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from heartmend.figures.style import (
    ADDED,
    DPI,
    IMAGE_BACKGROUND,
    INK,
    PAPER,
    RELABELLED,
    REMOVED,
    StructureStyle,
    swatch,
)
from heartmend.figures.view import BeforeAfter, Volume, box_about, largest_change, to_lps, voxel_in_lps

WINDOW_HU = (-160.0, 560.0)
MARGIN_MM = 9.0
CELL_INCHES = 3.5
Colour = tuple[float, float, float]
COLUMNS = ("before", "after", "changes")


@dataclass(frozen=True)
class _Plane:
    """Plane across one axis of an LPS volume, with the patient's directions at its left, right, top and bottom."""

    name: str
    axis: int
    sides: tuple[str, str, str, str]

    def of(self, volume: Volume, index: int) -> Volume:
        """Cut a volume at an index; rows from the top."""
        cut = np.take(volume, index, axis=self.axis).T
        return np.asarray(cut if self.axis == 2 else cut[::-1])


PLANES = (
    _Plane("axial", 2, ("R", "L", "A", "P")),
    _Plane("coronal", 1, ("R", "L", "S", "I")),
    _Plane("sagittal", 0, ("A", "P", "S", "I")),
)


def before_after_figure(
    maps: BeforeAfter,
    style: StructureStyle,
    title: str = "Before and after repair",
    through: Sequence[int] | None = None,
) -> Figure:
    """Draw three planes of a case: one row for each plane; columns before, after and changes.

    Args:
        maps: the label maps of a case, with image and truth if there are any; the truth is a dashed outline.
        style: colours and names of the structures.
        title: title of the figure.
        through: index of the voxel that the planes go through, in the volumes' own order; the centre of the largest
            change if None.

    Returns:
        The figure.
    """
    given = {"before": maps.before, "after": maps.after, "image": maps.image, "truth": maps.truth}
    present = {name: volume for name, volume in given.items() if volume is not None}
    turned, spacing = to_lps(list(present.values()), maps.spacing_mm, maps.axcodes)
    volumes = dict(zip(present, turned, strict=True))
    if through is None:
        centre = largest_change(volumes["before"], volumes["after"], spacing)
    else:
        centre = voxel_in_lps(through, maps.before.shape, maps.axcodes)
    shown = (volumes["before"] > 0) | (volumes["after"] > 0)
    shown[tuple(centre)] = True
    box = box_about(shown, np.ceil(MARGIN_MM / spacing).astype(int))
    volumes = {name: volume[box] for name, volume in volumes.items()}
    centre = centre - [side.start for side in box]

    extent = np.array(volumes["before"].shape) * spacing
    widths, heights = extent[[0, 0, 1]], extent[[1, 2, 2]]
    rows = CELL_INCHES * heights / widths.max()
    figure = Figure(figsize=(3 * CELL_INCHES + 0.6, rows.sum() + 1.95), facecolor=PAPER, dpi=DPI)
    FigureCanvasAgg(figure)
    tall = figure.get_figheight()
    grid = figure.add_gridspec(
        3,
        3,
        height_ratios=rows,
        left=0.035,
        right=0.99,
        bottom=0.8 / tall,
        top=1 - 1.0 / tall,
        wspace=0.03,
        hspace=0.04,
    )
    tint = {k: (float(c[0]) / 255, float(c[1]) / 255, float(c[2]) / 255) for k, c in style.colours.items()}
    for row, plane in enumerate(PLANES):
        cuts = {name: plane.of(volume, int(centre[plane.axis])) for name, volume in volumes.items()}
        step = (spacing[1 if plane.axis == 0 else 0], spacing[1 if plane.axis == 2 else 2])
        for column, heading in enumerate(COLUMNS):
            axes = figure.add_subplot(grid[row, column])
            _draw(axes, cuts, heading, step, tint)
            _orient(axes, plane, cuts["before"].shape, step, widths.max(), scale_bar=row == column == 0)
            if row == 0:
                axes.set_title(heading, fontsize=11, color=INK, pad=5)
            if column == 0:
                axes.set_ylabel(plane.name, fontsize=10, color=INK, labelpad=4)
    where = "the largest change" if through is None else f"voxel {', '.join(map(str, through))}"
    _heading(figure, title, where, maps, float(np.prod(spacing)))
    _legend(figure, volumes, tint, style)
    return figure


def _draw(
    axes: Axes,
    cuts: Mapping[str, Volume],
    heading: str,
    step: tuple[float, float],
    tint: Mapping[int, Colour],
) -> None:
    rows, columns = cuts["before"].shape
    extent = (0.0, columns * step[0], rows * step[1], 0.0)
    image = cuts.get("image")
    if image is None:
        axes.imshow(np.full((rows, columns, 3), 0.07), extent=extent, interpolation="nearest")
    else:
        low, high = WINDOW_HU
        dimmed = 0.55 if heading == COLUMNS[2] else 1.0
        axes.imshow(image, extent=extent, cmap="gray", vmin=low, vmax=high, interpolation="bilinear", alpha=dimmed)
    before, after = cuts["before"], cuts["after"]
    if heading == COLUMNS[2]:
        axes.imshow(_changes(before, after), extent=extent, interpolation="nearest")
        _outline(axes, after, step, dict.fromkeys(tint, (1.0, 1.0, 1.0)), width=0.6, alpha=0.55)
    else:
        labels = before if heading == COLUMNS[0] else after
        fill = np.zeros((rows, columns, 4))
        for structure, colour in tint.items():
            fill[labels == structure] = (*colour, 0.72 if image is None else 0.18)
        axes.imshow(fill, extent=extent, interpolation="nearest")
        _outline(axes, labels, step, tint, width=1.3, alpha=1.0)
    if "truth" in cuts:
        _outline(axes, cuts["truth"], step, dict.fromkeys(tint, (1.0, 1.0, 1.0)), width=0.7, alpha=0.9, dashed=True)


def _changes(before: Volume, after: Volume) -> NDArray[np.float64]:
    picture = np.zeros((*before.shape, 4))
    changed = before != after
    for where, colour in (
        (changed & (before == 0), ADDED),
        (changed & (after == 0), REMOVED),
        (changed & (before > 0) & (after > 0), RELABELLED),
    ):
        picture[where] = (*(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)), 0.95)
    return picture


def _outline(
    axes: Axes,
    labels: Volume,
    step: tuple[float, float],
    tint: Mapping[int, Colour],
    width: float,
    alpha: float,
    dashed: bool = False,
) -> None:
    x = (np.arange(labels.shape[1]) + 0.5) * step[0]
    y = (np.arange(labels.shape[0]) + 0.5) * step[1]
    for structure, colour in tint.items():
        mask = labels == structure
        if mask.any() and not mask.all():
            style = [(0, (2.2, 1.6))] if dashed else "solid"
            axes.contour(x, y, mask, [0.5], colors=[colour], linewidths=width, alpha=alpha, linestyles=style)


def _orient(
    axes: Axes, plane: _Plane, shape: tuple[int, ...], step: tuple[float, float], widest_mm: float, scale_bar: bool
) -> None:
    """Set the common scale of the planes and draw the patient's directions at the edges."""
    width, height = shape[1] * step[0], shape[0] * step[1]
    axes.set_aspect("equal")
    slack = (widest_mm - width) / 2
    axes.set_xlim(-slack, width + slack)
    axes.set_ylim(height, 0)
    axes.set_facecolor(IMAGE_BACKGROUND)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    left, right, top, bottom = plane.sides
    for x, y, letter in ((0.02, 0.5, left), (0.98, 0.5, right), (0.5, 0.97, top), (0.5, 0.03, bottom)):
        across = "left" if x < 0.1 else "right" if x > 0.9 else "center"
        upright = "top" if y > 0.9 else "bottom" if y < 0.1 else "center"
        axes.text(
            x,
            y,
            letter,
            transform=axes.transAxes,
            color="white",
            fontsize=8,
            ha=across,
            va=upright,
            path_effects=[withStroke(linewidth=2, foreground=IMAGE_BACKGROUND)],
        )
    if scale_bar:
        end, base = width + slack - 5, height - 5
        axes.plot([end - 20, end], [base, base], color="white", linewidth=2.2, solid_capstyle="butt")
        axes.text(end - 10, base - 2.5, "20 mm", color="white", fontsize=7.5, ha="center", va="bottom")


def _heading(figure: Figure, title: str, where: str, maps: BeforeAfter, voxel_mm3: float) -> None:
    before, after = maps.before, maps.after
    tall = figure.get_figheight()
    millilitres = voxel_mm3 / 1000
    added = np.count_nonzero((before == 0) & (after > 0)) * millilitres
    removed = np.count_nonzero((before > 0) & (after == 0)) * millilitres
    relabelled = np.count_nonzero((before > 0) & (after > 0) & (before != after)) * millilitres
    figure.text(0.035, 1 - 0.28 / tall, title, fontsize=14, weight="bold", color=INK, va="center")
    note = f"in the full volume: {added:.1f} ml added, {removed:.1f} ml removed, {relabelled:.1f} ml relabelled"
    figure.text(0.035, 1 - 0.55 / tall, f"planes through {where} · {note}", fontsize=9, color=INK, va="center")


def _legend(figure: Figure, volumes: Mapping[str, Volume], tint: Mapping[int, Colour], style: StructureStyle) -> None:
    shown = set(np.unique(volumes["before"])) | set(np.unique(volumes["after"]))
    handles: list[Patch | Line2D] = [
        swatch(colour, style.name(structure), alpha=0.72) for structure, colour in tint.items() if structure in shown
    ]
    changes: list[Patch | Line2D] = [
        swatch(to_rgb(c), n) for c, n in ((ADDED, "added"), (REMOVED, "removed"), (RELABELLED, "relabelled"))
    ]
    if "truth" in volumes:
        changes.append(Line2D([], [], color="gray", linewidth=1, linestyle=(0, (2.2, 1.6)), label="truth"))
    tall = figure.get_figheight()
    text = {"frameon": False, "fontsize": 8.5, "handlelength": 1.3, "columnspacing": 1.3, "labelcolor": INK}
    figure.legend(handles=handles, loc="center", bbox_to_anchor=(0.5, 0.52 / tall), ncol=max(len(handles), 1), **text)
    figure.legend(handles=changes, loc="center", bbox_to_anchor=(0.5, 0.22 / tall), ncol=len(changes), **text)
