"""Corruptions as networks make them: smooth errors of surfaces, straight valve planes, vessels that end early."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.distance import signed_distance_mm
from heartmend.phantom.plan import Label, Vector
from heartmend.phantom.sdf import bounds, smooth_noise
from heartmend.types import Labels

BIAS_LENGTH_MM = 18.0
"""Correlation length of a bias: it is larger in some places than in others."""
UNEVEN_BIAS = 0.45
"""Standard deviation of a bias along the surface, as a share of its mean."""
MIN_CONTACT_VOXELS = 30
"""A smaller contact of two structures is no valve."""
_HALF_NEIGHBOURS = tuple((x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if (x, y, z) > (0, 0, 0))


def smooth_surfaces(
    labels: Labels,
    spacing_mm: Vector,
    rng: np.random.Generator,
    bias_mm: Mapping[int, float],
    size_mm: float,
    length_mm: float,
) -> Labels:
    """Displace the surface of every structure by a bias and a smooth random field of its own; coronaries stay.

    A voxel belongs to the structure with the largest displaced signed distance, so surfaces stay smooth and two
    structures that touch go on touching.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        bias_mm: mean displacement of the surfaces of structures in mm, positive outwards; 0 where it is not given.
        size_mm: rms displacement of the random field in mm.
        length_mm: correlation length of the random field in mm.

    Returns:
        The corrupted label map.
    """
    spacing = tuple(float(s) for s in spacing_mm)
    widest = max((abs(mm) for mm in bias_mm.values()), default=0.0) * (1 + 3 * UNEVEN_BIAS) + 3 * size_mm
    margin = int(np.ceil(widest / min(spacing))) + 2
    box = bounds(labels > 0, labels.shape, margin)
    part = np.where(labels[box] == Label.CORONARY, np.uint8(0), labels[box])
    deepest, moved = signed_distance_mm(part == 0, spacing), np.zeros_like(part)
    for label in (int(one) for one in np.unique(part) if one):
        near = bounds(part == label, part.shape, margin)
        mask = part[near] == label
        mean = bias_mm.get(label, 0.0)
        offset = size_mm * smooth_noise(mask.shape, spacing_mm, length_mm, rng)
        offset += mean + UNEVEN_BIAS * abs(mean) * smooth_noise(mask.shape, spacing_mm, BIAS_LENGTH_MM, rng)
        # The background is as far outside as the structure is inside, so its surface moves by half of the difference.
        depth = signed_distance_mm(mask, spacing) + 2 * offset
        wins = depth > deepest[near]
        deepest[near][wins] = depth[wins]
        moved[near][wins] = label
    moved[labels[box] == Label.CORONARY] = Label.CORONARY
    result = labels.copy()
    result[box] = moved
    return result


def straight_plane(
    labels: Labels,
    spacing_mm: Vector,
    rng: np.random.Generator,
    pair: tuple[int, int],
    shift_mm: float,
    tilt_degrees: float = 0.0,
) -> Labels:
    """Make the border between two structures a plane, such as a valve: fitted to it, then displaced and tilted.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator, for the direction of the tilt.
        pair: ids of the two structures.
        shift_mm: displacement of the plane in mm, positive into the second structure.
        tilt_degrees: angle by which the plane is tilted.

    Returns:
        The corrupted label map; unchanged where the two hardly touch.
    """
    first, second = pair
    box = bounding_box((labels == first) | (labels == second), 2)
    if box is None:
        return labels
    part = labels[box]
    one, two = part == first, part == second
    around = np.ones((3, 3, 3), bool)
    contact = np.argwhere((one & binary_dilation(two, around)) | (two & binary_dilation(one, around))) * spacing_mm
    if len(contact) < MIN_CONTACT_VOXELS:
        return labels
    centre = contact.mean(axis=0)
    normal = np.linalg.svd(contact - centre, full_matrices=False)[2][2]
    across = (np.argwhere(two).mean(axis=0) - np.argwhere(one).mean(axis=0)) * spacing_mm
    normal = normal if normal @ across > 0 else -normal
    aside = np.cross(normal, rng.standard_normal(3))
    tilted = normal + np.tan(np.deg2rad(tilt_degrees)) * aside / np.linalg.norm(aside)
    tilted /= np.linalg.norm(tilted)
    height_of_contact = (contact - centre) @ normal
    radius = float(np.quantile(np.linalg.norm(contact - centre - np.outer(height_of_contact, normal), axis=1), 0.98))
    depth = min(abs(shift_mm) + 2.5 * float(height_of_contact.std()) + float(np.max(spacing_mm)), 10.0)
    both = np.argwhere(one | two)
    offset = both * spacing_mm - centre
    height = offset @ tilted
    is_near = (np.abs(height) < depth) & (np.linalg.norm(offset - np.outer(height, tilted), axis=1) < radius + 2.0)
    result = labels.copy()
    at = tuple(both[is_near].T)
    result[box][at] = np.where(height[is_near] < shift_mm, first, second).astype(np.uint8)
    return result


def early_end(labels: Labels, spacing_mm: Vector, label: int, root: int, kept_share: float) -> Labels:
    """Remove the parts of vessels that are far from their root, along the vessel.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        label: id of the vessel.
        root: id of the structure that it grows out of.
        kept_share: share of the longest course from the root that is kept.

    Returns:
        The corrupted label map; unchanged where the vessel does not touch its root.
    """
    box = bounding_box((labels == label) | (labels == root), 1)
    if box is None:
        return labels
    part = labels[box]
    vessel = part == label
    starts = binary_dilation(part == root, np.ones((3, 3, 3), bool), iterations=2)[vessel]
    if not starts.any():
        return labels
    distance = dijkstra(_graph(vessel, spacing_mm), indices=np.flatnonzero(starts), min_only=True)
    reached = np.isfinite(distance)
    removed = np.zeros_like(vessel)
    removed[vessel] = reached & (distance > kept_share * distance[reached].max())
    result = labels.copy()
    result[box][removed] = 0
    return result


def _graph(mask: NDArray[np.bool_], spacing_mm: Vector) -> csr_matrix:
    """Distances in mm between neighbouring voxels of a mask, in the order of the mask."""
    numbers = np.full(np.array(mask.shape) + 2, -1, np.int64)
    numbers[1:-1, 1:-1, 1:-1][mask] = np.arange(int(mask.sum()))
    here = np.argwhere(mask) + 1
    starts, ends, lengths = [], [], []
    for step in _HALF_NEIGHBOURS:
        there = numbers[tuple((here + step).T)]
        linked = np.flatnonzero(there >= 0)
        starts.append(linked)
        ends.append(there[linked])
        lengths.append(np.full(len(linked), float(np.linalg.norm(np.array(step) * spacing_mm))))
    pairs = np.concatenate(starts), np.concatenate(ends)
    graph = csr_matrix((np.concatenate(lengths), pairs), shape=(len(here), len(here)))
    return graph + graph.T
