"""Signed distance primitives on a warped voxel grid: negative inside, millimetres, exact enough near the surface.

Every primitive is evaluated only in its own box of the canvas and merged into a whole-canvas field by a smooth minimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline, CubicSpline

from heartmend.geometry.boxes import Box

Float = NDArray[Any]  # float32 throughout

FAR_MM = 100.0
MARGIN_MM = 6.0


def smooth_noise(
    shape: Sequence[int], spacing_mm: Sequence[float] | NDArray[Any], length_mm: float, rng: np.random.Generator
) -> Float:
    """Random field of unit variance and zero mean whose values agree over about `length_mm`; float32 of `shape`.

    White noise on a lattice of that step, spread by cubic B-splines one axis at a time, so its cost hardly depends on
    the length.
    """
    bases = [_spline_basis(n, step, length_mm) for n, step in zip(shape, spacing_mm, strict=True)]
    field = rng.standard_normal([basis.shape[1] for basis in bases], dtype=np.float32)
    for axis, basis in enumerate(bases):
        field = np.moveaxis(np.tensordot(basis, field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field)


def _spline_basis(count: int, step_mm: float, length_mm: float) -> Float:
    """Cubic B-spline weights (count, lattice points), scaled so that white noise on the lattice keeps unit variance."""
    lattice_step = max(length_mm, 1.01 * step_mm)
    position = np.arange(count) * step_mm / lattice_step
    lattice = int(np.ceil(position[-1])) + 4
    knots = np.arange(-3, lattice + 1, dtype=np.float64)
    weights = BSpline.design_matrix(position, knots, 3).toarray()
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    return np.asarray(weights, np.float32)


def bounds(mask: NDArray[np.bool_], shape: Sequence[int], margin: int) -> Box:
    """The box about a mask's voxels, `margin` voxels wider; the whole volume if it is empty."""
    if not mask.any():
        return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
    lines = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    x, y, z = (slice(max(int(line[0]) - margin, 0), int(line[-1]) + margin + 1) for line in lines)
    return x, y, z


@dataclass(frozen=True)
class Canvas:
    """A voxel grid in the body's millimetres (x left, y posterior, z superior), seen through a smooth warp.

    `points[:, i, j, k]` is where voxel (i, j, k) lies in the unwarped body; `reach_mm` bounds the warp.
    """

    origin_mm: NDArray[np.float64]
    spacing_mm: NDArray[np.float64]
    points: Float
    reach_mm: float

    @property
    def shape(self) -> tuple[int, int, int]:
        _, x, y, z = self.points.shape
        return x, y, z

    def empty(self) -> Float:
        return np.full(self.shape, FAR_MM, np.float32)

    def box(self, low_mm: ArrayLike, high_mm: ArrayLike) -> Box:
        """Voxels that may lie between two corners of the unwarped body."""
        low = (np.asarray(low_mm) - self.reach_mm - self.origin_mm) / self.spacing_mm
        high = (np.asarray(high_mm) + self.reach_mm - self.origin_mm) / self.spacing_mm
        first = np.clip(np.floor(low).astype(int), 0, self.shape)
        last = np.clip(np.ceil(high).astype(int) + 1, first, self.shape)
        x, y, z = (slice(int(f), int(e)) for f, e in zip(first, last, strict=True))
        return x, y, z

    def crop(self, box: Box) -> Canvas:
        """The part of the canvas in a box, for work that needs no more."""
        start = np.array([side.start for side in box])
        points = np.ascontiguousarray(self.points[(slice(None), *box)])
        return Canvas(self.origin_mm + start * self.spacing_mm, self.spacing_mm, points, self.reach_mm)

    def local(self, box: Box, centre_mm: ArrayLike, axes: ArrayLike | None = None) -> Float:
        """Coordinates (3, ...) of the box's voxels about a centre, along the rows of `axes` if given."""
        offset = self.points[(slice(None), *box)] - np.asarray(centre_mm, np.float32)[:, None, None, None]
        if axes is None:
            return offset
        return np.tensordot(np.asarray(axes, np.float32), offset, axes=1)


def smooth_min(a: Float, b: Float, blend_mm: float) -> Float:
    """Minimum of two distances with the crease rounded over `blend_mm` (Quilez' quadratic polynomial)."""
    least = np.minimum(a, b)
    if blend_mm > 0:
        crease = np.subtract(a, b)
        np.abs(crease, out=crease)
        np.subtract(np.float32(blend_mm), crease, out=crease)
        np.maximum(crease, 0, out=crease)
        np.square(crease, out=crease)
        crease *= np.float32(0.25 / blend_mm)
        least -= crease
    return least


def smooth_max(a: Float, b: Float, blend_mm: float) -> Float:
    """The larger of two fields, rounded over `blend_mm` where they meet."""
    least = smooth_min(-a, -b, blend_mm)
    return np.negative(least, out=least)


def add_ellipsoid(
    field: Float,
    canvas: Canvas,
    centre_mm: ArrayLike,
    axes: ArrayLike,
    radii_mm: ArrayLike,
    blend_mm: float = 0.0,
    margin_mm: float = MARGIN_MM,
) -> None:
    """Unite an ellipsoid with a field, in place; `axes` holds its unit axes as rows."""
    centre, frame, radii = np.asarray(centre_mm), np.asarray(axes), np.asarray(radii_mm, np.float64)
    half = np.abs(frame.T) @ (radii + margin_mm + blend_mm)
    box = canvas.box(centre - half, centre + half)
    local = canvas.local(box, centre, frame)
    scale = radii.astype(np.float32)[:, None, None, None]
    local /= scale
    unit = np.maximum(np.sqrt(np.einsum("i...,i...->...", local, local)), np.float32(1e-6))
    local /= scale
    gradient = np.sqrt(np.einsum("i...,i...->...", local, local))
    field[box] = smooth_min(
        field[box], unit * (unit - 1) / np.maximum(gradient, np.float32(1e-6 / radii.min())), blend_mm
    )


def add_tube(
    field: Float, canvas: Canvas, path_mm: NDArray[np.float64], radii_mm: NDArray[np.float64], blend_mm: float = 0.0
) -> None:
    """Unite a chain of round cones along a path (n, 3) with radii (n,) with a field, in place."""
    reach = radii_mm.max() + MARGIN_MM + blend_mm
    whole = canvas.box((path_mm - reach).min(axis=0), (path_mm + reach).max(axis=0))
    tube = np.full(field[whole].shape, FAR_MM, np.float32)
    for start, end, radius, next_radius in zip(path_mm, path_mm[1:], radii_mm, radii_mm[1:], strict=False):
        wide = max(radius, next_radius) + MARGIN_MM + blend_mm
        box = canvas.box(np.minimum(start, end) - wide, np.maximum(start, end) + wide)
        offset, along = canvas.local(box, start), (end - start).astype(np.float32)
        t = np.clip(np.tensordot(along, offset, axes=1) / max(float(along @ along), 1e-9), 0, 1)
        offset -= along[:, None, None, None] * t
        distance = np.sqrt(np.einsum("i...,i...->...", offset, offset))
        distance -= np.float32(radius) + np.float32(next_radius - radius) * t
        x, y, z = (slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, whole, strict=True))
        np.minimum(tube[x, y, z], distance, out=tube[x, y, z])
    field[whole] = smooth_min(field[whole], tube, blend_mm)


@dataclass(frozen=True)
class Plane:
    """A cut that two structures share: a point on it and its unit normal."""

    point: NDArray[np.float64]
    normal: NDArray[np.float64]

    def distance(self, canvas: Canvas) -> Float:
        """Distance over the canvas, positive on the side that the normal points to."""
        direction = self.normal.astype(np.float32)
        return np.tensordot(direction, canvas.points, axes=1) - np.float32(self.normal @ self.point)


def spline(knots_mm: ArrayLike, radii_mm: ArrayLike, step_mm: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A smooth path through the knots, one point about every `step_mm`, with radii interpolated between theirs."""
    knots, radii = np.asarray(knots_mm, np.float64), np.asarray(radii_mm, np.float64)
    chord = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    count = max(int(np.ceil(chord[-1] / step_mm)) + 1, 2)
    at = np.linspace(0, chord[-1], count)
    path = CubicSpline(chord, knots)(at) if len(knots) > 2 else np.linspace(knots[0], knots[-1], count)
    return path, np.interp(at, chord, radii)
