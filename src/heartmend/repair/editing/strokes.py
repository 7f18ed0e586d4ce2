"""Strokes of a brush: the voxels within a radius of a drawn line, in space or in one slice."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree

from heartmend.geometry.boxes import Box
from heartmend.geometry.grid import Grid
from heartmend.types import FloatArray, Mask


@dataclass(frozen=True, eq=False)
class Stroke:
    """Line that was drawn with a round brush.

    Attributes:
        points_mm: (n, 3) its points, RAS+ mm, at least one.
        radius_mm: radius of the brush.
        axis: voxel axis across the slice that was drawn on; None: the brush is a ball.
    """

    points_mm: FloatArray
    radius_mm: float
    axis: int | None = None


def slice_of(stroke: Stroke, grid: Grid) -> int:
    """Find the slice that a stroke was drawn on.

    Args:
        stroke: a stroke with an axis.
        grid: the grid.

    Returns:
        Index of the slice along the axis of the stroke.
    """
    assert stroke.axis is not None
    return int(np.rint(grid.world_to_index(stroke.points_mm)[0, stroke.axis]))


def stroke_mask(stroke: Stroke, grid: Grid) -> tuple[Box, Mask]:
    """Find the voxels of a stroke: those whose centre is within the radius of the line.

    Args:
        stroke: the stroke.
        grid: the grid.

    Returns:
        A box of the grid, and the mask of the stroke in it; the box is empty where the stroke is outside the grid.

    Example:
        >>> grid = Grid((9, 9, 9), np.eye(4))
        >>> box, mask = stroke_mask(Stroke(np.array([[4.0, 4.0, 4.0]]), 1.0), grid)
        >>> int(mask.sum()), int(stroke_mask(Stroke(np.array([[4.0, 4.0, 4.0]]), 1.0, 2), grid)[1].sum())
        (7, 5)
    """
    index = np.atleast_2d(grid.world_to_index(stroke.points_mm)).astype(float)
    spacing = np.array(grid.spacing_mm)
    if stroke.axis is not None:
        index[:, stroke.axis] = slice_of(stroke, grid)
    reach = stroke.radius_mm / spacing
    if stroke.axis is not None:
        reach[stroke.axis] = 0.0
    low = np.maximum(np.ceil(index.min(axis=0) - reach - 1e-6), 0).astype(int)
    high = np.minimum(np.floor(index.max(axis=0) + reach + 1e-6) + 1, grid.shape).astype(int)
    high = np.maximum(high, low)
    box: Box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    shape = tuple(high - low)
    if 0 in shape:
        return box, np.zeros(shape, bool)
    # The voxel axes are at right angles: lengths along them are lengths in space.
    tree = cKDTree(_dense(index * spacing, spacing.min() / 4))
    centres = (np.indices(shape).reshape(3, -1).T + low) * spacing
    near, _ = tree.query(centres, distance_upper_bound=stroke.radius_mm * (1 + 1e-9) + 1e-9)
    return box, np.isfinite(near).reshape(shape)


def _dense(points_mm: FloatArray, step_mm: float) -> FloatArray:
    """Points along a line with at most `step_mm` between two of them."""
    parts = [points_mm[:1]]
    for start, end in pairwise(points_mm):
        count = max(int(np.ceil(np.linalg.norm(end - start) / step_mm)), 1)
        parts.append(start + np.arange(1, count + 1)[:, None] / count * (end - start))
    return np.concatenate(parts)
