"""Rendered surfaces of a heart before and after, by casting parallel rays through the label map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.spatial.transform import Rotation

from heartmend.figures.style import DPI, INK, PAPER, StructureStyle, swatch
from heartmend.figures.view import BeforeAfter, Volume, box_about, to_lps

FRONT_AND_BACK = ((-25.0, 10.0), (160.0, 10.0))
CELL_INCHES = 4.6
GROUND = (0.933, 0.945, 0.957)
"""Background: light, and darker than the palest structure."""
OUTLINE_STEP_MM = 4.0
"""A step in depth from one pixel to the next that gets an outline, as the border of two structures does."""
LIGHT = np.array([-0.35, -0.8, 0.5]) / np.linalg.norm([-0.35, -0.8, 0.5])


def surface_figure(
    maps: BeforeAfter,
    style: StructureStyle,
    structures: Sequence[int] | None = None,
    title: str = "Before and after repair",
    views_deg: Sequence[tuple[float, float]] = FRONT_AND_BACK,
    pixel_mm: float = 0.5,
) -> Figure:
    """Render the surfaces before (left) and after (right), one row for each view.

    Args:
        maps: the label maps of a case; image and truth are not used.
        style: colours and names of the structures.
        structures: ids of the structures to render; all if None.
        title: title of the figure.
        views_deg: for each view the rotation about the patient's long axis and the tilt forward in degrees; (0, 0) is
            the view from the front.
        pixel_mm: pixel size in mm.

    Returns:
        The figure.
    """
    chosen = sorted(style.colours) if structures is None else list(structures)
    turned, spacing = to_lps([maps.before, maps.after], maps.spacing_mm, maps.axcodes)
    both = [np.where(np.isin(volume, chosen), volume, 0).astype(np.uint8) for volume in turned]
    box = box_about((both[0] > 0) | (both[1] > 0), np.ceil(4 / spacing).astype(int))
    table = style.table(chosen)
    pictures = [
        _trimmed([render_surface(labels[box], spacing, table, view, pixel_mm) for labels in both]) for view in views_deg
    ]

    rows = np.array([CELL_INCHES * pair[0].shape[0] / pair[0].shape[1] for pair in pictures])
    figure = Figure(figsize=(2 * CELL_INCHES, rows.sum() + 1.3), facecolor=PAPER, dpi=DPI)
    FigureCanvasAgg(figure)
    tall = figure.get_figheight()
    grid = figure.add_gridspec(
        len(rows),
        2,
        height_ratios=rows,
        left=0.01,
        right=0.99,
        bottom=0.45 / tall,
        top=1 - 0.8 / tall,
        wspace=0.02,
        hspace=0.02,
    )
    for row, pair in enumerate(pictures):
        for column, (picture, heading) in enumerate(zip(pair, ("before", "after"), strict=True)):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(picture, interpolation="bicubic")
            axes.set_axis_off()
            if row == 0:
                axes.set_title(heading, fontsize=11, color=INK)
    figure.text(0.02, 1 - 0.28 / tall, title, fontsize=14, weight="bold", color=INK, va="center")
    shown = [k for k in chosen if (both[0] == k).any() or (both[1] == k).any()]
    handles = [swatch(table[k], style.name(k)) for k in shown]
    figure.legend(
        handles=handles,
        loc="center",
        bbox_to_anchor=(0.5, 0.22 / tall),
        ncol=max(len(handles), 1),
        frameon=False,
        fontsize=8,
        handlelength=1.1,
        columnspacing=1.0,
        labelcolor=INK,
    )
    return figure


def render_surface(
    labels: Volume,
    spacing_mm: NDArray[np.float64],
    table: NDArray[np.float64],
    view_deg: tuple[float, float],
    pixel_mm: float,
) -> NDArray[np.float64]:
    """Render the surface of a label map, by parallel rays from the front of the view.

    Args:
        labels: label map (x, y, z), uint8, in LPS orientation.
        spacing_mm: (3,) voxel size in mm.
        table: (256, 3) colour of each id, 0 to 1.
        view_deg: rotation about the long axis and tilt forward in degrees.
        pixel_mm: pixel size in mm.

    Returns:
        Picture (row, column, RGB), float64, 0 to 1, rows from the top; `GROUND` where there is no surface. Structures
        and steps in depth have a dark outline.
    """
    turn = Rotation.from_euler("zx", view_deg, degrees=True).as_matrix()
    size_mm = np.array(labels.shape) * spacing_mm
    reach_mm = np.abs(turn) @ size_mm
    shape = tuple(int(n) for n in np.ceil(reach_mm / pixel_mm))
    matrix = (turn.T * pixel_mm) / spacing_mm[:, None]
    offset = (np.array(labels.shape) - 1) / 2 - matrix @ ((np.array(shape) - 1) / 2)
    rotated = affine_transform(labels, matrix, offset, output_shape=shape, order=0)
    solid = gaussian_filter((rotated > 0).astype(np.float32), 0.9 / pixel_mm)

    depth = (solid > 0.5).argmax(axis=1)
    hit = np.take_along_axis(solid > 0.5, depth[:, None], axis=1)[:, 0]
    column, row = np.meshgrid(*(np.arange(n) for n in depth.shape), indexing="ij")
    slope = np.stack([_difference(solid, (column, depth, row), axis) for axis in range(3)])
    normal = -slope / np.maximum(np.linalg.norm(slope, axis=0), 1e-6)
    shade = 0.38 + 0.62 * np.clip(np.tensordot(LIGHT, normal, axes=1), 0, 1)
    gloss = 0.16 * np.clip(np.tensordot(LIGHT + np.array([0, -1, 0]), normal, axes=1) / 1.75, 0, 1) ** 14
    haze = 1 - 0.25 * (depth - depth[hit].min()) / max(float(np.ptp(depth[hit])), 1.0) if hit.any() else 1.0
    surface_labels = _label_at(rotated, depth)
    picture = np.tile(GROUND, (*depth.shape, 1))
    lit = table[surface_labels] * (shade * haze)[..., None] + gloss[..., None]
    shown_depth = np.where(hit, depth * pixel_mm, np.inf)
    lit *= np.where(_outline(np.where(hit, surface_labels, 0), shown_depth), 0.5, 1.0)[..., None]
    picture[hit] = np.clip(lit, 0, 1)[hit]
    return picture.transpose(1, 0, 2)[::-1]


def _outline(labels: Volume, depth_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The pixels at which a structure ends, or the surface lies nearer than beside it."""
    found = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        for shift in (1, -1):
            beside_mm = np.roll(depth_mm, shift, axis)
            with np.errstate(invalid="ignore"):
                nearer = beside_mm - depth_mm > OUTLINE_STEP_MM
            found |= nearer | ((np.roll(labels, shift, axis) != labels) & (depth_mm <= beside_mm))
    return found


def _difference(field: Volume, at: tuple[Volume, ...], axis: int) -> Volume:
    """Central difference of a field along one axis at given voxels."""
    ahead, behind = list(at), list(at)
    ahead[axis] = np.minimum(at[axis] + 1, field.shape[axis] - 1)
    behind[axis] = np.maximum(at[axis] - 1, 0)
    return np.asarray(field[tuple(ahead)] - field[tuple(behind)])


def _trimmed(pictures: list[NDArray[np.float64]], margin: int = 4) -> list[NDArray[np.float64]]:
    """The pictures without their common border of ground."""
    ink = np.logical_or.reduce([(picture != GROUND).any(axis=2) for picture in pictures])
    if not ink.any():
        return pictures
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    top, left = max(rows[0] - margin, 0), max(columns[0] - margin, 0)
    return [picture[top : rows[-1] + margin, left : columns[-1] + margin] for picture in pictures]


def _label_at(labels: Volume, depth: NDArray[np.int64]) -> Volume:
    """Label of the first voxel that is not background, at or behind the hit of each ray."""
    found = np.zeros(depth.shape, labels.dtype)
    for deeper in range(6):
        at = np.minimum(depth + deeper, labels.shape[1] - 1)[:, None]
        label = np.take_along_axis(labels, at, axis=1)[:, 0]
        found = np.where(found == 0, label, found)
    return found
