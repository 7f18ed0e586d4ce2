"""Plain model of a heart on which phantom coronary trees run: an ellipsoid with four chambers and an aorta.

Coordinates of the heart: z towards the base, x to the left, y to the back; the origin in the middle of the groove
between atria and ventricles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from heartmend.phantom.plan import Label

Float = NDArray[Any]
STEP_MM = 0.25
"""Distance of two points of a centreline."""
LEFT_OSTIUM, RIGHT_OSTIUM = 50.0, -50.0
"""Angles of the ostia about the axis of the aorta in degrees: 0 at the front, 90 at the left."""
_SEPTUM = (-164.0, 40.0)
"""Angles of the posterior and the anterior groove between the ventricles."""
_AORTA_RADIUS_MM = 14.0
_GROOVE_MM = np.array([41.0, 37.0])
DEPTH_MM = 78.0
"""Depth of the apex below the groove."""


@dataclass(frozen=True)
class EllipsoidHeart:
    """Ellipsoid of the heart. A position is an angle in degrees about its axis and a height, 1 at the apex's depth."""

    size: float

    @classmethod
    def of_ostium(cls, right_mm: Float) -> EllipsoidHeart:
        """The heart whose right ostium is at a point."""
        unit = cls(1.0).ostium(RIGHT_OSTIUM)
        return cls(float(right_mm @ unit / (unit @ unit)))

    def surface(self, phi: Float, height: Float) -> Float:
        """Points (n, 3) of the surface."""
        angle = np.radians(phi)
        width = np.sqrt(np.maximum(1 - height**2, 0.02))[:, None] * _GROOVE_MM
        return self.size * np.stack(
            [width[:, 0] * np.sin(angle), -width[:, 1] * np.cos(angle), DEPTH_MM * height], axis=1
        )

    def position(self, point: Float) -> tuple[float, float]:
        """Angle and height of a point near the surface."""
        x, y, z = point / self.size
        phi = np.degrees(np.arctan2(x / _GROOVE_MM[0], -y / _GROOVE_MM[1]))
        return float(phi), float(z / DEPTH_MM)

    def axis_of_aorta(self) -> Float:
        """Point of the aorta's axis at the height of the ostia: it rises in front of the base."""
        return self.size * np.array([0.0, -0.55 * _GROOVE_MM[1], 0.30 * DEPTH_MM])

    def ostium(self, phi: float) -> Float:
        """Point of an ostium, a little inside the wall of the aorta."""
        angle = np.radians(phi)
        ray = np.array([np.sin(angle), -np.cos(angle), 0.0])
        return self.axis_of_aorta() + self.size * (_AORTA_RADIUS_MM - 0.5) * ray

    def inside(self, points: Float) -> NDArray[np.bool_]:
        scaled = points / (self.size * np.array([*_GROOVE_MM, DEPTH_MM]))
        return np.asarray((scaled**2).sum(axis=-1) < 1)

    def in_aorta(self, points: Float) -> NDArray[np.bool_]:
        offset = points - self.axis_of_aorta()
        radius = np.hypot(offset[..., 0], offset[..., 1])
        return np.asarray((radius < self.size * _AORTA_RADIUS_MM) & (offset[..., 2] > -14 * self.size))

    def chambers(self, points: Float) -> NDArray[np.uint8]:
        """Chambers at points (..., 3), in the ids of `Label`, around the grooves in which the vessels run."""
        scaled = points / (self.size * np.array([*_GROOVE_MM, DEPTH_MM]))
        depth, height = np.linalg.norm(scaled, axis=-1), scaled[..., 2]
        phi = np.degrees(np.arctan2(scaled[..., 0], -scaled[..., 1]))
        below, above = (depth < 1) & (height < -0.04), (depth < 0.97) & (height > 0.04) & (height < 0.55)
        right = (phi > _SEPTUM[0]) & (phi < _SEPTUM[1])
        found = np.zeros(depth.shape, np.uint8)
        found[below & ~right] = Label.MYOCARDIUM
        found[below & ~right & (depth < 0.75) & (scaled[..., 0] > -0.1)] = Label.LV
        found[below & right & (depth < 0.93)] = Label.RV
        found[above & (phi > 55)] = Label.LA
        found[above & (phi < -55)] = Label.RA
        found[self.in_aorta(points)] = Label.AORTA
        return found

    def course(self, knots: Sequence[tuple[float, float]], start: Float, rng: np.random.Generator) -> Float:
        """Smooth winding course from a point through positions on the surface."""
        phi, height = np.array(knots, float).T
        phi = phi + rng.normal(0, 3, len(phi)) * np.linspace(0.3, 1, len(phi))
        on_surface = self.surface(phi, height)
        outward = on_surface / np.linalg.norm(on_surface, axis=1, keepdims=True)
        points = np.concatenate([start[None], on_surface + 3.0 * outward])
        first = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        fine = np.arange(0, first[-1], STEP_MM)
        path = np.stack([np.interp(fine, first, points[:, axis]) for axis in range(3)], axis=1)
        path = gaussian_filter1d(path, 4.0 / STEP_MM, axis=0, mode="nearest")
        for _ in range(3):  # back to the surface, on which straight lines do not stay
            away = np.clip(fine / 8.0, 0, 1)[:, None]
            scaled = np.linalg.norm(path / (self.size * np.array([*_GROOVE_MM, DEPTH_MM])), axis=1, keepdims=True)
            lift = (1 / np.maximum(scaled, 0.3) - 1) * np.linalg.norm(path, axis=1, keepdims=True) + 2.6
            path = path + away * lift * path / np.linalg.norm(path, axis=1, keepdims=True)
            path = gaussian_filter1d(path, 2.0 / STEP_MM, axis=0, mode="nearest")
        wave = gaussian_filter1d(rng.standard_normal(path.shape), rng.uniform(4, 7) / STEP_MM, axis=0)
        path = path + rng.uniform(0.5, 1.5) * np.clip(fine / 8.0, 0, 1)[:, None] * wave / wave.std()
        path[0] = start
        return _resampled(gaussian_filter1d(path, 1.0 / STEP_MM, axis=0, mode="nearest"), start)


def _resampled(path: Float, start: Float) -> Float:
    path = np.concatenate([start[None], path])
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.arange(0, length[-1], STEP_MM)
    return np.stack([np.interp(at, length, path[:, axis]) for axis in range(3)], axis=1)
