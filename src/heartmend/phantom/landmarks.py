"""Landmarks that several structures share: valve planes, aortic root, wall of the left atrium."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heartmend.phantom.plan import Plan, Vector
from heartmend.phantom.sdf import Plane


@dataclass(frozen=True)
class Landmarks:
    """Landmarks of a heart in body coordinates.

    Attributes:
        mitral: valve plane; its normal points into the atrium.
        tricuspid: valve plane; its normal points into the atrium.
        aortic: valve plane; its normal points along the outflow.
        pulmonary: valve plane; its normal points along the outflow.
        bifurcation: (3,) bifurcation of the pulmonary artery in mm.
        sinuses: (3, 3) unit vectors outward from the right, left and non-coronary sinus of the aortic root.
    """

    mitral: Plane
    tricuspid: Plane
    aortic: Plane
    pulmonary: Plane
    bifurcation: Vector
    sinuses: NDArray[np.float64]

    @classmethod
    def of(cls, plan: Plan) -> Landmarks:
        """Compute the landmarks of a plan.

        Args:
            plan: proportions of the heart.

        Returns:
            Its landmarks.
        """
        frame, wobble = plan.frame, plan.wobble
        root_axis = unit(np.array([-0.28, -0.08, 1.0]) + 0.06 * wobble[0])
        bifurcation = np.array([12.0, -4, 59]) + 2.5 * wobble[9]
        return cls(
            mitral=Plane(np.zeros(3), unit(-frame.apex + 0.04 * wobble[2])),
            tricuspid=Plane(plan.tricuspid_valve, unit(-0.8 * frame.apex + 0.5 * frame.septal)),
            aortic=Plane(plan.aortic_valve, root_axis),
            pulmonary=Plane(plan.pulmonary_valve, unit(bifurcation - plan.pulmonary_valve)),
            bifurcation=bifurcation,
            sinuses=_sinus_directions(root_axis, turn=0.25 * wobble[1, 0]),
        )


def atrial_wall(plan: Plan, direction: tuple[float, float, float], depth: float) -> Vector:
    """Compute a point in the ellipsoid of the left atrium.

    Args:
        plan: proportions and landmarks of the heart.
        direction: direction in the ellipsoid's own axes.
        depth: 0 is the centre, 1 the wall.

    Returns:
        (3,) body coordinates in mm.
    """
    place: Vector = plan.la_centre + plan.atrial_tilt.inv().apply(unit(np.array(direction)) * plan.la_radii_mm * depth)
    return place


def outside_ventricle(plan: Plan, point: Vector, clearance_mm: float) -> Vector:
    """Move a point away from the long axis until it is outside of the left ventricle.

    Args:
        plan: proportions and landmarks of the heart.
        point: (3,) body coordinates in mm.
        clearance_mm: distance to keep from the outer wall in mm.

    Returns:
        (3,) body coordinates in mm.
    """
    along, septal, up = (float(part) for part in plan.frame.axes @ point)
    length = plan.lv_length_mm
    inside = 1 - min(abs((along - 0.3 * length) / (0.7 * length)), 1.0) ** 2
    needed = plan.lv_radius_mm * np.sqrt(inside) + plan.lateral_mm + clearance_mm
    stretch = max(1.0, needed / max(float(np.hypot(septal, up)), 1e-6)) if along > -4 else 1.0
    return plan.frame.at(along, septal * stretch, up * stretch)


def unit(vector: Vector) -> Vector:
    """Normalise a vector.

    Args:
        vector: (3,) vector.

    Returns:
        (3,) vector of length 1.
    """
    return np.asarray(vector / np.linalg.norm(vector))


def _sinus_directions(root_axis: Vector, turn: float) -> NDArray[np.float64]:
    """Outward directions of the right, the left and the non-coronary sinus."""
    angles = np.deg2rad([-102.0, 18.0, 138.0]) + turn
    around = np.stack([np.cos(angles), np.sin(angles), np.zeros(3)], axis=1)
    around -= (around @ root_axis)[:, None] * root_axis
    return np.stack([unit(direction) for direction in around])
