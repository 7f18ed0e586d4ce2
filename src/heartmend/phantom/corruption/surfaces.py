"""Corruptions of surfaces: rough, too wide or too thin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heartmend.geometry.boxes import Box
from heartmend.geometry.distance import distance_to_other_label_mm
from heartmend.phantom.plan import Label, Vector
from heartmend.phantom.sdf import bounds, smooth_noise
from heartmend.types import Labels


def rough_surfaces(
    labels: Labels, spacing_mm: Vector, rng: np.random.Generator, size_mm: float, length_mm: float
) -> Labels:
    """Displace all surfaces together by a smooth random field; thin vessels less.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        size_mm: rms displacement per axis in mm.
        length_mm: correlation length in mm.

    Returns:
        The corrupted label map.
    """
    where = [np.arange(n).reshape([-1 if a == axis else 1 for a in range(3)]) for axis, n in enumerate(labels.shape)]
    push = [smooth_noise(labels.shape, spacing_mm, length_mm, rng) * np.float32(size_mm / s) for s in spacing_mm]

    def sample(source: NDArray[np.generic], share: float, box: Box) -> NDArray[np.generic]:
        at = []
        for axis, n in enumerate(labels.shape):
            line = where[axis][tuple(b if a == axis else slice(None) for a, b in enumerate(box))]
            at.append(np.clip(np.rint(line + np.float32(share) * push[axis][box]).astype(np.int32), 0, n - 1))
        return np.asarray(source[tuple(at)])

    vessel = labels == Label.CORONARY
    box = bounds(labels > 0, labels.shape, 6)
    result = np.zeros_like(labels)
    result[box] = sample(np.where(vessel, np.uint8(0), labels), 1.0, box)
    result[box][sample(vessel, 0.4, box).astype(bool)] = Label.CORONARY
    return result


def rough_structure(
    labels: Labels, spacing_mm: Vector, rng: np.random.Generator, label: int, size_mm: float, length_mm: float
) -> Labels:
    """Displace the surface of one structure along its normal by a smooth random field; it grows over background only.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        label: id of the structure.
        size_mm: rms displacement in mm.
        length_mm: correlation length in mm.

    Returns:
        The corrupted label map.
    """
    return _offset(labels, spacing_mm, label, size_mm, length_mm, 0.0, rng)


def bias(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, label: int, offset_mm: float) -> Labels:
    """Over-segment or under-segment one structure, more in some places than in others.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        label: id of the structure.
        offset_mm: mean displacement of the surface in mm, positive outwards.

    Returns:
        The corrupted label map.
    """
    return _offset(labels, spacing_mm, label, 0.45 * abs(offset_mm), 18.0, offset_mm, rng)


def _offset(
    labels: Labels,
    spacing_mm: Vector,
    label: int,
    size_mm: float,
    length_mm: float,
    mean_mm: float,
    rng: np.random.Generator,
) -> Labels:
    if not (labels == label).any():
        return labels
    result = labels.copy()
    box = bounds(labels == label, labels.shape, int(np.ceil((3 * size_mm + abs(mean_mm)) / spacing_mm.min())) + 1)
    part, mask = result[box], labels[box] == label
    apart = distance_to_other_label_mm(mask, tuple(float(s) for s in spacing_mm)) - float(spacing_mm.min()) / 2
    distance = np.where(mask, -apart, apart)
    limit = mean_mm + size_mm * smooth_noise(part.shape, spacing_mm, length_mm, rng)
    part[mask & (distance > limit)] = 0
    part[~mask & (distance < limit) & (part == 0)] = label
    return result
