"""Movement of the boundaries of a label map to the edges of its image.

At each voxel of a border, the distance to the surface by the fitted shapes and the distance to the edge by the image
are averaged, each weighted by its variance. Nothing is learned from the labels voxel by voxel, so none of their noise
is learned: a border has a level and a slope that vary over centimetres, and one variance of the shapes. Where the image
has no edge, such as between an atrium and its appendage, its variance is infinite and the boundary stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.distance import DistanceMap, signed_distance_mm, smooth_distance_mm
from heartmend.io.hounsfield import HEART_WINDOW_HU
from heartmend.repair.image_edges.borders import MIN_VOXELS, Border, borders
from heartmend.repair.image_edges.edges import Edge, find_edge, noise_of
from heartmend.types import BACKGROUND, Labels, Mask

REACH_MM = 2.0
"""Largest movement of a boundary in a round."""
ROUNDS = 2
INNER_MM = 2.5
"""Depth in a structure beyond which the image noise is measured."""
SHAPE_SPREAD_MM, THIN_SHAPE_SPREAD_MM = (0.25, 0.8), (0.25, 0.3)
"""Limits of the standard deviation of the shapes' surfaces, which is estimated from the image. The upper one is lower
for thin vessels, because the image blurs their width."""
MISMATCH_MM = 0.9
"""If the median spread of the borders is larger, labels and image do not show the same heart."""
THIN_UNEVENNESS = 0.1
"""Share of the intensity variance along a thin vessel's edge that counts as noise: width and brightness vary along the
vessel."""


@dataclass(frozen=True, eq=False)
class SnapResult:
    """Label map after its boundaries were moved to the edges of the image.

    Attributes:
        labels: (x, y, z) uint8.
        spread_mm: for each border (two ids) with an edge in the image, the standard deviation of the distance between
            the shapes' surface and that edge.
        mismatch: labels and image do not show the same heart, and nothing was moved.
    """

    labels: Labels
    spread_mm: dict[tuple[int, int], float]
    mismatch: bool


def snap_to_image_edges(
    labels: Labels,
    maps: Mapping[int, DistanceMap],
    image: npt.NDArray[np.generic],
    spacing_mm: tuple[float, float, float],
    movable: Collection[int],
    thin: Collection[int] = (),
) -> SnapResult:
    """Move the boundaries of a label map to the edges of its image.

    Args:
        labels: (x, y, z) uint8, the label map by the fitted shapes.
        maps: distance map (x, y, z) of each structure of the label map, by id.
        image: (x, y, z), CT image in HU on the same voxels.
        spacing_mm: voxel spacing.
        movable: ids whose boundaries may move. A border moves if both of its structures are movable; the background
            always is.
        thin: ids of thin vessels, whose boundaries move in the first round only.

    Returns:
        The moved label map, or the unchanged one if the image is flat or does not show the same heart.
    """
    intensity = np.clip(np.asarray(image, np.float32), *HEART_WINDOW_HU)
    noise = noise_of(intensity, [d.steps > INNER_MM / d.step_mm for d in maps.values()], spacing_mm)
    movable = {*movable, BACKGROUND}
    # A flat image has no edges.
    if noise <= 0:
        return SnapResult(labels, {}, False)
    result = first = _snapped_once(labels, maps, intensity, spacing_mm, noise, movable, {*thin})
    if first.spread_mm and float(np.median([*first.spread_mm.values()])) > MISMATCH_MM:
        return SnapResult(labels, first.spread_mm, True)
    for _ in range(ROUNDS - 1):
        maps = smooth_maps(result.labels, maps, spacing_mm, thin)
        # A second round would fit the surface of a vessel of two voxels to the image noise.
        result = _snapped_once(result.labels, maps, intensity, spacing_mm, noise, movable - {*thin}, {*thin})
    return SnapResult(result.labels, first.spread_mm, False)


def _snapped_once(
    labels: Labels, maps: Mapping[int, DistanceMap], intensity: npt.NDArray[np.float32],
    spacing_mm: tuple[float, float, float], noise: float, movable: set[int], thin: set[int],
) -> SnapResult:  # fmt: skip
    """Move every border once."""
    spreads = dict[tuple[int, int], float]()
    voxel_mm = float(np.prod(spacing_mm)) ** (1 / 3)
    moved, values = labels.ravel().copy(), intensity.ravel()
    for border in borders(maps, REACH_MM):
        pair = (border.low, border.high)
        if not movable.issuperset(pair):
            continue
        is_thin = not thin.isdisjoint(pair)
        places = np.stack(np.unravel_index(border.voxels, labels.shape), axis=1) * np.asarray(spacing_mm, np.float32)
        unevenness = THIN_UNEVENNESS if is_thin else 0.0
        edge = find_edge(border, values[border.voxels], places.astype(np.float32), noise, voxel_mm, unevenness)
        spread_mm = _shape_spread_mm(border, edge)
        if spread_mm is not None:
            spreads[pair] = round(spread_mm, 3)
        limits = THIN_SHAPE_SPREAD_MM if is_thin else SHAPE_SPREAD_MM
        weight = float(np.clip(spread_mm or 0.0, *limits)) ** 2 / edge.variance_mm2
        is_high = border.depth_mm + edge.distance_mm * weight > 0
        current = moved[border.voxels]
        # A voxel that a third structure holds by its priority does not change.
        in_pair = (current == border.low) | (current == border.high)
        moved[border.voxels[in_pair]] = np.where(is_high, border.high, border.low)[in_pair]
    return SnapResult(moved.reshape(labels.shape), spreads, False)


def _shape_spread_mm(border: Border, edge: Edge) -> float | None:
    """Estimate the standard deviation of the shapes' surface along a border, by its distance to the image's edge.

    The variance of the edge itself is subtracted. None if too few voxels have a clear edge.
    """
    clear = (np.abs(border.depth_mm) < 1.0) & (edge.variance_mm2 < 0.5)
    if np.count_nonzero(clear) < MIN_VOXELS:
        return None
    difference = (edge.distance_mm - border.depth_mm)[clear]
    spread = 1.4826 * float(np.median(np.abs(difference - np.median(difference))))
    return float(np.sqrt(max(spread**2 - float(np.median(edge.variance_mm2[clear])), 0.0)))


def smooth_maps(
    labels: Labels, ids: Iterable[int], spacing_mm: tuple[float, float, float], thin: Collection[int] = ()
) -> dict[int, DistanceMap]:
    """Compute distance maps of structures without the corners of their voxels.

    Args:
        labels: (x, y, z) uint8.
        ids: ids of the structures.
        spacing_mm: voxel spacing.
        thin: ids of thin vessels, whose maps are not smoothed.

    Returns:
        Distance map (x, y, z) of each structure, by id; exact up to 2 mm beyond `REACH_MM`.
    """
    return {
        id: _map_near_surface(labels == id, spacing_mm, signed_distance_mm if id in thin else smooth_distance_mm)
        for id in ids
    }


def _map_near_surface(
    mask: Mask,
    spacing_mm: tuple[float, float, float],
    distance_mm: Callable[[Mask, tuple[float, float, float]], npt.NDArray[np.float32]],
) -> DistanceMap:
    steps = np.full(mask.shape, -127, np.int8)
    box = bounding_box(mask, [int(np.ceil((REACH_MM + 2.0) / step)) for step in spacing_mm])
    if box is None:
        return DistanceMap(steps)
    steps[box] = DistanceMap.of_mm(distance_mm(mask[box], spacing_mm)).steps
    return DistanceMap(steps)
