"""Tools that change a label map by hand. Each returns a new label map; the given one is not changed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude
from skimage.graph import MCP_Geometric
from skimage.segmentation import watershed

from heartmend.errors import BadInputError
from heartmend.geometry.boxes import Box, expand_box, margin_voxels, relative_box
from heartmend.geometry.distance import signed_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.repair.editing.strokes import Stroke, stroke_mask
from heartmend.types import BACKGROUND, FloatArray, Labels

Image = npt.NDArray[np.generic]
EDGE_SIGMA_MM = 0.7
"""Smoothing of the CT before its edges are computed."""
MIN_TOLERANCE_HU, TOLERANCE_SD = 60.0, 2.5
"""A voxel looks like the inside of a structure within these: HU, and standard deviations of its CT."""
WAY_MARGIN_MM = 12.0
"""How far a bridge may leave the box around its ends."""
LUMEN_TOLERANCE_HU = 60.0
"""A voxel whose CT differs by this much from the lumen at the ends costs twice as much to pass."""
MAX_COST = 50.0
END_REACH_MM = 2.0
"""The lumen's CT and radius are measured this far around an end."""


def paint(labels: Labels, grid: Grid, stroke: Stroke, id: int) -> Labels:
    """Give the voxels of a stroke to a structure.

    Args:
        labels: (x, y, z) uint8.
        grid: its grid.
        stroke: the stroke.
        id: id of the structure.

    Returns:
        The new label map.
    """
    box, mask = stroke_mask(stroke, grid)
    painted = labels.copy()
    painted[box][mask] = id
    return painted


def erase(labels: Labels, grid: Grid, stroke: Stroke, id: int) -> Labels:
    """Take the voxels of a stroke from a structure; they become background.

    Args:
        labels: (x, y, z) uint8.
        grid: its grid.
        stroke: the stroke.
        id: id of the structure; others stay.

    Returns:
        The new label map.
    """
    box, mask = stroke_mask(stroke, grid)
    erased = labels.copy()
    erased[box][mask & (labels[box] == id)] = BACKGROUND
    return erased


def grow_to_edge(labels: Labels, image: Image, grid: Grid, stroke: Stroke, id: int) -> Labels:
    """Move the boundary of a structure to the edge of the CT, within a stroke over it.

    The stroke is flooded in the order of the gradient of the CT (watershed), so that the structure and what is around
    it meet at the strongest edge between them. The flood of the structure starts at its voxels that look like its
    inside; that of the background at voxels near the stroke that do not; that of another structure at all of its voxels
    outside the stroke. Only the structure gains and loses voxels.

    Args:
        labels: (x, y, z) uint8.
        image: (x, y, z) CT in HU.
        grid: grid of both.
        stroke: the region in which the boundary may move.
        id: id of the structure.

    Returns:
        The new label map.

    Raises:
        BadInputError: if the stroke does not cross the structure's boundary.
    """
    box, mask = stroke_mask(stroke, grid)
    wide = expand_box(box, margin_voxels(stroke.radius_mm, grid.spacing_mm), grid.shape)
    free = np.zeros(labels[wide].shape, bool)
    free[relative_box(box, wide)] = mask
    part = labels[wide]
    own = part == id
    if not (own & ~free).any() or own[free].all():
        raise BadInputError("the stroke must cross the boundary of the structure; draw over it with a smaller brush")
    hu = np.asarray(image[wide], np.float32)
    inside_hu = hu[own]
    middle = float(np.median(inside_hu))
    # The standard deviation of the inside, unless a large share of the label is wrong.
    spread = 1.48 * float(np.median(np.abs(inside_hu - middle)))
    is_like = np.abs(hu - middle) <= max(MIN_TOLERANCE_HU, TOLERANCE_SD * spread)
    # Markers need numbers above 0; 256 stands for the background. What is unclear is flooded as well.
    markers = np.where(free, 0, part.astype(np.int32))
    markers[own & (free | ~is_like)] = 0
    markers[~free & (part == BACKGROUND) & ~is_like] = 256
    flooded = watershed(gaussian_gradient_magnitude(hu, [EDGE_SIGMA_MM / s for s in grid.spacing_mm]), markers)
    gained = free & (flooded == id)
    lost = free & own & ~gained
    grown = labels.copy()
    grown[wide] = np.where(gained, id, np.where(lost, BACKGROUND, part))
    return grown


def interpolate_slices(labels: Labels, grid: Grid, axis: int, slices: Sequence[int], id: int) -> Labels:
    """Interpolate a structure between slices that were drawn.

    Between two of them, the signed distances to the outline are interpolated linearly (shape-based interpolation, Raya
    and Udupa, IEEE TMI 1990).

    Args:
        labels: (x, y, z) uint8.
        grid: its grid.
        axis: voxel axis across the slices.
        slices: indices of the drawn slices along it.
        id: id of the structure.

    Returns:
        The new label map; the drawn slices, and those before the first and after the last of them, stay.

    Raises:
        BadInputError: if fewer than two slices were drawn, or the structure is on none of them.
    """
    drawn = sorted(set(slices))
    if len(drawn) < 2:
        raise BadInputError("draw the structure on at least two slices of the same plane first")
    planes = np.moveaxis(labels, axis, 0)
    in_plane = tuple(s for a, s in enumerate(grid.spacing_mm) if a != axis)
    masks = {k: planes[k] == id for k in drawn}
    if not any(mask.any() for mask in masks.values()):
        raise BadInputError("the structure is on none of the drawn slices")
    distances = {k: signed_distance_mm(mask[..., None], (*in_plane, 1.0))[..., 0] for k, mask in masks.items()}
    result = planes.copy()
    for first, last in pairwise(drawn):
        for k in range(first + 1, last):
            weight = (k - first) / (last - first)
            inside = (1 - weight) * distances[first] + weight * distances[last] > 0
            result[k] = np.where(inside, id, np.where(result[k] == id, BACKGROUND, result[k]))
    return np.ascontiguousarray(np.moveaxis(result, 0, axis))


def bridge(labels: Labels, image: Image | None, grid: Grid, ends_mm: FloatArray, id: int) -> Labels:
    """Join two ends of a vessel by a tube along the lumen.

    The way is the cheapest one between the ends, where a voxel costs more the more its CT differs from the lumen at
    the ends; without a CT it is straight. The radius of the tube changes linearly from that of the vessel at one end
    to that at the other.

    Args:
        labels: (x, y, z) uint8.
        image: (x, y, z) CT in HU; None without one.
        grid: grid of both.
        ends_mm: (2, 3) the ends, RAS+ mm.
        id: id of the vessel.

    Returns:
        The new label map; the tube takes background only.

    Raises:
        BadInputError: if an end is outside the grid, or the vessel is not at either of them.
    """
    ends = np.rint(grid.world_to_index(np.asarray(ends_mm, float))).astype(int)
    if (ends < 0).any() or (ends >= grid.shape).any():
        raise BadInputError("an end of the bridge is outside the displayed part")
    low, high = ends.min(axis=0), ends.max(axis=0) + 1
    around: Box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    box = expand_box(around, margin_voxels(WAY_MARGIN_MM, grid.spacing_mm), grid.shape)
    start = np.array([side.start for side in box])
    part, spacing = labels[box], np.array(grid.spacing_mm)
    depth_mm = signed_distance_mm(part == id, grid.spacing_mm)
    middles = [middle for end in ends if (middle := _middle(depth_mm, end - start, spacing)) is not None]
    if not middles:
        raise BadInputError("the structure is at neither end of the bridge; set both ends on it")
    radii_mm = [max(float(depth_mm[middle]), spacing.min() / 2) for middle in middles]
    # An end without a vessel is as wide as the other one.
    first_mm, last_mm = radii_mm[0], radii_mm[-1]
    if image is None:
        cost = np.ones(part.shape)
    else:
        # Smoothed, so that the middle of the lumen is cheaper than its rim.
        hu = gaussian_filter(np.asarray(image[box], np.float32), [EDGE_SIGMA_MM / s for s in spacing])
        lumen = float(np.mean([hu[middle] for middle in middles]))
        cost = np.minimum(1.0 + ((hu - lumen) / LUMEN_TOLERANCE_HU) ** 2, MAX_COST)
    # Other structures are passed only where there is no other way.
    cost = np.where((part != BACKGROUND) & (part != id), MAX_COST, cost)
    router = MCP_Geometric(cost, sampling=grid.spacing_mm)
    router.find_costs([tuple(ends[0] - start)], [tuple(ends[1] - start)])
    way = np.array(router.traceback(tuple(ends[1] - start))) + start
    result = labels.copy()
    radii = np.linspace(first_mm, last_mm, len(way))
    for index, radius in zip(way, radii, strict=True):
        ball_box, ball = stroke_mask(Stroke(grid.index_to_world(index)[None], radius), grid)
        inside = result[ball_box]
        inside[ball & (inside == BACKGROUND)] = id
    return result


def _middle(
    depth_mm: npt.NDArray[np.float32], at: npt.NDArray[np.integer], spacing_mm: FloatArray
) -> tuple[int, int, int] | None:
    """The deepest voxel of a vessel near an end; None where there is no vessel."""
    reach = np.ceil(END_REACH_MM / spacing_mm).astype(int)
    low = np.maximum(at - reach, 0)
    near = depth_mm[tuple(slice(a, b) for a, b in zip(low, at + reach + 1, strict=True))]
    if near.max() <= 0:
        return None
    i, j, k = np.unravel_index(int(near.argmax()), near.shape) + low
    return int(i), int(j), int(k)
