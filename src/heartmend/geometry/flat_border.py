"""Flat borders of label maps: a plane beyond which there are no labels, such as that of an oblique scan."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from heartmend.geometry.boxes import Spacing
from heartmend.geometry.directions import spread_directions
from heartmend.geometry.masks import inner_voxels
from heartmend.types import FloatArray, Labels

BLOCK_MM = 3.0
"""Directions are compared on blocks of this size first."""
DIRECTIONS, CANDIDATES = 600, 4
"""Number of directions, and of those that are measured on the voxels."""
CONE_DEGREES, ROUNDS, TRIED = 7.0, 3, 24
"""Directions around a candidate that are tried; each round uses a third of the angle of the one before."""
THICKNESS_MM, BAND_MM = 1.5, 6.0
"""Thickness of the layer below the plane in which the border is, and of the band with what is next to it."""
MIN_DENSITY = 2.0
"""Least surface of the layer in each mm, in that of the rest of the band. Below a place that is round it is 1."""
MIN_AREA_MM2, MIN_OWN_AREA_MM2 = 500.0, 100.0
"""Least area of a flat border, and least area that a structure has there."""
MIN_STRUCTURES = 3
"""Structures that end at the plane: one that ends flat may be cut by a convention."""
PARALLEL_DEGREES = 3.0
"""A plane that is tilted less is parallel to an axis."""
MAX_BEYOND = 0.01
"""Share of the area of the border that may be beyond the plane."""


@dataclass(frozen=True, eq=False)
class FlatBorder:
    """A plane at which several structures end.

    Attributes:
        normal: (3,) unit vector out of the labels, along the axes of the array.
        height_mm: position of the plane along it, in mm from the centre of the first voxel.
        areas_mm2: area of each structure at the plane, by id.
    """

    normal: FloatArray
    height_mm: float
    areas_mm2: dict[int, float]

    @property
    def is_oblique(self) -> bool:
        """Whether the plane is tilted by more than 3 degrees against the axes of the array."""
        return float(np.abs(self.normal).max()) < np.cos(np.deg2rad(PARALLEL_DEGREES))

    def moved(self, offset_mm: FloatArray) -> FlatBorder:
        """Return the plane in an array that begins before this one.

        Args:
            offset_mm: (3,) position of the first voxel of this array in the other one.

        Returns:
            The same plane there.
        """
        return replace(self, height_mm=self.height_mm + float(self.normal @ offset_mm))

    def at_border(self, shape: tuple[int, ...], spacing_mm: Spacing) -> bool:
        """Test whether the plane is a face of the array, where every field of view ends.

        Args:
            shape: (x, y, z) of the array.
            spacing_mm: voxel spacing.

        Returns:
            Whether it is parallel to a face within 3 degrees, and within 3 mm and a voxel of it.
        """
        axis = int(np.argmax(np.abs(self.normal)))
        if self.is_oblique:
            return False
        face_mm = (shape[axis] - 1) * spacing_mm[axis] if self.normal[axis] > 0 else 0.0
        middle = np.array([(n - 1) / 2 * mm for n, mm in zip(shape, spacing_mm, strict=True)])
        middle[axis] = face_mm
        return abs(float(self.normal @ middle) - self.height_mm) <= 3.0 + max(spacing_mm)


def find_flat_border(labels: Labels, spacing_mm: Spacing) -> FlatBorder | None:
    """Find the plane at which several structures end, and beyond which there are none.

    A place of a heart that is round has as much surface in each mm below its farthest point as in the next one; a plane
    that cuts a heart has much more there than below.

    Args:
        labels: (x, y, z) uint8, without false-positive components; 0 is background.
        spacing_mm: voxel spacing.

    Returns:
        The plane of the largest area; None where there is none.
    """
    inside = labels != 0
    index = np.argwhere(inside & ~inner_voxels(inside))
    if len(index) < 100:
        return None
    points, ids = index * np.array(spacing_mm), labels[tuple(index.T)]
    best: FlatBorder | None = None
    for normal in _candidates(points):
        found = _refined(points, ids, normal, spacing_mm)
        if found is not None and (best is None or sum(found.areas_mm2.values()) > sum(best.areas_mm2.values())):
            best = found
    return best


def _candidates(points: FloatArray) -> FloatArray:
    """(n, 3) directions in which much of the surface is near its farthest place."""
    blocks = np.unique((points / BLOCK_MM).round().astype(np.int32), axis=0) * np.float32(BLOCK_MM)
    directions = spread_directions(DIRECTIONS)
    heights = blocks @ directions.T.astype(np.float32)
    near = heights > heights.max(axis=0) - 2 * BLOCK_MM
    return directions[np.argsort(-near.sum(axis=0), kind="stable")[:CANDIDATES]]


def _refined(
    points: FloatArray, ids: npt.NDArray[np.uint8], normal: FloatArray, spacing_mm: Spacing
) -> FlatBorder | None:  # fmt: skip
    """The flattest plane near a direction; None where the surface is not flat there."""
    heights = points @ normal
    near = heights > heights.max() - 4 * BAND_MM
    points, ids, angle = points[near], ids[near], np.deg2rad(CONE_DEGREES)
    for _ in range(ROUNDS):
        tried = normal + angle * spread_directions(TRIED)
        tried = np.concatenate([normal[None], tried / np.linalg.norm(tried, axis=1, keepdims=True)])
        counts = [_top(column)[1] for column in np.ascontiguousarray((points @ tried.T).T)]
        normal, angle = tried[int(np.argmax(counts))], angle / 3
    heights = points @ normal
    top, _ = _top(heights)
    flat, band = (heights <= top) & (heights > top - THICKNESS_MM), (heights <= top) & (heights > top - BAND_MM)
    area_mm2 = float(np.prod(spacing_mm) ** (2 / 3))
    found, counts_of = np.unique(ids[flat], return_counts=True)
    areas = {int(id): float(n * area_mm2) for id, n in zip(found, counts_of, strict=True)}
    areas = {id: mm2 for id, mm2 in areas.items() if mm2 >= MIN_OWN_AREA_MM2}
    rest_per_mm = (int(band.sum()) - int(flat.sum())) / (BAND_MM - THICKNESS_MM)
    is_flat = int(flat.sum()) / THICKNESS_MM >= MIN_DENSITY * rest_per_mm
    is_flat &= int((heights > top).sum()) <= MAX_BEYOND * len(heights)
    if not is_flat or len(areas) < MIN_STRUCTURES or sum(areas.values()) < MIN_AREA_MM2:
        return None
    return FlatBorder(normal, float(top), areas)


def _top(heights: FloatArray) -> tuple[float, int]:
    """Upper end of the layer with the most points, to a third of its thickness, and their number."""
    step = THICKNESS_MM / 3
    lowest = float(heights.min())
    counts = np.bincount(((heights - lowest) / step).astype(np.intp))
    layers = np.convolve(counts, np.ones(3, np.intp))
    # The layer ends with this slice.
    at = int(np.argmax(layers))
    return lowest + (at + 1) * step, int(layers[at])
