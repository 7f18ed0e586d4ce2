"""Signed distance primitives on a warped voxel grid: in mm, negative inside, nearly exact near the surface.

Every primitive is evaluated in its own box of the canvas only, and united with the full field by a smooth minimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline, CubicSpline

from heartmend.geometry.boxes import Box, relative_box

Float = NDArray[Any]  # float32 throughout

FAR_MM = 100.0
MARGIN_MM = 6.0


def smooth_noise(
    shape: Sequence[int], spacing_mm: Sequence[float] | NDArray[Any], length_mm: float, rng: np.random.Generator
) -> Float:
    """Sample a smooth random field: white noise on a lattice, interpolated by cubic B-splines.

    Args:
        shape: shape of the field (x, y, z).
        spacing_mm: voxel size along x, y and z in mm.
        length_mm: correlation length in mm, the step of the lattice.
        rng: random generator.

    Returns:
        float32 field of the shape with mean 0 and variance 1.
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
    """Compute the bounding box of a mask with a margin.

    Args:
        mask: boolean mask (x, y, z).
        shape: shape of the volume.
        margin: margin in voxels.

    Returns:
        Slices along x, y and z; of the full volume if the mask is empty.
    """
    if not mask.any():
        return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
    lines = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    x, y, z = (slice(max(int(line[0]) - margin, 0), int(line[-1]) + margin + 1) for line in lines)
    return x, y, z


@dataclass(frozen=True)
class Canvas:
    """Voxel grid in body coordinates (x left, y posterior, z superior), with a smooth warp.

    Attributes:
        origin_mm: (3,) body coordinates of the first voxel without the warp.
        spacing_mm: (3,) voxel size in mm.
        points: (3, x, y, z) body coordinates of each voxel, float32, with the warp.
        reach_mm: largest displacement of the warp in mm.
    """

    origin_mm: NDArray[np.float64]
    spacing_mm: NDArray[np.float64]
    points: Float
    reach_mm: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (x, y, z) of the grid."""
        _, x, y, z = self.points.shape
        return x, y, z

    def empty(self) -> Float:
        """Make a field without any shape.

        Returns:
            (x, y, z) float32, `FAR_MM` everywhere.
        """
        return np.full(self.shape, FAR_MM, np.float32)

    def box(self, low_mm: ArrayLike, high_mm: ArrayLike) -> Box:
        """Compute the box of voxels that may be between two corners of the body.

        Args:
            low_mm: (3,) lower corner in mm.
            high_mm: (3,) upper corner in mm.

        Returns:
            Slices along x, y and z.
        """
        low = (np.asarray(low_mm) - self.reach_mm - self.origin_mm) / self.spacing_mm
        high = (np.asarray(high_mm) + self.reach_mm - self.origin_mm) / self.spacing_mm
        first = np.clip(np.floor(low).astype(int), 0, self.shape)
        last = np.clip(np.ceil(high).astype(int) + 1, first, self.shape)
        x, y, z = (slice(int(f), int(e)) for f, e in zip(first, last, strict=True))
        return x, y, z

    def crop(self, box: Box) -> Canvas:
        """Crop the canvas to a box.

        Args:
            box: slices along x, y and z.

        Returns:
            The cropped canvas.
        """
        start = np.array([side.start for side in box])
        points = np.ascontiguousarray(self.points[(slice(None), *box)])
        return Canvas(self.origin_mm + start * self.spacing_mm, self.spacing_mm, points, self.reach_mm)

    def local(self, box: Box, centre_mm: ArrayLike, axes: ArrayLike | None = None) -> Float:
        """Compute the coordinates of a box's voxels relative to a centre.

        Args:
            box: slices along x, y and z.
            centre_mm: (3,) body coordinates in mm.
            axes: (3, 3) unit axes as rows; the body's axes if None.

        Returns:
            (3, x, y, z) coordinates in mm, float32.
        """
        offset = self.points[(slice(None), *box)] - np.asarray(centre_mm, np.float32)[:, None, None, None]
        if axes is None:
            return offset
        return np.tensordot(np.asarray(axes, np.float32), offset, axes=1)


def smooth_min(a: Float, b: Float, blend_mm: float) -> Float:
    """Compute the minimum of two distances with a rounded crease (quadratic polynomial, Quilez 2013).

    Args:
        a: signed distance in mm, float32.
        b: signed distance of the same shape.
        blend_mm: width of the rounding in mm.

    Returns:
        The union of both shapes.
    """
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
    """Compute the maximum of two distances with a rounded crease.

    Args:
        a: signed distance in mm, float32.
        b: signed distance of the same shape.
        blend_mm: width of the rounding in mm.

    Returns:
        The intersection of both shapes.
    """
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
    """Unite a field with an ellipsoid, in place.

    Args:
        field: signed distance over the canvas in mm, float32.
        canvas: grid of the field.
        centre_mm: (3,) body coordinates of the centre.
        axes: (3, 3) unit axes of the ellipsoid as rows.
        radii_mm: (3,) radii along the axes in mm.
        blend_mm: width of the rounding of the union in mm.
        margin_mm: distance around the ellipsoid within which it is evaluated, in mm.
    """
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
    """Unite a field with a tube, in place: a chain of round cones along a path.

    Args:
        field: signed distance over the canvas in mm, float32.
        canvas: grid of the field.
        path_mm: (n, 3) points of the path in body coordinates.
        radii_mm: (n,) radii in mm.
        blend_mm: width of the rounding of the union in mm.
    """
    reach = radii_mm.max() + MARGIN_MM + blend_mm
    full = canvas.box((path_mm - reach).min(axis=0), (path_mm + reach).max(axis=0))
    tube = np.full(field[full].shape, FAR_MM, np.float32)
    for start, end, radius, next_radius in zip(path_mm, path_mm[1:], radii_mm, radii_mm[1:], strict=False):
        wide = max(radius, next_radius) + MARGIN_MM + blend_mm
        box = canvas.box(np.minimum(start, end) - wide, np.maximum(start, end) + wide)
        offset, along = canvas.local(box, start), (end - start).astype(np.float32)
        t = np.clip(np.tensordot(along, offset, axes=1) / max(float(along @ along), 1e-9), 0, 1)
        offset -= along[:, None, None, None] * t
        distance = np.sqrt(np.einsum("i...,i...->...", offset, offset))
        distance -= np.float32(radius) + np.float32(next_radius - radius) * t
        part = tube[relative_box(box, full)]
        np.minimum(part, distance, out=part)
    field[full] = smooth_min(field[full], tube, blend_mm)


@dataclass(frozen=True)
class Plane:
    """Plane that two structures share, such as a valve.

    Attributes:
        point: (3,) a point of the plane in body coordinates in mm.
        normal: (3,) unit normal.
    """

    point: NDArray[np.float64]
    normal: NDArray[np.float64]

    def distance(self, canvas: Canvas) -> Float:
        """Compute the signed distance to the plane.

        Args:
            canvas: grid in the coordinates of the body.

        Returns:
            Distance in mm over the canvas, float32, positive on the side of the normal.
        """
        direction = self.normal.astype(np.float32)
        return np.tensordot(direction, canvas.points, axes=1) - np.float32(self.normal @ self.point)


def spline(knots_mm: ArrayLike, radii_mm: ArrayLike, step_mm: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute a smooth path through knots (cubic spline).

    Args:
        knots_mm: (k, 3) points to go through in mm.
        radii_mm: (k,) radii at the knots in mm.
        step_mm: distance of two points of the path in mm, about.

    Returns:
        Path (n, 3) and radii (n,) in mm; radii are interpolated linearly.
    """
    knots, radii = np.asarray(knots_mm, np.float64), np.asarray(radii_mm, np.float64)
    chord = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    count = max(int(np.ceil(chord[-1] / step_mm)) + 1, 2)
    at = np.linspace(0, chord[-1], count)
    path = CubicSpline(chord, knots)(at) if len(knots) > 2 else np.linspace(knots[0], knots[-1], count)
    return path, np.interp(at, chord, radii)
