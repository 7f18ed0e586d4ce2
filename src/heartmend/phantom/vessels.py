"""Great vessels and left atrial appendage as swept tubes of varying radius."""

from __future__ import annotations

import numpy as np

from heartmend.phantom.landmarks import Landmarks, atrial_wall, outside_ventricle, unit
from heartmend.phantom.plan import Label, Plan
from heartmend.phantom.sdf import Canvas, Float, add_ellipsoid, add_tube, smooth_max, spline


def aorta(plan: Plan, marks: Landmarks, canvas: Canvas) -> Float:
    """Compute the signed distance of the aorta: root with three sinuses, ascending part, arch and descending part.

    Args:
        plan: proportions and landmarks of the heart.
        marks: valve planes and other landmarks.
        canvas: grid in the coordinates of the body.

    Returns:
        Signed distance in mm over the canvas, float32, negative inside.
    """
    r, root, w = plan.aorta_radius_mm, plan.aortic_valve, plan.wobble
    lean, top, axis = plan.arch_lean_mm, plan.arch_height_mm, marks.aortic.normal
    ascending = np.array([-17 + lean, -15, 0.62 * top]) + 2 * w[3]
    crown = np.array([2 + lean, 12, top]) + 3 * w[4]
    isthmus = np.array([20, 42, top - 16]) + 2 * w[5]
    field = canvas.empty()
    knots = [root - 4 * axis, root + 22 * axis, ascending, crown, isthmus]
    path, radius = spline(knots, np.array([0.93, 0.95, 1.0, 0.93, 0.82]) * r, 6)
    add_tube(field, canvas, path, radius)
    for direction in marks.sinuses:
        bulge = root + 9.5 * axis + (0.42 * r + plan.sinus_bulge_mm) * direction
        add_ellipsoid(field, canvas, bulge, np.eye(3), np.array([0.62, 0.62, 0.72]) * r, blend_mm=3)
    field = smooth_max(field, -marks.aortic.distance(canvas), 1)
    upper = np.array([24, 51, 50]) + 2 * w[8] * [1, 1, 0]
    middle = np.array([23, 52, 0]) + np.array([3, 2, 0]) * w[7]
    low = np.array([14, 46, -85]) + np.array([5, 3, 0]) * w[6]
    path, radius = spline([isthmus, upper, middle, low], np.array([0.82, 0.8, 0.77, 0.74]) * r, 7)
    add_tube(field, canvas, path, radius)
    return field


def pulmonary_artery(plan: Plan, marks: Landmarks, canvas: Canvas) -> Float:
    """Compute the signed distance of the pulmonary artery: trunk, right and left branch.

    Args:
        plan: proportions and landmarks of the heart.
        marks: valve planes and other landmarks.
        canvas: grid in the coordinates of the body.

    Returns:
        Signed distance in mm over the canvas, float32, negative inside.
    """
    p, w, fork, valve = plan.pa_radius_mm, plan.wobble, marks.bifurcation, plan.pulmonary_valve
    trunk = [valve - 4 * marks.pulmonary.normal, (valve + fork) / 2 + [1, -3, 3], fork]
    right = [fork, [-10, 7, 61] + w[10], [-30, 13, 57] + 2 * w[11], [-52, 15, 51] + 3 * w[12]]
    left = [fork, [24, 11, 63] + w[10], [38, 26, 58] + 2 * w[13], [46, 40, 44] + 3 * w[14]]
    field = canvas.empty()
    for knots, widths in ((trunk, [1, 1.05, 0.95]), (right, [0.8, 0.78, 0.72, 0.55]), (left, [0.8, 0.76, 0.7, 0.55])):
        path, radius = spline(knots, p * np.array(widths), 6)
        add_tube(field, canvas, path, radius, blend_mm=3)
    return smooth_max(field, -marks.pulmonary.distance(canvas), 1)


def appendage(plan: Plan, canvas: Canvas) -> Float:
    """Compute the signed distance of the left atrial appendage: a bent tube with lobes.

    Args:
        plan: proportions and landmarks of the heart.
        canvas: grid in the coordinates of the body.

    Returns:
        Signed distance in mm over the canvas, float32, negative inside.
    """
    w, r = plan.wobble, plan.laa_radius_mm
    steps = np.array([[0.75, -0.35, 0.45], [0.62, -0.75, 0.1], [0.15, -0.95, -0.25], [-0.25, -0.85, -0.45]])
    steps[1:] += plan.laa_bend * np.array([[0.25, 0.2, 0.3], [0.5, 0.3, 0.35], [0.7, 0.2, 0.3]]) + 0.16 * w[:3]
    knots = [atrial_wall(plan, (0.78, -0.42, 0.42), 0.8)]
    for step in steps:
        knots.append(outside_ventricle(plan, knots[-1] + plan.laa_length_mm / 4 * unit(step), r + 2))
    field = canvas.empty()
    path, radius = spline(knots, np.array([0.95, 0.85, 1.0, 0.92, 0.6]) * r, 4)
    add_tube(field, canvas, path, radius)
    for lobe in range(plan.laa_lobes):
        at = knots[2 + lobe % 3]
        tip = outside_ventricle(plan, at + r * 1.35 * unit(w[3 + lobe] + [0.4, 0, 0.2]), 0.6 * r)
        add_tube(field, canvas, np.stack([at, tip]), np.array([0.6, 0.45]) * r, blend_mm=2)
    return field


def pulmonary_veins(plan: Plan, canvas: Canvas) -> Float:
    """Compute the signed distance of the four pulmonary veins.

    The two veins of a side with a common antrum join outside the atrium into one component.

    Args:
        plan: proportions and landmarks of the heart.
        canvas: grid in the coordinates of the body.

    Returns:
        Signed distance in mm over the canvas, float32, negative inside.
    """
    w, r, length = plan.wobble, plan.pv_radius_mm, plan.pv_length_mm
    sides = (
        (((0.8, 0.28, 0.5), (0.75, 0.38, 0.55)), ((0.84, 0.45, -0.28), (0.9, 0.25, -0.15))),
        (((-0.8, 0.3, 0.5), (-0.85, 0.12, 0.45)), ((-0.8, 0.5, -0.25), (-0.85, 0.4, -0.25))),
    )
    field = canvas.empty()
    for side, (veins, common) in enumerate(zip(sides, plan.pv_common, strict=True)):
        ostia = [atrial_wall(plan, place, 0.84) for place, _ in veins]
        middle = (ostia[0] + ostia[1]) / 2
        for vein, (_, course) in enumerate(veins):
            away = unit(np.array(course) + 0.13 * w[9 + 2 * side + vein])
            ostium = middle + 0.45 * (ostia[vein] - middle) if common else ostia[vein]
            knee = ostium + (0.5 * length + 5) * away + (ostia[vein] - ostium) * 0.8
            end = knee + (0.5 * length) * unit(away + 0.2 * w[(13 + 2 * side + vein) % 16])
            path, radius = spline([ostium, knee, end], [1.25 * r, r, 0.85 * r], 4)
            add_tube(field, canvas, path, radius, blend_mm=2 if common else 0)
    return field


def venae_cavae(plan: Plan, canvas: Canvas) -> dict[Label, Float]:
    """Compute the signed distances of the venae cavae, which continue the two stumps of the right atrium.

    Args:
        plan: proportions and landmarks of the heart.
        canvas: grid in the coordinates of the body.

    Returns:
        Signed distance in mm over the canvas, float32, negative inside, of `Label.SVC` and `Label.IVC`.
    """
    centre, height, w = plan.ra_centre, plan.ra_radii_mm[2], plan.wobble
    top = centre + np.array([4, 6, height - 6]) + 2 * w[2]
    bottom = centre + np.array([3, 8, 5 - height]) + 2 * w[4]
    upward = np.array([[0, 0, 0], [2, 0, 16], [0, -2, 42], [-3, -4, 75]]) + 2 * np.outer([0, 0, 1, 0], w[10])
    downward = np.array([[0, 0, 0], [3, 3, -9], [4, 6, -30]]) + 2 * np.outer([0, 0, 1], w[11])
    courses = {
        Label.SVC: (top + upward, [9.5, 9, 8.5, 8]),
        Label.IVC: (bottom + downward, [11.5, 11, 11]),
    }
    fields = {}
    for label, (knots, widths) in courses.items():
        fields[label] = canvas.empty()
        path, radius = spline(knots, np.array(widths, dtype=np.float64), 6)
        add_tube(fields[label], canvas, path, radius)
    return fields
