"""Label map of a heart from signed distances, without the coronaries.

Chambers are ellipsoids, valves are planes that two structures share, vessels are swept tubes; unlabelled walls (atria,
right ventricle, great vessels) are gaps between distances. A smooth warp of space is added, so two hearts never differ
by a warp only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heartmend.geometry.boxes import Box
from heartmend.geometry.components import label_components
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.phantom import chambers, vessels
from heartmend.phantom.landmarks import Landmarks
from heartmend.phantom.plan import Label, Plan, Vector
from heartmend.phantom.sdf import Canvas, Float, smooth_noise

LOW_MM = np.array([-90.0, -84.0, -72.0])
HIGH_MM = np.array([72.0, 66.0, 110.0])
MIN_COMPONENT_MM3 = 250.0
WALL_MM = 1.8
"""Unlabelled wall between a vena cava and its neighbours."""
SEVERAL_COMPONENTS = (Label.AORTA, Label.PV)


@dataclass(frozen=True)
class HeartMap:
    """Label map of a heart with the input of the coronary tree.

    Attributes:
        labels: label map (x, y, z), uint8.
        canvas: its grid in the coordinates of the body.
        plan: proportions of the heart.
        marks: landmarks of the heart.
        spacing_mm: (3,) voxel size in mm.
    """

    labels: NDArray[np.uint8]
    canvas: Canvas
    plan: Plan
    marks: Landmarks
    spacing_mm: Vector


def build(
    plan: Plan, spacing_mm: Vector, rng: np.random.Generator, shape: tuple[int, int, int] | None = None
) -> HeartMap:
    """Evaluate a plan on a grid.

    Args:
        plan: proportions and landmarks of the heart.
        spacing_mm: (3,) voxel size in mm.
        rng: random generator.
        shape: shape (x, y, z) of the grid; None for the field of view of a cardiac scan.

    Returns:
        The label map with its grid and landmarks.
    """
    canvas, marks = _canvas(plan, spacing_mm, rng, shape), Landmarks.of(plan)

    ventricles = canvas.box([-60, -84, -72], [66, 35, 52])
    part = canvas.crop(ventricles)
    epicardium, lv, outflow = chambers.left_ventricle(plan, marks, part, rng)
    rv = chambers.right_ventricle(plan, marks, part, epicardium, rng)
    epicardium, lv, outflow, rv = (_on_canvas(canvas, ventricles, field) for field in (epicardium, lv, outflow, rv))
    behind = canvas.box([-75, -50, -40], [66, 66, 60])
    part = canvas.crop(behind)
    la, laa, veins = (
        _on_canvas(canvas, behind, field)
        for field in (
            chambers.left_atrium(plan, marks, part),
            vessels.appendage(plan, part),
            vessels.pulmonary_veins(plan, part),
        )
    )
    right = canvas.box([-90, -84, -72], [30, 40, 80])
    ra = _on_canvas(canvas, right, chambers.right_atrium(plan, marks, canvas.crop(right)))
    above = canvas.box([-66, -60, 12], [66, 66, 90])
    pa = _on_canvas(canvas, above, vessels.pulmonary_artery(plan, marks, canvas.crop(above)))
    aorta = vessels.aorta(plan, marks, canvas)

    labels = np.zeros(canvas.shape, np.uint8)

    def claim(label: Label, *inside: NDArray[np.bool_]) -> None:
        labels[np.logical_and.reduce([labels == 0, *inside])] = label

    claim(Label.LV, lv < 0)
    claim(Label.AORTA, aorta < 0)
    claim(Label.MYOCARDIUM, epicardium < 0, aorta > 1)
    claim(Label.LA, la < 0, aorta > 1.8, epicardium > -1)
    claim(Label.MYOCARDIUM, outflow < 3, aorta > 1)
    claim(Label.PA, pa < 0, aorta > 1.8, la > 1.8, outflow > 5)
    claim(Label.LAA, laa < 0, la > 0.2, aorta > 1.8, pa > 1.8, epicardium > 3.5, rv > 3)
    claim(Label.PV, veins < 0, la > 0.2, aorta > 1.8, pa > 1.5, epicardium > 1.5, laa > 1.2)
    claim(Label.RV, rv < 0, aorta > 1.8, la > 2)
    apart = rv > _groove_width(canvas, plan)
    claim(Label.RA, ra < 0, aorta > 1.8, la > 2, epicardium > 1.5, apart, pa > 1.5, veins > 1.5)
    _remove_small_components(labels, float(np.prod(spacing_mm)))
    return HeartMap(labels, canvas, plan, marks, spacing_mm)


def with_venae_cavae(heart: HeartMap, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Add the venae cavae where the background is far enough from everything but the right atrium.

    Args:
        heart: the heart.
        labels: its label map (x, y, z), uint8, with the coronaries; not changed.

    Returns:
        The label map with `Label.SVC` and `Label.IVC`.
    """
    labels = labels.copy()
    others = ~np.isin(labels, (Label.BACKGROUND, Label.RA))
    free = (labels == Label.BACKGROUND) & (distance_transform_mm(~others, heart.spacing_mm) > WALL_MM)
    for label, field in vessels.venae_cavae(heart.plan, heart.canvas).items():
        components, sizes = label_components(((field < 0) & free).astype(np.uint8))
        if len(sizes) > 1:
            labels[components == 1 + np.argmax(sizes[1:])] = label
    return labels


def _canvas(plan: Plan, spacing_mm: Vector, rng: np.random.Generator, shape: tuple[int, int, int] | None) -> Canvas:
    high = HIGH_MM.copy()
    high[2] = min(high[2], plan.cut_above_mm)
    if shape is None:
        x, y, z = (int(n) for n in np.ceil((high - LOW_MM) * plan.scale / spacing_mm))
        shape = (x, y, z)
    spacing = spacing_mm / plan.scale
    origin = (LOW_MM + high) / 2 - spacing * (np.array(shape) - 1) / 2
    points = np.empty((3, *shape), np.float32)
    reach = 0.0
    for axis in range(3):
        warp = 2.3 * smooth_noise(shape, spacing, 34.0, rng) + 0.5 * smooth_noise(shape, spacing, 14.0, rng)
        reach = max(reach, float(np.abs(warp).max()))
        line = (origin[axis] + spacing[axis] * np.arange(shape[axis])).astype(np.float32)
        points[axis] = warp + np.expand_dims(line, tuple(a for a in range(3) if a != axis))
    return Canvas(origin, spacing, points, reach)


def _on_canvas(canvas: Canvas, box: Box, field: Float) -> Float:
    full = canvas.empty()
    full[box] = field
    return full


def _groove_width(canvas: Canvas, plan: Plan) -> Float:
    """Distance between right atrium and ventricle in mm: 0 at the valve, 3.5 mm of fat in the groove around it."""
    width = np.full(canvas.shape, 3.5, np.float32)
    box = canvas.box(plan.tricuspid_valve - 28, plan.tricuspid_valve + 28)
    offset = canvas.local(box, plan.tricuspid_valve)
    distance = np.sqrt(np.einsum("i...,i...->...", offset, offset))
    width[box] = np.clip((distance - 15) * np.float32(0.3), 0, 3.5)
    return width


def _remove_small_components(labels: NDArray[np.uint8], voxel_mm3: float) -> None:
    """Keep the largest component of each structure, and all large ones of `SEVERAL_COMPONENTS`; in place."""
    components, sizes = label_components(labels)
    owner = np.zeros(len(sizes), np.uint8)
    owner[components.ravel()] = labels.ravel()
    keep = np.zeros(len(sizes), bool)
    for label in Label:
        mine = np.flatnonzero(owner == label)
        if label == Label.BACKGROUND or not len(mine):
            continue
        substantial = sizes[mine] >= MIN_COMPONENT_MM3 / voxel_mm3
        keep[mine] = substantial if label in SEVERAL_COMPONENTS else mine == mine[sizes[mine].argmax()]
    labels[~keep[components]] = 0
