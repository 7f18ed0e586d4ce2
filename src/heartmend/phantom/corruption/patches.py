"""Corruptions in one place: false components, holes, leaks, patches with another label, speckle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heartmend.geometry.distance import distance_to_other_label_mm
from heartmend.phantom.corruption.places import bounds_about, offsets_mm
from heartmend.phantom.plan import STRUCTURES, Label, Vector
from heartmend.phantom.sdf import bounds, smooth_noise
from heartmend.types import Labels

COMPONENT_REACH_MM = 25.0
"""Largest distance of an additional component of one structure from it."""
_LEAKS = np.isin(np.arange(256), [label for label in STRUCTURES if label != Label.CORONARY])


def small_component(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, radius_mm: float) -> Labels:
    """Add a false-positive component of a structure to the background, mostly near the structure.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        radius_mm: radius of the component in mm.

    Returns:
        The corrupted label map.
    """
    label, home = _some_voxel(labels, rng)
    if label is None:
        return labels
    away = rng.standard_normal(3)
    reach = rng.uniform(6, 25) if rng.random() < 0.75 else rng.uniform(25, 70)
    centre = home + reach * away / np.linalg.norm(away) / spacing_mm
    return _stamp(labels, spacing_mm, rng, centre, radius_mm, {Label.BACKGROUND}, label)


def component_of(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, label: int, radius_mm: float) -> Labels:
    """Add a false-positive component of one structure to the background around the heart.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        label: id of the structure.
        radius_mm: radius of the component in mm.

    Returns:
        The corrupted label map; unchanged where it has no such structure, or no background that is far enough from it.
    """
    box = bounds(labels == label, labels.shape, int(np.ceil(COMPONENT_REACH_MM / spacing_mm.min())))
    part = labels[box]
    if not (part == label).any():
        return labels
    apart = distance_to_other_label_mm(part == label, tuple(float(s) for s in spacing_mm))
    free = np.flatnonzero((part == 0) & (apart > 2 * radius_mm + 2) & (apart < COMPONENT_REACH_MM))
    if not len(free):
        return labels
    at = np.array(np.unravel_index(free[rng.integers(len(free))], part.shape))
    centre = at + np.array([side.start for side in box])
    return _stamp(labels, spacing_mm, rng, centre, radius_mm, {Label.BACKGROUND}, label)


def hole(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, radius_mm: float) -> Labels:
    """Add a hole inside a structure or at its surface.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        radius_mm: radius of the hole in mm.

    Returns:
        The corrupted label map.
    """
    label, centre = _some_voxel(labels, rng)
    if label is None:
        return labels
    return _stamp(labels, spacing_mm, rng, centre, radius_mm, {label}, Label.BACKGROUND)


def leak(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, radius_mm: float) -> Labels:
    """Extend one structure into another where they touch or nearly touch, such as across a thin wall.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        radius_mm: radius of the leak in mm.

    Returns:
        The corrupted label map.
    """
    for axis in (int(a) for a in rng.permutation(3)):
        step = max(round(3.0 / float(spacing_mm[axis])), 1)
        lines = np.moveaxis(labels, axis, 0)
        here, there = lines[:-step], lines[step:]
        places = np.argwhere(_LEAKS[here] & _LEAKS[there] & (here != there))
        if len(places):
            break
    else:
        return labels
    meeting = here[tuple(places.T)].astype(int) * 256 + there[tuple(places.T)]
    kinds = np.unique(meeting)
    at = places[rng.choice(np.flatnonzero(meeting == kinds[rng.integers(len(kinds))]))]
    pair = [int(here[tuple(at)]), int(there[tuple(at)])]
    label, into = pair if rng.random() < 0.5 else pair[::-1]
    centre = np.insert(at[1:].astype(float), axis, at[0] + step / 2)
    return _stamp(labels, spacing_mm, rng, centre, radius_mm, {into, Label.BACKGROUND}, label)


def label_swap(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, radius_mm: float) -> Labels:
    """Relabel a patch of one structure as another one.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        radius_mm: radius of the patch in mm.

    Returns:
        The corrupted label map.
    """
    label, centre = _some_voxel(labels, rng)
    other, _ = _some_voxel(labels, rng)
    if label is None or other in (None, label, Label.CORONARY):
        return labels
    return _stamp(labels, spacing_mm, rng, centre, radius_mm, {label}, other)


def speckle(labels: Labels, rng: np.random.Generator, share: float) -> Labels:
    """Replace the labels of random voxels by those of voxels up to three away.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        rng: random generator.
        share: share of the voxels in and around the heart that are replaced.

    Returns:
        The corrupted label map.
    """
    box = bounds(labels > 0, labels.shape, 2)
    part = labels[box].copy()
    size = np.array(part.shape)
    at = rng.integers(0, size, (int(share * part.size), 3))
    source = np.clip(at + rng.integers(-3, 4, at.shape), 0, size - 1)
    part[tuple(at.T)] = part[tuple(source.T)]
    result = labels.copy()
    result[box] = part
    return result


def _stamp(
    labels: Labels,
    spacing_mm: Vector,
    rng: np.random.Generator,
    centre: Vector,
    radius_mm: float,
    onto: set[int],
    label: int,
) -> Labels:
    """Set `label` in an irregular ellipsoid where the map has one of the labels `onto`."""
    box = bounds_about(centre, 1.8 * radius_mm / spacing_mm + 1, labels.shape)
    if any(s.start >= s.stop for s in box):
        return labels
    axes = np.linalg.qr(rng.standard_normal((3, 3)))[0] / rng.uniform(0.6, 1.4, 3)
    reach = np.linalg.norm(offsets_mm(box, centre, spacing_mm) @ axes, axis=-1)
    size = tuple(s.stop - s.start for s in box)
    lumpy = radius_mm * (1 + 0.25 * smooth_noise(size, spacing_mm, max(radius_mm, 1.5), rng))
    result = labels.copy()
    part = result[box]
    part[(reach < lumpy) & np.isin(part, list(onto))] = label
    return result


def _some_voxel(labels: Labels, rng: np.random.Generator) -> tuple[int | None, NDArray[np.int64]]:
    """A random structure of the map and a random voxel of it; (None, ...) if the map is empty."""
    for label in rng.permutation(np.array(STRUCTURES)):
        found = np.flatnonzero(labels == label)
        if len(found):
            return int(label), np.array(np.unravel_index(found[rng.integers(len(found))], labels.shape))
    return None, np.zeros(3, np.int64)
