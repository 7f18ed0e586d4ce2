"""Corruptions of vessels: gaps and missing ends."""

from __future__ import annotations

import numpy as np

from heartmend.phantom.corruption.places import bounds_about, offsets_mm
from heartmend.phantom.plan import Label, Vector
from heartmend.types import Labels


def vessel_gap(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, label: int, length_mm: float) -> Labels:
    """Remove a section of a vessel, across its full width if it is not much wider than long.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        label: id of the vessel.
        length_mm: length of the gap in mm, about.

    Returns:
        The corrupted label map.
    """
    voxels = np.argwhere(labels == label)
    if not len(voxels):
        return labels
    centre = voxels[rng.integers(len(voxels))].astype(float)
    wide = 1.6 if label == Label.CORONARY else 9.0
    result = labels.copy()
    box = bounds_about(centre, max(length_mm, wide) / spacing_mm + 2, labels.shape)
    near = np.linalg.norm(offsets_mm(box, centre, spacing_mm), axis=-1) < max(length_mm / 2, wide)
    result[box][near & (labels[box] == label)] = 0
    return result


def missing_end(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, label: int, length_mm: float) -> Labels:
    """Remove one end of a structure, a place far from its centre.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        label: id of the structure.
        length_mm: radius around the end in mm.

    Returns:
        The corrupted label map.
    """
    voxels = np.argwhere(labels == label)
    if not len(voxels):
        return labels
    distance = np.linalg.norm((voxels - voxels.mean(axis=0)) * spacing_mm, axis=1)
    far = np.flatnonzero(distance >= np.quantile(distance, 0.9))
    end = voxels[far[rng.integers(len(far))]]
    lost = voxels[np.linalg.norm((voxels - end) * spacing_mm, axis=1) < length_mm]
    result = labels.copy()
    result[tuple(lost.T)] = 0
    return result
