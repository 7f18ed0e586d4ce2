"""Straightened vessels: the CT along each vessel, with the outlines of its label before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from heartmend.figures.planes import WINDOW_HU
from heartmend.figures.style import ADDED, DPI, IMAGE_BACKGROUND, INK, PAPER, REMOVED
from heartmend.geometry.curves import FramedCurve
from heartmend.geometry.grid import Grid
from heartmend.types import FloatArray, Mask

HALF_WIDTH_MM, ACROSS_MM = 8.0, 0.25
"""Half of the height of a strip, and the distance of its samples across the vessel."""
MM_PER_INCH = 15.0
ANGLES = (0.0, np.pi / 2)
"""A vessel is cut in two planes at a right angle."""


@dataclass(frozen=True, eq=False)
class StraightVessel:
    """Vessel that is shown straightened.

    Attributes:
        name: its name.
        curve: its centreline, RAS+ mm.
    """

    name: str
    curve: FramedCurve


def straightened_figure(
    vessels: Sequence[StraightVessel],
    before: Mask,
    after: Mask,
    grid: Grid,
    image: NDArray[np.generic],
    title: str = "Straightened vessels",
) -> Figure:
    """Draw the straightened curved planar reformations of vessels, two planes of each.

    Args:
        vessels: the vessels, each from its origin at the left to its tip.
        before: (x, y, z) bool, label of the vessels before the repair.
        after: (x, y, z) bool, the repaired one.
        grid: where the voxels are.
        image: (x, y, z) CT in HU on the same voxels.
        title: title of the figure.

    Returns:
        The figure: lengths along and across a vessel are those of the body, at the scale of its bar.
    """
    longest = max(vessel.curve.length_mm for vessel in vessels)
    rows = len(vessels) * len(ANGLES)
    strip = 2 * HALF_WIDTH_MM / MM_PER_INCH
    width, tall = max(longest / MM_PER_INCH, 5.0) + 1.4, rows * (strip + 0.08) + 1.3
    figure = Figure(figsize=(width, tall), facecolor=PAPER, dpi=DPI)
    FigureCanvasAgg(figure)
    grid_spec = figure.add_gridspec(
        rows, 1, left=1.2 / width, right=1 - 0.1 / width, bottom=0.5 / tall, top=1 - 0.6 / tall, hspace=0.08
    )
    for row in range(rows):
        vessel, angle = vessels[row // len(ANGLES)], ANGLES[row % len(ANGLES)]
        axes = figure.add_subplot(grid_spec[row])
        cuts = {
            name: straightened(volume, grid, vessel.curve, angle, order)
            for name, volume, order in (("image", image, 1), ("before", before, 0), ("after", after, 0))
        }
        _draw(axes, cuts, vessel.curve.step_mm, longest)
        text = f"{vessel.name}\n{vessel.curve.length_mm:.0f} mm" if angle == ANGLES[0] else "at a right\nangle"
        axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=9, color=INK, labelpad=6)
    last = figure.axes[-1]
    last.plot([longest - 20, longest], [HALF_WIDTH_MM - 1.5] * 2, color="white", linewidth=2.2, solid_capstyle="butt")
    last.text(longest - 10, HALF_WIDTH_MM - 2.2, "20 mm", color="white", fontsize=7.5, ha="center", va="bottom")
    figure.text(0.02, 1 - 0.3 / tall, title, fontsize=12, color=INK, weight="bold")
    lines = [Line2D([], [], color=REMOVED, linewidth=1.2, linestyle=(0, (2.2, 1.6))), Line2D([], [], color=ADDED)]
    figure.legend(
        lines, ["label before", "label after"], loc="lower center", ncols=2, frameon=False, fontsize=9,
        bbox_to_anchor=(0.5, 0.02 / tall),
    )  # fmt: skip
    return figure


def straightened(
    volume: NDArray[np.generic], grid: Grid, curve: FramedCurve, angle: float, order: int
) -> NDArray[np.float64]:
    """Sample a volume on the straightened reformation of a vessel.

    Args:
        volume: (x, y, z).
        grid: where its voxels are.
        curve: centreline of the vessel, RAS+ mm.
        angle: by which the plane is turned about the vessel, in radians.
        order: 1 for linear interpolation, 0 for the nearest voxel.

    Returns:
        (across, along) values, `ACROSS_MM` and the step of the curve apart; 0 outside the volume.
    """
    count = 2 * round(HALF_WIDTH_MM / ACROSS_MM) + 1
    points: FloatArray = curve.straightened(HALF_WIDTH_MM, count, angle)
    index = grid.world_to_index(points.reshape(-1, 3)).T
    values = map_coordinates(np.asarray(volume, np.float32), index, order=order, mode="constant")
    return np.asarray(values.reshape(points.shape[:2]).T, np.float64)


def _draw(axes: Axes, cuts: dict[str, NDArray[np.float64]], step_mm: float, longest_mm: float) -> None:
    rows, columns = cuts["image"].shape
    extent = (0.0, (columns - 1) * step_mm, HALF_WIDTH_MM, -HALF_WIDTH_MM)
    low, high = WINDOW_HU
    axes.imshow(cuts["image"], extent=extent, cmap="gray", vmin=low, vmax=high, interpolation="bilinear")
    x, y = np.linspace(extent[0], extent[1], columns), np.linspace(-HALF_WIDTH_MM, HALF_WIDTH_MM, rows)
    for name, colour, style in (("before", REMOVED, [(0, (2.2, 1.6))]), ("after", ADDED, "solid")):
        mask = cuts[name]
        if mask.any() and not mask.all():
            axes.contour(x, y, mask, [0.5], colors=[colour], linewidths=1.0, linestyles=style)
    axes.set_aspect("equal")
    axes.set(xticks=[], yticks=[], xlim=(0, longest_mm), ylim=(HALF_WIDTH_MM, -HALF_WIDTH_MM))
    axes.set_facecolor(IMAGE_BACKGROUND)
    for spine in axes.spines.values():
        spine.set_visible(False)
