"""Curves in space: smoothing, frames without twist, and the surface that is displayed straightened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from heartmend.types import FloatArray


@dataclass(frozen=True, eq=False)
class FramedCurve:
    """A curve with points at equal distances and a frame at each of them.

    Attributes:
        points_mm: (n, 3) RAS+ mm, `step_mm` apart.
        tangent: (n, 3) unit vectors along the curve.
        normal: (n, 3) unit vectors at a right angle to the curve, which turn about it as little as possible.
        step_mm: distance between two points along the curve.
    """

    points_mm: FloatArray
    tangent: FloatArray
    normal: FloatArray
    step_mm: float

    @property
    def length_mm(self) -> float:
        """Length of the curve."""
        return self.step_mm * (len(self.points_mm) - 1)

    @property
    def binormal(self) -> FloatArray:
        """(n, 3) unit vectors at a right angle to tangent and normal."""
        return np.cross(self.tangent, self.normal)

    def straightened(self, half_width_mm: float, count: int, angle: float = 0.0) -> FloatArray:
        """Compute the points of the straightened curved planar reformation (Kanitsar et al. 2002).

        Each row is a line of points at a right angle to the curve. So lengths along the curve, and across it, are those
        of the body.

        Args:
            half_width_mm: distance of the outermost points from the curve.
            count: number of points in a row; the middle one of an odd number is on the curve.
            angle: by which the rows are turned about the curve, from the normal towards the binormal, in radians.

        Returns:
            (n, count, 3) RAS+ mm.
        """
        across = np.cos(angle) * self.normal + np.sin(angle) * self.binormal
        offsets = np.linspace(-half_width_mm, half_width_mm, count)
        return self.points_mm[:, None] + offsets[None, :, None] * across[:, None]


def frame_curve(points_mm: FloatArray, step_mm: float = 0.5, smooth_mm: float = 0.0) -> FramedCurve:
    """Sample a curve at equal distances and compute its frames by double reflection (Wang et al. 2008).

    Args:
        points_mm: (k, 3) two or more different points in their order along the curve, RAS+ mm.
        step_mm: approximate distance of the samples.
        smooth_mm: standard deviation, along the curve, of the Gaussian that smooths it; its ends stay.

    Returns:
        The curve.

    Example:
        >>> import numpy as np
        >>> curve = frame_curve(np.array([[0.0, 0, 0], [3, 0, 0]]), step_mm=1.0)
        >>> curve.points_mm[:, 0].tolist(), curve.tangent[0].tolist()
        ([0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 0.0])
    """
    points = _resampled(points_mm, step_mm)
    if smooth_mm > 0 and len(points) > 2:
        smooth = gaussian_filter1d(points, smooth_mm / step_mm, axis=0, mode="nearest")
        near_start = np.exp(-0.5 * (np.arange(len(points)) * step_mm / smooth_mm) ** 2)[:, None]
        smooth += near_start * (points[0] - smooth[0]) + near_start[::-1] * (points[-1] - smooth[-1])
        points = _resampled(smooth, step_mm)
    tangent = np.gradient(points, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    step = float(np.linalg.norm(np.diff(points, axis=0), axis=1).mean())
    return FramedCurve(points, tangent, _untwisted_normals(points, tangent), step)


def _resampled(points_mm: FloatArray, step_mm: float) -> FloatArray:
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points_mm, axis=0), axis=1))])
    # Two or three samples of a curve that returns to its start would have no direction.
    returns = np.linalg.norm(points_mm[-1] - points_mm[0]) < along[-1] / 2
    count = max(4 if returns else 2, round(along[-1] / step_mm) + 1)
    at = np.linspace(0, along[-1], count)
    return np.stack([np.interp(at, along, points_mm[:, axis]) for axis in range(3)], axis=1)


def _untwisted_normals(points: FloatArray, tangent: FloatArray) -> FloatArray:
    first = np.eye(3)[np.abs(tangent[0]).argmin()]
    normals = [_unit(first - (first @ tangent[0]) * tangent[0])]
    for i in range(len(points) - 1):
        way = points[i + 1] - points[i]
        normal, turned = _reflected(normals[-1], way), _reflected(tangent[i], way)
        normals.append(_unit(_reflected(normal, tangent[i + 1] - turned)))
    return np.array(normals)


def _reflected(vector: FloatArray, across: FloatArray) -> FloatArray:
    """Reflect a vector at the plane at a right angle to `across`."""
    square = across @ across
    return vector if square < 1e-18 else vector - (2 * (across @ vector) / square) * across


def _unit(vector: FloatArray) -> FloatArray:
    return vector / np.linalg.norm(vector)
