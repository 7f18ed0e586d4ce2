"""Surface of each structure: patches on the template, and samples of it in a case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from scipy.special import ndtri
from skimage.measure import marching_cubes

from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.distance import DistanceMap
from heartmend.types import BACKGROUND, Labels

Floats = npt.NDArray[np.floating]

PATCH_MM = 8.0
"""Distance between the centres of two patches."""
MAX_PATCH_MM = 12.0
"""A sample farther from every patch belongs to none."""
MAX_SAMPLES = 3000
"""Samples of each structure in a case."""
CONTACT_VOXELS, BESIDE_MM = 0.8, 2.0
"""Two structures are in contact where the other one begins this close to the surface; beyond that, up to the second
distance, there is a gap between them."""
INNER_MM = 6.0
"""Depth up to which the thickness of a structure is measured."""
MIN_SAMPLES = 50
LEVEL_VOXELS, NORMAL_VOXELS = 0.7, 1.2
"""Standard deviation of the Gaussians from which the places of the surface and its normals are computed."""


@dataclass(frozen=True, eq=False)
class SurfacePatches:
    """Patches of the surface of one structure on the template.

    Attributes:
        centres: (patch, 3) float64, their centres in the template's unit frame.
        size_mm: (3,) extent of the unit frame in mm, the mean over the cases.
    """

    centres: Floats
    size_mm: Floats

    def nearest(self, points: Floats) -> npt.NDArray[np.intp]:
        """Find the patch of each point.

        Args:
            points: (n, 3) coordinates in the template's unit frame.

        Returns:
            (n,) index of the nearest patch; -1 where it is farther than `MAX_PATCH_MM`.
        """
        half = self.size_mm / 2
        distance_mm, patch = cKDTree(self.centres * half).query(points * half)
        return np.where(distance_mm <= MAX_PATCH_MM, patch, -1)


def divide_surface(distance_mm: Floats, size_mm: Floats) -> SurfacePatches | None:
    """Divide the surface of a structure of the template into patches, by farthest-point sampling.

    Args:
        distance_mm: (side, side, side) signed distances on the cells of the template.
        size_mm: (3,) extent of the template's unit frame in mm.

    Returns:
        The patches; None where the template does not contain the structure.
    """
    if distance_mm.max() <= 0 or distance_mm.min() >= 0:
        return None
    vertices = marching_cubes(distance_mm.astype(np.float32), 0.0)[0]
    return spread_patches((vertices + 0.5) / distance_mm.shape[0] * 2 - 1, size_mm)


def spread_patches(unit: Floats, size_mm: Floats) -> SurfacePatches:
    """Choose centres of patches among the points of a surface, by farthest-point sampling.

    Args:
        unit: (n, 3) points in a unit frame.
        size_mm: (3,) extent of this frame in mm.

    Returns:
        Patches such that each point is within `PATCH_MM` of a centre.
    """
    size_mm = np.asarray(size_mm, np.float64)
    in_mm = unit * (size_mm / 2)
    # The first centre is the point that is farthest from the middle: it depends on the shape alone.
    picks = [int(np.linalg.norm(in_mm - in_mm.mean(axis=0), axis=1).argmax())]
    nearest_mm = np.linalg.norm(in_mm - in_mm[picks[0]], axis=1)
    while nearest_mm.max() >= PATCH_MM:
        picks.append(int(nearest_mm.argmax()))
        nearest_mm = np.minimum(nearest_mm, np.linalg.norm(in_mm - in_mm[picks[-1]], axis=1))
    return SurfacePatches(np.asarray(unit[picks], np.float64), size_mm)


@dataclass(frozen=True, eq=False)
class SurfaceSamples:
    """Samples of the surface of one structure in a case.

    Attributes:
        points: (n, 3) float64, positions in voxels of the distance map.
        normals: (n, 3) float64, outward unit vectors in mm space, along the axes of the voxels.
        neighbours: (n,) uint8, id of the structure on the other side, or the background.
        in_contact: (n,) bool, whether that structure begins at the surface; False: there is a gap between them.
        thickness_mm: (n,) float64, depth of the structure's middle below the surface, up to `INNER_MM`.
    """

    points: Floats
    normals: Floats
    neighbours: npt.NDArray[np.uint8]
    in_contact: npt.NDArray[np.bool_]
    thickness_mm: Floats

    def moved(self, distance_mm: float, spacing_mm: Floats) -> Floats:
        """Return the positions at a distance outside the surface.

        Args:
            distance_mm: the distance; negative inside.
            spacing_mm: (3,) voxel spacing.

        Returns:
            (n, 3) positions in voxels.
        """
        return self.points + distance_mm * self.normals / spacing_mm


def sample_surface(
    distances: DistanceMap, labels: Labels, id: int, spacing_mm: Floats, rng: np.random.Generator
) -> SurfaceSamples | None:
    """Sample the surface of one structure in a case.

    Args:
        distances: distance map (x, y, z) of the structure.
        labels: (x, y, z) uint8, label map of all structures on the same voxels.
        id: id of the structure.
        spacing_mm: (3,) voxel spacing.
        rng: draws the samples.

    Returns:
        At most `MAX_SAMPLES` samples; None where there are fewer than `MIN_SAMPLES`.
    """
    box = bounding_box(distances.inside, [int(np.ceil(INNER_MM / step)) for step in spacing_mm])
    if box is None:
        return None
    low = np.array([part.start for part in box])
    mm = DistanceMap(distances.steps[box], distances.step_mm).mm
    # Not from the distances: near the surface they are those of a vote between shape and label.
    level, smooth = (gaussian_filter((mm > 0).astype(np.float32), width) for width in (LEVEL_VOXELS, NORMAL_VOXELS))
    places = np.argwhere(np.abs(level - 0.5) < 0.35)
    if len(places) < MIN_SAMPLES:
        return None
    places = places[np.sort(rng.permutation(len(places))[:MAX_SAMPLES])]
    gradient = _gradient(smooth, places, spacing_mm)
    steepness = np.linalg.norm(gradient, axis=1)
    steep = steepness > 0.05 / float(np.max(spacing_mm))
    places, normals = places[steep], -gradient[steep] / steepness[steep, None]
    if len(places) < MIN_SAMPLES:
        return None
    # Across a plane the level is the cumulative normal distribution, of the Gaussian and of the side of a voxel.
    width_mm = np.hypot(LEVEL_VOXELS, 12**-0.5) * np.linalg.norm(normals * spacing_mm, axis=1)
    outwards = ndtri(level[tuple(places.T)].astype(np.float64)) * width_mm
    points = places + outwards[:, None] * normals / spacing_mm
    at = low + points
    contact = CONTACT_VOXELS * float(np.min(spacing_mm))
    near, beside = (_at(labels, at + mm_out * normals / spacing_mm) for mm_out in (contact, BESIDE_MM))
    near, beside = (np.where(found == id, BACKGROUND, found) for found in (near, beside))
    in_contact = (near != BACKGROUND) | (beside == BACKGROUND)
    depths = [_at(mm, points - depth * normals / spacing_mm) for depth in np.arange(1.0, INNER_MM + 0.1)]
    thickness = np.clip(np.max(depths, axis=0), 0.0, INNER_MM)
    neighbours = np.where(near != BACKGROUND, near, beside).astype(np.uint8)
    return SurfaceSamples(at, normals, neighbours, in_contact, thickness)


def patches_of_template(table_mm: Floats, heads: tuple[str, ...], size_mm: Floats) -> Mapping[str, SurfacePatches]:
    """Divide the surfaces of all structures of a template into patches.

    Args:
        table_mm: (side, side, side, head) signed distances on the cells of the template.
        heads: names of the structures.
        size_mm: (3,) extent of the template's unit frame in mm.

    Returns:
        The patches of each structure that the template contains, by name.
    """
    found = {name: divide_surface(table_mm[..., head], size_mm) for head, name in enumerate(heads)}
    return {name: patches for name, patches in found.items() if patches is not None}


def unit_lattice(side: int) -> npt.NDArray[np.float64]:
    """Compute the centres of the cells of a lattice in a unit frame.

    Args:
        side: cells along each side.

    Returns:
        (side³, 3) unit coordinates, in C order of (x, y, z).

    Example:
        >>> unit_lattice(2)[:2].tolist()
        [[-0.5, -0.5, -0.5], [-0.5, -0.5, 0.5]]
    """
    centres = (np.arange(side) + 0.5) / side * 2 - 1
    return np.stack(np.meshgrid(centres, centres, centres, indexing="ij"), axis=-1).reshape(-1, 3)


def near_patches(
    places_mm: Floats, points_mm: Floats, width_mm: float, count: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Find the patches near points, with the weights of a Gaussian; that of the nearest one is 1 at any distance.

    Args:
        places_mm: (patch, 3) places of the patches.
        points_mm: (n, 3) the points.
        width_mm: standard deviation of the Gaussian.
        count: number of patches for each point, or all of them if there are fewer.

    Returns:
        The weights (n, count), and the numbers (n, count) of the patches, the nearest first.
    """
    distance, nearest = cKDTree(places_mm).query(points_mm, k=min(count, len(places_mm)))
    distance, nearest = distance.reshape(len(points_mm), -1), nearest.reshape(len(points_mm), -1)
    return np.exp(-(distance**2 - distance[:, :1] ** 2) / (2 * width_mm**2)), nearest


def _gradient(values: Floats, places: npt.NDArray[np.intp], spacing_mm: Floats) -> Floats:
    """Gradient (n, 3) per mm at some voxels, by central differences; one-sided at the border of the volume."""
    slopes = []
    for axis in range(3):
        low, high = places.copy(), places.copy()
        low[:, axis] = np.maximum(places[:, axis] - 1, 0)
        high[:, axis] = np.minimum(places[:, axis] + 1, values.shape[axis] - 1)
        width = np.maximum(high[:, axis] - low[:, axis], 1) * spacing_mm[axis]
        slopes.append((values[tuple(high.T)] - values[tuple(low.T)]) / width)
    return np.stack(slopes, axis=1)


def _at(values: npt.NDArray[np.generic], points: Floats) -> npt.NDArray[np.generic]:
    """Values at the voxels nearest to some points."""
    index = np.clip(np.rint(points).astype(np.intp), 0, np.array(values.shape) - 1)
    return values[tuple(index.T)]
