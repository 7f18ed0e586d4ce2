"""Where the image has the edge between two structures, and how surely.

Across a border the intensity goes from the one side's to the other's, blurred by the scanner. How bright the edge
itself is, and how steeply it rises, differs along the border: muscle here, fat there, a wall of two millimetres in
between. Both are read from the image along the border as the shapes have it, over so wide a neighbourhood that no
single voxel's noise, and no single patch of a label's, can move them. What is left for each voxel is one question: by
its intensity, on which side of that edge is it, and how far?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

from heartmend.geometry.boxes import filled_box
from heartmend.repair.image_edges.borders import Border

Values = npt.NDArray[np.float32]

WINDOW_MM = 12.0
"""Standard deviation of the neighbourhood over which an edge is taken to look the same."""
CELL_MM = 3.0
STRAIGHT_MM = 1.0
"""So far from the surface the intensity is taken to rise evenly."""
NOISE_MM = 5.0
EDGE_NOISE = 1.6
"""How much the intensity varies at an edge beside the inside of a structure (variance): walls and fat are uneven."""
LEAST_SLOPE = 0.02
"""An edge that rises less than this share of the noise in a millimetre is none."""


@dataclass(frozen=True, eq=False)
class Edge:
    """What the image says of a border's voxels, each by itself.

    distance_mm: (m,) from the image's edge, positive on the side of `high`; variance_mm2: (m,) of that distance, by
    the image's noise; infinite where the image has no edge.
    """

    distance_mm: Values
    variance_mm2: Values


def edge_of(
    border: Border,
    intensity: Values,
    places_mm: Values,
    noise: float,
    voxel_mm: float,
    unevenness: float = 0.0,
    far_mm: float = 3.0,
) -> Edge:
    """Where the image has a border.

    intensity: (m,) of the border's voxels; places_mm: (m, 3) where they are; noise: standard deviation of the
    intensity within a structure; voxel_mm: their side, for what a voxel blurs. A line is fitted to intensity over
    depth in the neighbourhood of each place (weighted least squares); where it passes the surface is the level of the
    edge, and the rise is its slope. An intensity is then so many millimetres beyond the edge. unevenness: the share of
    what the line leaves unexplained that counts as noise too.
    """
    level, slope, rest = _line(border.depth_mm, intensity, places_mm)
    steep = np.abs(slope) > LEAST_SLOPE * noise
    safe = np.where(steep, slope, 1.0)
    distance = np.clip(np.where(steep, (intensity - level) / safe, 0.0), -far_mm, far_mm)
    variance = np.where(steep, (EDGE_NOISE * noise**2 + unevenness * rest) / safe**2 + voxel_mm**2 / 20, np.inf)
    return Edge(distance.astype(np.float32), variance.astype(np.float32))


def _line(depth_mm: Values, intensity: Values, places_mm: Values) -> tuple[Values, Values, Values]:
    """At each voxel: level at depth 0, rise for each mm, and variance beside that line, over `WINDOW_MM` of it."""
    low = places_mm.min(axis=0)
    cells = ((places_mm - low) / CELL_MM).astype(np.intp)
    shape = tuple(int(n) + 1 for n in cells.max(axis=0))
    flat = np.ravel_multi_index(tuple(cells.T), shape)
    near = np.abs(depth_mm) < STRAIGHT_MM
    # Taken from the whole border's mean, so that squares of large numbers are not subtracted.
    middle = float(intensity[near].mean()) if near.any() else 0.0
    about, at = (intensity[near] - middle).astype(np.float64), depth_mm[near].astype(np.float64)

    def around(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        sums = np.bincount(flat[near], values, minlength=int(np.prod(shape))).reshape(shape)
        smooth: npt.NDArray[np.float64] = gaussian_filter(sums, WINDOW_MM / CELL_MM, mode="constant", truncate=2.5)
        return smooth

    count = around(np.ones_like(at)) + 1e-6
    mean_depth, mean = around(at) / count, around(about) / count
    spread = around(at * at) / count - mean_depth**2
    slope = (around(at * about) / count - mean_depth * mean) / (spread + 1e-3)
    rest = np.maximum(around(about * about) / count - mean**2 - slope**2 * spread, 0.0)
    level = mean - slope * mean_depth + middle
    where = ((places_mm - low) / CELL_MM - 0.5).T
    return tuple(
        map_coordinates(part, where, order=1, mode="nearest").astype(np.float32) for part in (level, slope, rest)
    )


def noise_of(image: Values, deep: Sequence[npt.NDArray[np.bool_]], spacing_mm: Sequence[float]) -> float:
    """Standard deviation of an image's intensity about its local mean, well inside structures; the median of them.

    The mean is over `NOISE_MM` of the structure itself, so unevenness within that length counts. By the median
    deviation: a calcification or the edge of a papillary muscle counts for nothing. 0 where no structure has an inside.
    """
    sigma = [NOISE_MM / step for step in spacing_mm]
    spreads = []
    for inside in deep:
        if (box := filled_box(inside)) is not None:
            within, values = inside[box], np.where(inside[box], image[box], np.float32(0))
            share = gaussian_filter(within.astype(np.float32), sigma, truncate=2.0)
            rest = values - gaussian_filter(values, sigma, truncate=2.0) / np.maximum(share, 1e-3)
            spreads.append(1.4826 * float(np.median(np.abs(rest[within]))))
    return float(np.median(spreads)) if spreads else 0.0
