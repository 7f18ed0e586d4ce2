"""Chambers as signed distances: ellipsoids, inflow and outflow tubes, cut at the valve planes."""

from __future__ import annotations

import numpy as np

from heartmend.phantom.landmarks import Landmarks
from heartmend.phantom.plan import Plan
from heartmend.phantom.sdf import Canvas, Float, add_ellipsoid, add_tube, smooth_max, smooth_min, smooth_noise, spline

WIDEST_WALL_MM = 20.0


def left_ventricle(
    plan: Plan, marks: Landmarks, canvas: Canvas, rng: np.random.Generator
) -> tuple[Float, Float, Float]:
    """Compute the signed distances of the left ventricle.

    Args:
        plan: proportions and landmarks of the heart.
        marks: valve planes and other landmarks.
        canvas: grid in the coordinates of the body.
        rng: random generator.

    Returns:
        Signed distances in mm, float32, negative inside: epicardium (open beyond the base), cavity with its outflow
        tract, and outflow tract alone.
    """
    length, frame = plan.lv_length_mm, plan.frame
    base = marks.mitral.distance(canvas)
    radii = np.array([0.7 * length, plan.lv_radius_mm, plan.lv_radius_mm * plan.lv_squash])
    endocardium = canvas.empty()
    centre = frame.at(0.3 * length, 0, 0)
    add_ellipsoid(endocardium, canvas, centre, frame.axes, radii, margin_mm=WIDEST_WALL_MM)
    epicardium = smooth_max(endocardium - _wall_thickness(plan, canvas), base - 2, 5)

    cavity = endocardium + plan.trabeculae_mm * smooth_noise(canvas.shape, canvas.spacing_mm, 4.5, rng)
    if plan.papillary:
        cavity = smooth_max(cavity, -_papillary_muscles(plan, canvas), 2)
    cavity = smooth_max(cavity, base, 4)
    outflow = canvas.empty()
    path, radius = spline([frame.at(16, 4, 5), frame.at(6, 9, 11), plan.aortic_valve + 3], [12, 11.5, 11.5], 6)
    add_tube(outflow, canvas, path, radius * plan.aorta_radius_mm / 14.5)
    outflow = smooth_max(outflow, marks.aortic.distance(canvas), 1)
    return epicardium, smooth_min(cavity, outflow, 5), outflow


def _wall_thickness(plan: Plan, canvas: Canvas) -> Float:
    """Wall thickness in mm over the canvas: largest at the septum, smallest at the apex."""
    along, septal, up = np.tensordot(plan.frame.axes.astype(np.float32), canvas.points, axes=1)
    to_septum = np.float32(0.5) + np.float32(0.5) * septal / np.sqrt(septal**2 + up**2 + 4)
    wall = plan.lateral_mm + (plan.septum_mm - plan.lateral_mm) * to_septum
    to_apex = np.clip((along / np.float32(plan.lv_length_mm) - 0.55) / 0.4, 0, 1)
    thickness: Float = wall + (plan.apex_wall_mm - wall) * to_apex
    return thickness


def _papillary_muscles(plan: Plan, canvas: Canvas) -> Float:
    field = canvas.empty()
    length, radius = plan.lv_length_mm, plan.lv_radius_mm
    for side in (-1, 1):
        foot = plan.frame.at(0.72 * length, -0.38 * radius, side * 0.62 * radius)
        tip = plan.frame.at(0.38 * length, -0.3 * radius, side * 0.42 * radius)
        add_tube(field, canvas, np.stack([foot, (foot + tip) / 2, tip]), np.array([4.5, 4.2, 2.5]))
    return field


def right_ventricle(plan: Plan, marks: Landmarks, canvas: Canvas, epicardium: Float, rng: np.random.Generator) -> Float:
    """Compute the signed distance of the right ventricle.

    It is an ellipsoid without the left ventricle, united with the outflow tract to the pulmonary valve.

    Args:
        plan: proportions and landmarks of the heart.
        marks: valve planes and other landmarks.
        canvas: grid in the coordinates of the body.
        epicardium: signed distance of the left ventricle's outer wall in mm.
        rng: random generator.

    Returns:
        Signed distance in mm over the canvas, float32, negative inside.
    """
    frame, r, p = plan.frame, plan.lv_radius_mm, plan.pa_radius_mm
    field = canvas.empty()
    radii = np.array([0.6 * plan.lv_length_mm, plan.rv_bulge_mm, 36]) * plan.rv_size
    add_ellipsoid(field, canvas, frame.at(0.36 * plan.lv_length_mm, r + 9, -4), frame.axes, radii)
    field = smooth_max(smooth_max(field, marks.mitral.distance(canvas), 5), marks.tricuspid.distance(canvas), 5)
    outflow = canvas.empty()
    valve = plan.pulmonary_valve
    knots = [frame.at(32, r + 13, 12), frame.at(22, r + 8, 30), valve, valve + np.array([1, 4, 5])]
    path, radius = spline(knots, [15, 13.5, p, p], 6)
    add_tube(outflow, canvas, path, radius)
    field = smooth_max(smooth_min(field, outflow, 9), marks.pulmonary.distance(canvas), 1)
    field += np.float32(0.9 * plan.trabeculae_mm) * smooth_noise(canvas.shape, canvas.spacing_mm, 6.0, rng)
    return smooth_max(field, np.float32(0.3) - epicardium, 2)


def left_atrium(plan: Plan, marks: Landmarks, canvas: Canvas) -> Float:
    """Compute the signed distance of the left atrium, without appendage and veins.

    Args:
        plan: proportions and landmarks of the heart.
        marks: valve planes and other landmarks.
        canvas: grid in the coordinates of the body.

    Returns:
        Signed distance in mm over the canvas, float32, negative inside.
    """
    centre, radii = plan.la_centre, plan.la_radii_mm
    field = canvas.empty()
    add_ellipsoid(field, canvas, centre, plan.atrial_tilt.as_matrix(), radii)
    mitral = 0.78 * plan.lv_radius_mm
    path = np.stack([centre, centre / 2, 4 * plan.frame.apex])
    add_tube(field, canvas, path, np.array([0.7 * radii[1], mitral - 1, mitral]), blend_mm=8)
    return smooth_max(field, np.float32(0.3) - marks.mitral.distance(canvas), 2)


def right_atrium(plan: Plan, marks: Landmarks, canvas: Canvas) -> Float:
    """Compute the signed distance of the right atrium, with its appendage and the ends of both caval veins.

    Args:
        plan: proportions and landmarks of the heart.
        marks: valve planes and other landmarks.
        canvas: grid in the coordinates of the body.

    Returns:
        Signed distance in mm over the canvas, float32, negative inside.
    """
    centre, radii, w = plan.ra_centre, plan.ra_radii_mm, plan.wobble
    field = canvas.empty()
    add_ellipsoid(field, canvas, centre, plan.atrial_tilt.as_matrix(), radii)
    funnel = np.stack([centre, plan.tricuspid_valve + 3 * plan.frame.apex])
    add_tube(field, canvas, funnel, np.array([18.0, 15.5]), blend_mm=8)
    superior = centre + np.array([4, 6, radii[2] - 6]) + 2 * w[2]
    upward = np.array([2, 0, 14 + 5 * abs(w[3, 0])])
    add_tube(field, canvas, np.stack([superior, superior + upward]), np.array([9.5, 8.5]), blend_mm=6)
    inferior = centre + np.array([3, 8, 5 - radii[2]]) + 2 * w[4]
    downward = np.array([3, 3, -6 - 3 * abs(w[5, 0])])
    add_tube(field, canvas, np.stack([inferior, inferior + downward]), np.array([11.5, 11.0]), blend_mm=6)
    auricle = centre + np.array([6, -0.7 * radii[1], 0.55 * radii[2]])
    tip = auricle + [14, -10, 6] + 3 * w[6]
    add_tube(field, canvas, np.stack([auricle, (auricle + tip) / 2 + w[7], tip]), np.array([10.5, 8.5, 5.0]), 5)
    return smooth_max(field, -marks.tricuspid.distance(canvas), 2)
