"""The heart's surface before and after, lit and seen from two sides, by casting parallel rays through the label map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.spatial.transform import Rotation

from heartmend.figures.view import INK, PAPER, AxCodes, Volume, box_about, swatch, to_lps

FRONT_AND_BACK = ((-25.0, 10.0), (160.0, 10.0))
CELL_INCHES = 4.6
LIGHT = np.array([-0.35, -0.8, 0.5]) / np.linalg.norm([-0.35, -0.8, 0.5])


def surface_figure(
    before: Volume,
    after: Volume,
    grid_spacing_mm: Sequence[float],
    colours: Mapping[int, Sequence[float]],
    structures: Sequence[int] | None = None,
    names: Mapping[int, str] | None = None,
    axcodes: AxCodes = ("L", "P", "S"),
    title: str = "Before and after mending",
    views_deg: Sequence[tuple[float, float]] = FRONT_AND_BACK,
    pixel_mm: float = 0.7,
) -> Figure:
    """The surface of the whole map, or of some `structures`, before (left) and after (right), one row per view.

    A view is (turn about the patient's length, tilt forward) in degrees; (0, 0) looks from the front.
    """
    chosen = sorted(colours) if structures is None else list(structures)
    turned, spacing = to_lps([before, after], grid_spacing_mm, axcodes)
    maps = [np.where(np.isin(volume, chosen), volume, 0).astype(np.uint8) for volume in turned]
    box = box_about((maps[0] > 0) | (maps[1] > 0), np.ceil(4 / spacing).astype(int))
    tint = np.ones((256, 3))
    for structure in chosen:
        tint[structure] = np.array(colours[structure][:3], float) / 255
    pictures = [
        _trimmed([_render(labels[box], spacing, tint, view, pixel_mm) for labels in maps]) for view in views_deg
    ]

    rows = np.array([CELL_INCHES * pair[0].shape[0] / pair[0].shape[1] for pair in pictures])
    figure = Figure(figsize=(2 * CELL_INCHES, rows.sum() + 1.3), facecolor=PAPER, dpi=120)
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
    shown = [k for k in chosen if (maps[0] == k).any() or (maps[1] == k).any()]
    handles = [swatch(tint[k], (names or {}).get(k, f"structure {k}")) for k in shown]
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


def _render(
    labels: Volume,
    spacing_mm: NDArray[np.float64],
    tint: NDArray[np.float64],
    view: tuple[float, float],
    pixel_mm: float,
) -> NDArray[np.float64]:
    """RGB picture (rows from the top) of the first surface that parallel rays from the front of the view meet."""
    turn = Rotation.from_euler("zx", view, degrees=True).as_matrix()
    size_mm = np.array(labels.shape) * spacing_mm
    reach_mm = np.abs(turn) @ size_mm
    shape = tuple(int(n) for n in np.ceil(reach_mm / pixel_mm))
    matrix = (turn.T * pixel_mm) / spacing_mm[:, None]
    offset = (np.array(labels.shape) - 1) / 2 - matrix @ ((np.array(shape) - 1) / 2)
    seen = affine_transform(labels, matrix, offset, output_shape=shape, order=0)
    solid = gaussian_filter((seen > 0).astype(np.float32), 0.9 / pixel_mm)

    depth = (solid > 0.5).argmax(axis=1)
    hit = np.take_along_axis(solid > 0.5, depth[:, None], axis=1)[:, 0]
    column, row = np.meshgrid(*(np.arange(n) for n in depth.shape), indexing="ij")
    slope = np.stack([_difference(solid, (column, depth, row), axis) for axis in range(3)])
    normal = -slope / np.maximum(np.linalg.norm(slope, axis=0), 1e-6)
    shade = 0.38 + 0.62 * np.clip(np.tensordot(LIGHT, normal, axes=1), 0, 1)
    gloss = 0.16 * np.clip(np.tensordot(LIGHT + np.array([0, -1, 0]), normal, axes=1) / 1.75, 0, 1) ** 14
    haze = 1 - 0.25 * (depth - depth[hit].min()) / max(float(np.ptp(depth[hit])), 1.0) if hit.any() else 1.0
    labels_met = _label_at(seen, depth)
    picture = np.ones((*depth.shape, 3))
    lit = tint[labels_met] * (shade * haze)[..., None] + gloss[..., None]
    picture[hit] = np.clip(lit, 0, 1)[hit]
    return picture.transpose(1, 0, 2)[::-1]


def _difference(field: Volume, at: tuple[Volume, ...], axis: int) -> Volume:
    """Central difference of a field along one axis at some voxels."""
    ahead, behind = list(at), list(at)
    ahead[axis] = np.minimum(at[axis] + 1, field.shape[axis] - 1)
    behind[axis] = np.maximum(at[axis] - 1, 0)
    return np.asarray(field[tuple(ahead)] - field[tuple(behind)])


def _trimmed(pictures: list[NDArray[np.float64]], margin: int = 4) -> list[NDArray[np.float64]]:
    """The pictures without the white border that they share."""
    ink = np.logical_or.reduce([(picture < 1).any(axis=2) for picture in pictures])
    if not ink.any():
        return pictures
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    top, left = max(rows[0] - margin, 0), max(columns[0] - margin, 0)
    return [picture[top : rows[-1] + margin, left : columns[-1] + margin] for picture in pictures]


def _label_at(seen: Volume, depth: NDArray[np.int64]) -> Volume:
    """The label of the first labelled voxel at or just behind each ray's hit."""
    met = np.zeros(depth.shape, seen.dtype)
    for deeper in range(6):
        at = np.minimum(depth + deeper, seen.shape[1] - 1)[:, None]
        here = np.take_along_axis(seen, at, axis=1)[:, 0]
        met = np.where(met == 0, here, met)
    return met
