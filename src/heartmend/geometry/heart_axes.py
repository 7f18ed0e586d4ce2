"""Axes of the heart from its label map, and the planes of cardiac imaging that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from heartmend.geometry.grid import Grid
from heartmend.types import FloatArray, Mask

TIP_SHARE = 0.002
"""The apex is the mean of this share of the voxels of the left ventricle, those farthest from the mitral plane."""

_ROUNDING_MM = 1e-6


@dataclass(frozen=True, eq=False)
class ViewPlane:
    """A plane through the heart as it is displayed.

    Attributes:
        name: its name.
        centre_mm: (3,) a point of it, RAS+ mm.
        right: (3,) unit vector that points to the right of the screen.
        up: (3,) unit vector that points to the top of the screen.
        sides: what is behind the plane, and what is in front of it.
    """

    name: str
    centre_mm: FloatArray
    right: FloatArray
    up: FloatArray
    sides: tuple[str, str]


@dataclass(frozen=True, eq=False)
class HeartAxes:
    """Axes of a heart.

    Attributes:
        base_mm: (3,) centre of the mitral plane, RAS+ mm.
        apex_mm: (3,) apex of the left ventricle.
        septal: (3,) unit vector at a right angle to the long axis, from the left towards the right ventricle.
    """

    base_mm: FloatArray
    apex_mm: FloatArray
    septal: FloatArray

    @property
    def long(self) -> FloatArray:
        """(3,) unit vector of the long axis of the left ventricle, from the mitral plane to the apex."""
        return _unit(self.apex_mm - self.base_mm)

    def planes(self) -> tuple[ViewPlane, ViewPlane, ViewPlane]:
        """Compute the short-axis, four-chamber and two-chamber plane.

        The short axis is in the middle of the left ventricle and seen from the apex, with the anterior wall on top and
        the right ventricle on the left. The long-axis planes contain the long axis, with the apex on top: the
        four-chamber plane shows the right ventricle on the left, the two-chamber plane the anterior wall on the right.

        Returns:
            The planes, at right angles to each other.
        """
        middle, lateral = (self.base_mm + self.apex_mm) / 2, -self.septal
        anterior = np.cross(self.long, lateral)
        return (
            ViewPlane("short axis", middle, lateral, anterior, ("basal", "apical")),
            ViewPlane("four-chamber", middle, lateral, self.long, ("anterior", "inferior")),
            ViewPlane("two-chamber", middle, anterior, self.long, ("septal", "lateral")),
        )


def find_heart_axes(left_ventricle: Mask, left_atrium: Mask, right_ventricle: Mask, grid: Grid) -> HeartAxes | None:
    """Find the axes of a heart.

    The mitral plane is where the cavity of the left ventricle meets the left atrium: the centre of their common voxel
    faces. The apex is the part of the left ventricle that is farthest from it.

    Args:
        left_ventricle: (x, y, z) bool, its cavity.
        left_atrium: (x, y, z) bool.
        right_ventricle: (x, y, z) bool.
        grid: where the voxels are.

    Returns:
        The axes; None where a structure is absent, the left ventricle does not meet the atrium, or the right ventricle
        is on the long axis.
    """
    faces = _common_faces(left_ventricle, left_atrium)
    if not len(faces) or not right_ventricle.any():
        return None
    base = grid.index_to_world(faces).mean(axis=0)
    ventricle = grid.index_to_world(np.argwhere(left_ventricle))
    distance = np.linalg.norm(ventricle - base, axis=1)
    # Voxels at the same distance are all taken, so the apex of a symmetric ventricle is on its axis.
    apex = ventricle[distance >= np.quantile(distance, 1 - TIP_SHARE) - _ROUNDING_MM].mean(axis=0)
    if not np.linalg.norm(apex - base) > 0:
        return None
    long = _unit(apex - base)
    septal = grid.index_to_world(np.argwhere(right_ventricle)).mean(axis=0) - base
    septal = septal - (septal @ long) * long
    if np.linalg.norm(septal) < min(grid.spacing_mm):
        return None
    return HeartAxes(base, apex, _unit(septal))


def _common_faces(a: Mask, b: Mask) -> npt.NDArray[np.float64]:
    """(n, 3) centres, in voxel indices, of the faces between a voxel of one mask and a voxel of the other."""
    found = []
    for axis in range(3):
        first, second = (np.moveaxis(mask, axis, 0) for mask in (a, b))
        meets = (first[:-1] & second[1:]) | (second[:-1] & first[1:])
        index = np.argwhere(np.moveaxis(meets, 0, axis)).astype(float)
        index[:, axis] += 0.5
        found.append(index)
    return np.concatenate(found)


def _unit(vector: FloatArray) -> FloatArray:
    return vector / np.linalg.norm(vector)
