"""Edges of an image along the borders of a label map, and how certain their positions are.

Across a border the intensity changes from the level of one structure to that of the other, blurred by the scanner. The
level at which the edge lies and the slope of the intensity vary along the border, because it may face muscle, fat or a
thin wall. Both are estimated from the image in a wide neighbourhood on the border, so that neither the noise of a voxel
nor an error of the label in one patch moves them. The intensity of a voxel then gives its distance to the edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

from heartmend.geometry.boxes import bounding_box
from heartmend.repair.image_edges.borders import Border

Values = npt.NDArray[np.float32]

WINDOW_MM = 12.0
"""Standard deviation of the neighbourhood in which level and slope of an edge are taken as constant."""
CELL_MM = 3.0
"""Side of the cells in which the sums of a neighbourhood are computed."""
LINEAR_MM = 1.0
"""Up to this distance from the surface the intensity is taken as linear."""
NOISE_MM = 5.0
"""Standard deviation of the neighbourhood in which the noise of a structure is measured."""
EDGE_NOISE = 1.6
"""Intensity variance at an edge, as a multiple of that inside a structure: walls and fat are uneven."""
MIN_SLOPE = 0.02
"""Smallest slope of an edge per mm, as a share of the noise."""


@dataclass(frozen=True, eq=False)
class Edge:
    """Distances of the voxels of a border to the edge of the image.

    Attributes:
        distance_mm: (m,) float32, distance to the edge, positive on the side of the border's `high`.
        variance_mm2: (m,) float32, variance of that distance by the image noise; infinite where there is no edge.
    """

    distance_mm: Values
    variance_mm2: Values


def find_edge(
    border: Border,
    intensity: Values,
    positions_mm: Values,
    noise: float,
    voxel_mm: float,
    unevenness: float = 0.0,
    clip_mm: float = 3.0,
) -> Edge:
    """Locate the edge of the image along a border.

    In the neighbourhood of each voxel a line is fitted to intensity over depth (weighted least squares). Its value at
    the surface is the level of the edge.

    Args:
        border: the border.
        intensity: (m,) float32, intensity of the border's voxels.
        positions_mm: (m, 3) float32, positions of the border's voxels.
        noise: standard deviation of the intensity inside a structure.
        voxel_mm: side of a voxel, which blurs the edge.
        unevenness: share of the variance about the fitted line that counts as noise too.
        clip_mm: distances are clipped here.

    Returns:
        The distance of every voxel to the edge.
    """
    level, slope, residual = _fitted_line(border.depth_mm, intensity, positions_mm)
    steep = np.abs(slope) > MIN_SLOPE * noise
    divisor = np.where(steep, slope, 1.0)
    distance = np.clip(np.where(steep, (intensity - level) / divisor, 0.0), -clip_mm, clip_mm)
    variance = np.where(steep, (EDGE_NOISE * noise**2 + unevenness * residual) / divisor**2 + voxel_mm**2 / 20, np.inf)
    return Edge(distance.astype(np.float32), variance.astype(np.float32))


def _fitted_line(depth_mm: Values, intensity: Values, positions_mm: Values) -> tuple[Values, Values, Values]:
    """Level at depth 0, slope per mm and variance of the residuals about each voxel."""
    low = positions_mm.min(axis=0)
    cells = ((positions_mm - low) / CELL_MM).astype(np.intp)
    shape = tuple(int(n) + 1 for n in cells.max(axis=0))
    flat = np.ravel_multi_index(tuple(cells.T), shape)
    near = np.abs(depth_mm) < LINEAR_MM
    # The mean of the border is subtracted first, because sums of large squares would lose precision.
    mean_level = float(intensity[near].mean()) if near.any() else 0.0
    centred, depth = (intensity[near] - mean_level).astype(np.float64), depth_mm[near].astype(np.float64)

    def local_sum(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        sums = np.bincount(flat[near], values, minlength=int(np.prod(shape))).reshape(shape)
        smooth: npt.NDArray[np.float64] = gaussian_filter(sums, WINDOW_MM / CELL_MM, mode="constant", truncate=2.5)
        return smooth

    count = local_sum(np.ones_like(depth)) + 1e-6
    mean_depth, mean = local_sum(depth) / count, local_sum(centred) / count
    depth_variance = local_sum(depth * depth) / count - mean_depth**2
    slope = (local_sum(depth * centred) / count - mean_depth * mean) / (depth_variance + 1e-3)
    residual = np.maximum(local_sum(centred * centred) / count - mean**2 - slope**2 * depth_variance, 0.0)
    level = mean - slope * mean_depth + mean_level
    at = ((positions_mm - low) / CELL_MM - 0.5).T
    return tuple(
        map_coordinates(part, at, order=1, mode="nearest").astype(np.float32) for part in (level, slope, residual)
    )


def noise_of(image: Values, inner_masks: Sequence[npt.NDArray[np.bool_]], spacing_mm: Sequence[float]) -> float:
    """Estimate the noise of an image inside structures.

    The local mean over `NOISE_MM` of the structure itself is subtracted. The median absolute deviation is robust
    against calcifications and papillary muscles.

    Args:
        image: (x, y, z) float32, intensity.
        inner_masks: (x, y, z) bool for each structure, voxels well inside it.
        spacing_mm: voxel spacing.

    Returns:
        Standard deviation of the intensity, the median of the structures'; 0 if all masks are empty.
    """
    sigma = [NOISE_MM / step for step in spacing_mm]
    deviations = []
    for inner in inner_masks:
        if (box := bounding_box(inner)) is not None:
            mask, values = inner[box], np.where(inner[box], image[box], np.float32(0))
            weight = gaussian_filter(mask.astype(np.float32), sigma, truncate=2.0)
            residual = values - gaussian_filter(values, sigma, truncate=2.0) / np.maximum(weight, 1e-3)
            deviations.append(1.4826 * float(np.median(np.abs(residual[mask]))))
    return float(np.median(deviations)) if deviations else 0.0
