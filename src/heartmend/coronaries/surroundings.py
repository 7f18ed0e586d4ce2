"""Structures around the coronary arteries: distances to chambers, and the axes of the heart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.geometry.grid import Grid
from heartmend.geometry.scalar_field import ScalarField
from heartmend.types import FloatArray, Mask

AORTA = "Aorta"
"""Name of the structure that the coronary arteries arise from."""
_PARTS = {"left ventricle": ("LV", "Myocardium"), "left atrium": ("LA", "LAA"), "RV": ("RV",), "RA": ("RA",)}
"""Structures that are one for the course of a vessel: the label LV is its cavity, the label Myocardium its wall."""
_COARSE_MM = 1.5
"""Voxel spacing of the distances: a groove is some ten mm wide."""


@dataclass(frozen=True, eq=False)
class CoronarySurroundings:
    """Chambers around the coronary arteries. Positions are in mm on the voxel axes: voxel index times spacing.

    Attributes:
        left_ventricle: distance in mm to the left ventricle with its wall; 0 inside.
        right_ventricle: distance to the right ventricle.
        left_atrium: distance to the left atrium with its appendage.
        right_atrium: distance to the right atrium.
        aorta_mm: (k, 3) positions of the aorta's voxels, sampled.
        leftward: (3,) unit vector from the right to the left atrium.
        middle_mm: (3,) position between the two ventricles.
        long: (3,) unit vector from the atria to the ventricles.
        septal: (3,) unit vector at a right angle to it, from the left to the right ventricle.
        anterior: (3,) unit vector at a right angle to both, to the front wall.
    """

    left_ventricle: ScalarField
    right_ventricle: ScalarField
    left_atrium: ScalarField
    right_atrium: ScalarField
    aorta_mm: FloatArray
    leftward: FloatArray
    middle_mm: FloatArray
    long: FloatArray
    septal: FloatArray
    anterior: FloatArray

    @classmethod
    def of(cls, masks: Mapping[str, Mask], grid: Grid) -> CoronarySurroundings | None:
        """Measure the surroundings from masks.

        Args:
            masks: (x, y, z) bool, by the names of the built-in heart; others are not used.
            grid: grid of the masks; its axes tell left from right.

        Returns:
            The surroundings; None if the aorta, an atrium or a ventricle is missing.
        """
        stride = [max(round(_COARSE_MM / step), 1) for step in grid.spacing_mm]
        coarse = {name: mask[:: stride[0], :: stride[1], :: stride[2]] for name, mask in masks.items()}
        spacing = tuple(float(step * every) for step, every in zip(grid.spacing_mm, stride, strict=True))
        parts = {
            part: np.ascontiguousarray(np.logical_or.reduce([coarse[name] for name in names if name in coarse]))
            for part, names in _PARTS.items()
            if any(name in coarse for name in names)
        }
        if AORTA not in coarse or len(parts) < len(_PARTS) or not all(map(np.any, (coarse[AORTA], *parts.values()))):
            return None
        fields = [ScalarField(distance_transform_mm(~part, spacing), spacing) for part in parts.values()]
        centre = {part: np.argwhere(mask).mean(axis=0) * spacing for part, mask in parts.items()}
        ventricle, atrium, rv, ra = (centre[part] for part in _PARTS)
        long = _unit((ventricle + rv) / 2 - (atrium + ra) / 2)
        septal = rv - ventricle
        septal = _unit(septal - (septal @ long) * long)
        # On a grid whose axes are those of the patient mirrored, the cross product points backwards.
        handed = np.sign(np.linalg.det(grid.affine[:3, :3]))
        anterior = handed * np.cross(septal, long)
        left_ventricle, left_atrium, right_ventricle, right_atrium = fields
        return cls(
            left_ventricle, right_ventricle, left_atrium, right_atrium, np.argwhere(coarse[AORTA]) * np.array(spacing),
            _unit(atrium - ra), (ventricle + rv) / 2, long, septal, anterior,
        )  # fmt: skip

    def course(self, points_mm: FloatArray) -> Course:
        """Describe where positions are on the heart.

        Args:
            points_mm: (n, 3) positions.

        Returns:
            Distances and grooves at each of them.
        """
        return Course(
            self.left_ventricle(points_mm), self.right_ventricle(points_mm), self.left_atrium(points_mm),
            self.right_atrium(points_mm), (points_mm - self.middle_mm) @ self.anterior,
            (points_mm - self.middle_mm) @ self.septal,
        )  # fmt: skip


_NEAR_MM, _AWAY_MM = 8.0, 16.0
"""A vessel in a groove is within the first distance of both structures, and never beyond the second one."""


@dataclass(frozen=True, eq=False)
class Course:
    """Distances of positions from the chambers in mm, and how much each is in a groove, 0 to 1.

    Attributes:
        left_ventricle: (n,) distance to the left ventricle with its wall.
        right_ventricle: (n,) distance to the right ventricle.
        left_atrium: (n,) distance to the left atrium.
        right_atrium: (n,) distance to the right atrium.
        anterior_mm: (n,) how far in front of the middle of the ventricles.
        septal_mm: (n,) how far on the side of the right ventricle.
    """

    left_ventricle: FloatArray
    right_ventricle: FloatArray
    left_atrium: FloatArray
    right_atrium: FloatArray
    anterior_mm: FloatArray
    septal_mm: FloatArray

    @property
    def height_on_short_axis(self) -> FloatArray:
        """(n,) sine of the angle about the long axis: 1 in front, 0 at the sides, -1 at the back."""
        return self.anterior_mm / np.maximum(np.hypot(self.anterior_mm, self.septal_mm), 1e-6)

    @property
    def front_groove(self) -> FloatArray:
        """(n,) anterior interventricular groove, of the LAD."""
        return self._between_ventricles * (self.anterior_mm > 0)

    @property
    def back_groove(self) -> FloatArray:
        """(n,) posterior interventricular groove, of the posterior descending artery."""
        return self._between_ventricles * (self.anterior_mm <= 0)

    @property
    def left_groove(self) -> FloatArray:
        """(n,) left atrioventricular groove, of the LCx."""
        return near(self.left_ventricle) * near(self.left_atrium)

    @property
    def right_groove(self) -> FloatArray:
        """(n,) right atrioventricular groove, of the RCA."""
        return near(self.right_ventricle) * near(self.right_atrium)

    @property
    def _between_ventricles(self) -> FloatArray:
        return near(self.left_ventricle) * near(self.right_ventricle)


def near(distance_mm: FloatArray) -> FloatArray:
    """Weight distances: 1 up to 8 mm, falling to 0 at 16 mm.

    Args:
        distance_mm: (n,) distances.

    Returns:
        (n,) weights.
    """
    return np.clip((_AWAY_MM - distance_mm) / (_AWAY_MM - _NEAR_MM), 0.0, 1.0)


def _unit(vector: FloatArray) -> FloatArray:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
