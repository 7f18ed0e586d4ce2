"""Proportions of a phantom heart and the positions of its landmarks, sampled at random.

Body coordinates are in mm: x to the left, y posterior, z superior; the origin is the centre of the mitral valve.
Proportions are textbook adult values with wide spreads; nothing was measured on any data set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Vector = NDArray[Any]  # (3,) float64


class Label(IntEnum):
    """Values of the phantom's label maps: those of the Public Cardiac CT Dataset, and the optional venae cavae."""

    BACKGROUND = 0
    MYOCARDIUM = 1
    LA = 2
    LV = 3
    RA = 4
    RV = 5
    AORTA = 6
    PA = 7
    LAA = 8
    CORONARY = 9
    PV = 10
    SVC = 11
    IVC = 12


VENAE_CAVAE = (Label.SVC, Label.IVC)
STRUCTURES = tuple(label for label in Label if label not in (Label.BACKGROUND, *VENAE_CAVAE))
"""The ten structures that every phantom has."""


@dataclass(frozen=True)
class Frame:
    """Axes of the heart, as unit vectors in body coordinates.

    Attributes:
        apex: from the base to the apex.
        septal: from the left to the right ventricle, across the septum.
        up: perpendicular to both.
    """

    apex: Vector
    septal: Vector
    up: Vector

    def at(self, apex_mm: float, septal_mm: float, up_mm: float) -> Vector:
        """Convert coordinates along the heart's axes to body coordinates.

        Args:
            apex_mm: towards the apex.
            septal_mm: towards the right ventricle.
            up_mm: upwards.

        Returns:
            (3,) body coordinates in mm.
        """
        return apex_mm * self.apex + septal_mm * self.septal + up_mm * self.up

    @property
    def axes(self) -> NDArray[np.float64]:
        """The axes as rows (3, 3): apex, septal, up."""
        return np.stack([self.apex, self.septal, self.up])


@dataclass(frozen=True)
class Plan:
    """Proportions and landmarks of one heart: lengths and radii in mm, points (3,) in body coordinates in mm."""

    scale: float
    frame: Frame
    lv_length_mm: float
    lv_radius_mm: float
    lv_squash: float
    septum_mm: float
    lateral_mm: float
    apex_wall_mm: float
    papillary: bool
    trabeculae_mm: float
    rv_bulge_mm: float
    rv_size: float
    ra_radii_mm: Vector
    la_radii_mm: Vector
    atrial_tilt: Rotation
    aortic_valve: Vector
    pulmonary_valve: Vector
    tricuspid_valve: Vector
    la_centre: Vector
    ra_centre: Vector
    aorta_radius_mm: float
    sinus_bulge_mm: float
    arch_height_mm: float
    arch_lean_mm: float
    pa_radius_mm: float
    laa_length_mm: float
    laa_bend: float
    laa_lobes: int
    laa_radius_mm: float
    pv_radius_mm: float
    pv_length_mm: float
    pv_common: tuple[bool, bool]
    cut_above_mm: float
    wobble: Vector = field(repr=False)


def draw_plan(rng: np.random.Generator) -> Plan:
    """Sample the plan of a heart. Chambers vary independently of each other, for example dilated atria or thick walls.

    Args:
        rng: random generator.

    Returns:
        The plan.
    """

    def near(mean: float, spread: float, limit: float = 2.2) -> float:
        return mean + spread * float(np.clip(rng.standard_normal(), -limit, limit))

    frame = _frame(near(0, 9), near(0, 9), near(0, 12))
    length, radius = near(82, 5.5), near(23.5, 2.0)
    aortic = frame.at(near(-6, 1.5), near(15, 2), near(18, 2))
    pulmonary = frame.at(near(10, 3), near(24, 3), near(45, 3))
    tricuspid = frame.at(near(4, 2), radius + near(20, 2.5), near(-8, 3))
    la_radii = np.array([near(31, 3.5), near(20, 2.6), near(25, 3)])
    ra_radii = np.array([near(25, 2.8), near(27, 3), near(33, 3.5)])
    la_centre = -(la_radii[1] + near(2, 1.5)) * frame.apex + np.array([near(2, 3), near(5, 2), near(3, 3)])
    ra_centre = tricuspid + (ra_radii[0] - 4) * np.array([-0.85, 0.15, 0.35]) + np.array([0, near(13, 3), near(4, 4)])
    return Plan(
        scale=near(1.0, 0.055),
        frame=frame,
        lv_length_mm=length,
        lv_radius_mm=radius,
        lv_squash=near(1.0, 0.06),
        septum_mm=near(9.8, 1.5),
        lateral_mm=near(8.8, 1.3),
        apex_wall_mm=near(6.0, 1.0),
        papillary=bool(rng.random() < 0.5),
        trabeculae_mm=float(rng.uniform(0.15, 0.8)),
        rv_bulge_mm=near(30, 3),
        rv_size=near(1.0, 0.08),
        ra_radii_mm=ra_radii,
        la_radii_mm=la_radii,
        atrial_tilt=Rotation.from_euler("xyz", [near(0, 9), near(0, 9), near(0, 12)], degrees=True),
        aortic_valve=aortic,
        pulmonary_valve=pulmonary,
        tricuspid_valve=tricuspid,
        la_centre=la_centre,
        ra_centre=ra_centre,
        aorta_radius_mm=near(14.5, 1.6),
        sinus_bulge_mm=near(3.0, 0.9),
        arch_height_mm=near(96, 7),
        arch_lean_mm=near(0, 5),
        pa_radius_mm=near(12.8, 1.2),
        laa_length_mm=near(40, 7),
        laa_bend=near(0, 0.8),
        laa_lobes=int(rng.integers(0, 4)),
        laa_radius_mm=near(7.6, 1.0),
        pv_radius_mm=near(6.4, 0.8),
        pv_length_mm=near(17, 4),
        pv_common=(bool(rng.random() < 0.65), bool(rng.random() < 0.5)),
        cut_above_mm=130.0 if rng.random() < 0.15 else float(rng.uniform(60, 76)),
        wobble=rng.standard_normal((16, 3)),
    )


def _frame(yaw: float, pitch: float, roll: float) -> Frame:
    apex = np.array([0.62, -0.62, -0.48])
    apex /= np.linalg.norm(apex)
    septal = np.array([-0.7, -0.7, 0.0])
    septal -= apex * (septal @ apex)
    septal /= np.linalg.norm(septal)
    up = np.cross(septal, apex)
    turn = Rotation.from_euler("zx", [yaw, pitch], degrees=True) * Rotation.from_rotvec(np.deg2rad(roll) * apex)
    return Frame(turn.apply(apex), turn.apply(septal), turn.apply(up))
