"""Coronary trees: two for each heart, which grow over its outer surface from two ostia.

Main vessels follow the grooves between the chambers (between the ventricles, between atria and ventricles); side
branches run over the surface towards the apex. Radii taper from about 2 mm to 0.7 mm.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

from heartmend.geometry.components import largest_component
from heartmend.geometry.distance import distance_to_other_label_mm
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.phantom.heart import HeartMap
from heartmend.phantom.plan import Label, Vector
from heartmend.phantom.sdf import bounds

COARSE_MM = 1.8
MIN_RADIUS_MM = 0.6
CHAMBERS = (Label.MYOCARDIUM, Label.LV, Label.RV, Label.RA, Label.LA)
OBSTACLES = (Label.AORTA, Label.PA, Label.LAA, Label.PV)
YIELDING = (Label.BACKGROUND, Label.MYOCARDIUM, Label.RV, Label.RA, Label.LA, Label.LAA, Label.PV)

_YIELDS = np.isin(np.arange(256), YIELDING)

Path = NDArray[Any]


@dataclass(frozen=True)
class Vessel:
    """Centreline of a vessel.

    Attributes:
        path: (n, 3) points in mm of the grid (voxel index times spacing).
        radii_mm: (n,) radii in mm.
    """

    path: Path
    radii_mm: NDArray[np.float64]


def grow(heart: HeartMap, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add two coronary trees to a label map.

    Args:
        heart: label map with its landmarks.
        rng: random generator.

    Returns:
        Label map (x, y, z), uint8, with the label `Label.CORONARY`; fewer vessels where the field of view ends.
    """
    surface = _Surface.of(heart)
    frame = heart.plan.frame
    right_dominant = rng.random() < 0.8
    grooves = _grooves(heart, surface)
    right_ostium, left_ostium = (_ostium(heart, direction) for direction in heart.marks.sinuses[:2])

    rca = [right_ostium, *grooves["right"]] + (grooves["inferior"][1:] if right_dominant else [])
    lcx = [*grooves["left"]] + ([] if right_dominant else grooves["inferior"][1:])
    right = _main(surface, rca, rng, start_mm=rng.uniform(1.6, 2.1), end_mm=0.75)
    right_tree = [right]
    for _ in range(int(rng.integers(1, 4))):
        guide = frame.apex + rng.normal(0, 0.25) * frame.up
        right_tree += _branch(surface, right, rng.uniform(0.15, 0.55), guide, rng)

    lad_knots = [left_ostium, _beside_trunk(heart), *grooves["anterior"]]
    lad = _main(surface, lad_knots, rng, start_mm=rng.uniform(1.8, 2.3), end_mm=0.75)
    fork = int(np.clip(rng.uniform(8, 15), 1, len(lad.path) - 2))
    circumflex = _main(surface, [lad.path[fork], *lcx], rng, start_mm=rng.uniform(1.4, 1.8), end_mm=0.75)
    left_tree = [lad, circumflex]
    for _ in range(int(rng.integers(1, 4))):
        guide = 0.7 * frame.apex - (0.9 + 0.2 * rng.normal()) * frame.septal
        left_tree += _branch(surface, lad, rng.uniform(0.15, 0.6), guide, rng)
    for _ in range(int(rng.integers(1, 4))):
        guide = frame.apex + rng.normal(0, 0.3) * frame.up
        left_tree += _branch(surface, circumflex, rng.uniform(0.25, 0.9), guide, rng)

    right_tree.append(_root(heart, right_ostium, right))
    left_tree.append(_root(heart, left_ostium, lad))
    labels = heart.labels.copy()
    taken = _paint(labels, left_tree, heart.spacing_mm, np.zeros(labels.shape, bool))
    _paint(labels, right_tree, heart.spacing_mm, taken)
    return labels


@dataclass(frozen=True)
class _Surface:
    """Smoothed distances to the chambers, and to the obstacles that a coronary avoids, on a coarser grid."""

    step_mm: Vector
    labels: NDArray[np.uint8]
    chambers: NDArray[np.float32]
    slopes: NDArray[np.float32]
    obstacles: NDArray[np.float32]
    obstacle_slopes: NDArray[np.float32]

    @classmethod
    def of(cls, heart: HeartMap) -> _Surface:
        stride = np.maximum(np.round(COARSE_MM / heart.spacing_mm).astype(int), 1)
        labels = np.ascontiguousarray(heart.labels[:: stride[0], :: stride[1], :: stride[2]])
        step = heart.spacing_mm * stride
        chambers = _signed(np.isin(labels, CHAMBERS), step, 2.0)
        obstacles = _signed(np.isin(labels, OBSTACLES), step, 1.0)
        return cls(step, labels, chambers, _slopes(chambers, step), obstacles, _slopes(obstacles, step))

    def near(self, label: Label) -> NDArray[np.float32]:
        distance: NDArray[np.float32] = distance_transform_mm(self.labels != label, self.step_mm)
        return distance

    def settle(self, path: Path, height_mm: float | NDArray[np.float64], weight: NDArray[np.float64] | float) -> Path:
        """Move points to the height above the chambers, and out of the great vessels."""
        lift = np.broadcast_to(np.asarray(weight), len(path))[:, None]
        for _ in range(2):
            value, slope = self._read(self.chambers, path), self._read_slopes(self.slopes, path)
            path = path + lift * np.clip(height_mm - value, -3, 3)[:, None] * slope
        for _ in range(2):
            depth = np.clip(height_mm + 1.0 - self._read(self.obstacles, path), 0, 2.5)
            path = path + (lift > 0) * depth[:, None] * self._read_slopes(self.obstacle_slopes, path)
        return path

    def inside(self, path: Path) -> NDArray[np.bool_]:
        size = self.step_mm * (np.array(self.labels.shape) - 1)
        within: NDArray[np.bool_] = np.all((path >= 0) & (path <= size), axis=1)
        return within

    def _read(self, field: NDArray[np.float32], path: Path) -> NDArray[np.float64]:
        at: NDArray[np.float64] = map_coordinates(field, (path / self.step_mm).T, order=1, mode="nearest")
        return at

    def _read_slopes(self, slopes: NDArray[np.float32], path: Path) -> Path:
        slope = np.stack([self._read(part, path) for part in slopes], axis=1)
        return np.asarray(slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 0.3))


def _signed(mask: NDArray[np.bool_], step_mm: Vector, blur_mm: float) -> NDArray[np.float32]:
    apart = distance_to_other_label_mm(mask, tuple(step_mm))
    distance = np.where(mask, -apart, apart)
    blurred: NDArray[np.float32] = gaussian_filter(distance, blur_mm / step_mm)
    return blurred


def _slopes(field: NDArray[np.float32], step_mm: Vector) -> NDArray[np.float32]:
    return np.stack([np.gradient(field, step, axis=axis) for axis, step in enumerate(step_mm)]).astype(np.float32)


def _grooves(heart: HeartMap, surface: _Surface) -> dict[str, list[Vector]]:
    """Points in the four grooves, each in the direction of its vessel."""
    stride = np.round(surface.step_mm / heart.spacing_mm).astype(int)
    frame, shell = heart.plan.frame, (surface.chambers > 0) & (surface.chambers < 4.5)
    index = np.argwhere(shell)
    points = heart.canvas.points[(slice(None), *(index * stride).T)]
    along, septal, up = frame.axes @ points
    near = {label: surface.near(label)[shell] for label in CHAMBERS if label != Label.LV}
    length = heart.plan.lv_length_mm
    _, valve_septal, valve_up = frame.axes @ heart.plan.tricuspid_valve

    def median_knots(member: NDArray[np.bool_], order: NDArray[np.float64], edges: Path) -> list[Vector]:
        knots = []
        for low, high in pairwise(edges):
            here = member & (order >= low) & (order < high)
            if here.sum() >= 3:
                knots.append(np.median(index[here], axis=0) * surface.step_mm)
        return knots

    between = (near[Label.MYOCARDIUM] < 6) & (near[Label.RV] < 6)
    left = (near[Label.MYOCARDIUM] < 7) & (near[Label.LA] < 7)
    right = (near[Label.RV] < 7) & (near[Label.RA] < 7)
    about_mitral = np.mod(np.degrees(np.arctan2(up, septal)), 360)
    about_tricuspid = -np.degrees(np.arctan2(up - valve_up, septal - valve_septal))
    return {
        "anterior": median_knots(between & (up > 4), along, np.linspace(18, 0.98 * length, 7)),
        "inferior": median_knots(between & (up < -4), along, np.linspace(4, 0.8 * length, 7)),
        "left": median_knots(left, about_mitral, np.linspace(95, 250, 7)),
        "right": median_knots(right, about_tricuspid, np.linspace(-95, 115, 9)),
    }


def _beside_trunk(heart: HeartMap) -> Vector:
    """Point of the left main artery: to the left of the pulmonary trunk, behind it, above the ventricle."""
    plan = heart.plan
    return _in_grid(heart, plan.pulmonary_valve + (plan.pa_radius_mm + 4) * np.array([0.78, 0.6, -0.15]))


def _in_grid(heart: HeartMap, target: Vector) -> Vector:
    """Position in mm of the grid of the voxel nearest to a point of the body."""
    canvas = heart.canvas
    box = canvas.box(target - 2, target + 2)
    local = canvas.local(box, target)
    nearest = np.unravel_index(int(np.argmin((local**2).sum(axis=0))), local.shape[1:])
    return np.asarray((np.array(nearest) + [s.start for s in box]) * heart.spacing_mm)


def _ostium(heart: HeartMap, direction: Vector) -> Vector:
    """Point in mm of the grid where a ray from the centre of the root, 13 mm above the valve, leaves the aorta."""
    point = _in_grid(heart, heart.plan.aortic_valve + 13 * heart.marks.aortic.normal)
    limit = np.array(heart.labels.shape) - 1
    for _ in range(60):
        voxel = tuple(np.clip(np.round(point / heart.spacing_mm).astype(int), 0, limit))
        if heart.labels[voxel] != Label.AORTA:
            break
        point = point + 0.5 * direction
    return point


def _root(heart: HeartMap, ostium: Vector, vessel: Vessel) -> Vessel:
    """First section of a tree, which starts inside the aorta so that the two touch."""
    first = vessel.path[min(2, len(vessel.path) - 1)] if len(vessel.path) else ostium
    path = np.stack([ostium + 2 * (ostium - first) / max(float(np.linalg.norm(ostium - first)), 1.0), ostium, first])
    return Vessel(_resample(path, 0.5), np.full(len(_resample(path, 0.5)), 1.6))


def _main(surface: _Surface, knots: list[Vector], rng: np.random.Generator, start_mm: float, end_mm: float) -> Vessel:
    """Vessel through given points: shortened on the surface like an elastic band, then made tortuous."""
    path = _resample(_chain(knots))
    away = np.clip(np.arange(len(path)) / 8.0, 0, 1)
    height = np.linspace(start_mm, end_mm, len(path)) + 0.5
    for _ in range(12):
        path[1:-1] += 0.5 * (0.5 * (path[:-2] + path[2:]) - path[1:-1])
        smooth = gaussian_filter1d(path, 3, axis=0, mode="nearest")
        path[1:-1] = smooth[1:-1]
        path = surface.settle(path, height, away)
    wave = gaussian_filter1d(rng.standard_normal(path.shape), rng.uniform(4, 8), axis=0)
    path += rng.uniform(0.5, 2.0) * away[:, None] * wave / max(float(wave.std()), 1e-6)
    path = surface.settle(path, height, away)
    path[1:] = gaussian_filter1d(path, 1.2, axis=0, mode="nearest")[1:]
    return _vessel(path[surface.inside(path)], rng, start_mm, end_mm)


def _branch(surface: _Surface, parent: Vessel, at: float, guide: Vector, rng: np.random.Generator) -> list[Vessel]:
    """Side branch that runs over the surface in the direction of `guide`; empty if there is no room."""
    index = int(at * (len(parent.path) - 1))
    start_mm = min(0.8 * float(parent.radii_mm[index]), 1.4)
    heading = guide / np.linalg.norm(guide)
    course, point = heading, parent.path[index]
    points = [point]
    for _ in range(int(rng.uniform(22, 60))):
        course = 0.86 * course + 0.12 * heading + rng.normal(0, 0.13, 3)
        course /= np.linalg.norm(course)
        moved = surface.settle((point + course)[None], start_mm + 0.3, min(len(points) / 5, 1.0))[0]
        if not surface.inside(moved[None])[0]:
            break
        course, point = (moved - point) / max(float(np.linalg.norm(moved - point)), 1e-6), moved
        points.append(point)
    if len(points) < 12:
        return []
    path = gaussian_filter1d(np.stack(points), 1.5, axis=0, mode="nearest")
    path[0] = parent.path[index]
    return [_vessel(path, rng, start_mm, 0.7)]


def _vessel(path: Path, rng: np.random.Generator, start_mm: float, end_mm: float) -> Vessel:
    if len(path) < 2:
        return Vessel(np.zeros((0, 3)), np.zeros(0))
    along = np.linspace(0, 1, len(path))
    radii = end_mm + (start_mm - end_mm) * (1 - along) ** 0.8
    ripple = gaussian_filter1d(rng.standard_normal(len(path)), 6, mode="nearest")
    radii *= 1 + 0.08 * ripple / max(float(ripple.std()), 1e-6)
    if rng.random() < 0.35:
        narrow = np.exp(-(((np.arange(len(path)) - rng.uniform(0.1, 0.8) * len(path)) / 2.5) ** 2))
        radii *= 1 - rng.uniform(0.2, 0.5) * narrow
    return Vessel(path, np.maximum(radii, MIN_RADIUS_MM))


def _chain(knots: list[Vector]) -> Path:
    """Polyline of the knots, without those that are too near to the previous one or turn back sharply."""
    kept = [knots[0]]
    for knot in knots[1:]:
        step = knot - kept[-1]
        length = float(np.linalg.norm(step))
        back = kept[-1] - kept[-2] if len(kept) > 1 else step
        if length > 2 and step @ back > -0.3 * length * np.linalg.norm(back):
            kept.append(knot)
    return np.array(kept if len(kept) > 1 else [knots[0], knots[0]], np.float64)


def _resample(path: Path, step_mm: float = 1.0) -> Path:
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.linspace(0, length[-1], max(int(length[-1] / step_mm) + 1, 6))
    return np.stack([np.interp(at, length, path[:, axis]) for axis in range(3)], axis=1)


def _paint(
    labels: NDArray[np.uint8], tree: Iterable[Vessel], spacing_mm: Vector, taken: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Draw one tree as one component outside of `taken`; returns the voxels around the tree."""
    mask = np.zeros(labels.shape, bool)
    for vessel in tree:
        if len(vessel.path):
            _stamp(mask, vessel, spacing_mm)
    around = np.zeros_like(mask)
    if not mask.any():
        return around
    box = bounds(mask, mask.shape, margin=5)
    part = mask[box] & _YIELDS[labels[box]] & ~taken[box]
    part = largest_component(part)
    labels[box][part] = Label.CORONARY
    around[box] = distance_transform_mm(~part, spacing_mm) < 2.1 * spacing_mm.max()
    return around


def _stamp(mask: NDArray[np.bool_], vessel: Vessel, spacing_mm: Vector) -> None:
    """Set the voxels within the radius of the centreline, and all voxels on it."""
    fine = np.linspace(0, len(vessel.path) - 1, 3 * len(vessel.path))
    rows = np.arange(len(vessel.path))
    points = np.stack([np.interp(fine, rows, vessel.path[:, axis]) for axis in range(3)], axis=1)
    radii = np.interp(fine, rows, vessel.radii_mm)
    reach = np.ceil(vessel.radii_mm.max() / spacing_mm).astype(int) + 1
    cube = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    home = np.round(points / spacing_mm).astype(int)
    voxels = home[:, None] + cube
    distance = np.linalg.norm(voxels * spacing_mm - points[:, None], axis=2)
    hit = (distance <= radii[:, None]) | np.all(cube == 0, axis=1)
    chosen = voxels[hit]
    chosen = chosen[np.all((chosen >= 0) & (chosen < mask.shape), axis=1)]
    mask[tuple(chosen.T)] = True
