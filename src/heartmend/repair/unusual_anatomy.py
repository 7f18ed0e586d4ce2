"""Unusual anatomy: large coherent parts of a label that the shape of the cohort contradicts. The label stays there.

Noise is in patches of a few mm and in detached components; the errors of networks are shallow or are claimed by
another structure. A vein more, a bypass graft or an aneurysm is deep, coherent and connected, and only this case has
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation

from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.geometry.boxes import Box, expand_box, margin_voxels
from heartmend.geometry.components import Component, find_components, label_components
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.geometry.grid import Grid
from heartmend.geometry.local_field import LocalField
from heartmend.repair.changes import ORIGINAL_KEPT, Change, box_in_mm
from heartmend.types import Labels, Mask

RULE = "unusual_anatomy"
"""Name of this method in the change log."""
BEYOND_MM, BEYOND_MISFITS = 2.0, 3.0
"""A part begins this far outside its shape, or at this multiple of the shape's median misfit if that is more."""
MIN_MM3, MIN_RADIUS_MM = 500.0, 2.0
"""Least volume and radius of a part where the shapes have background."""
MIN_CLAIMED_RADIUS_MM, MIN_NECK = 4.5, 0.5
"""Least radius of a part that the shapes of other structures claim, and least area of its contact with the rest of its
structure, as a share of the area of a cube of its volume: a swapped patch is smaller or joined by a narrow neck."""
CLAIMED_SHARE = 0.5
"""A part is claimed if the shapes of other structures contain this share of it."""
TOUCH_MM = 3.0
"""A separate component of a structure belongs to the heart if it is this near to a structure that it must touch."""
SURROUNDINGS_MM = 6.0
"""The label map stays in the part and within this distance of it."""
LEADS_INSIDE_MM, LEADS_WITHIN_MM, LEADS_SURROUNDINGS_MM = 0.5, 20.0, 4.0
"""A graft leaves the aorta along its wall, less than 2 mm outside it. So the label map also stays where the label is at
most the first of these inside the shape, connected with the part and not farther from it than the second, and within
the third about that."""


class UnusualAnatomy(NamedTuple):
    """Unusual parts of a label map.

    Attributes:
        kept: (x, y, z) bool, where the label map stays as it is; None where there is no such part.
        changes: a remark for each part.
    """

    kept: Mask | None
    changes: list[Change]


def find_unusual_anatomy(
    labels: Labels, shapes_mm: Mapping[str, LocalField], anatomy: Anatomy, grid: Grid
) -> UnusualAnatomy:
    """Find the parts of a label map that are too large, deep and coherent for an error.

    A part is connected, and farther outside the shape of its structure than 2 mm and three times the median misfit. It
    counts if it is connected with the rest of its structure, or with a structure that it must touch, and either where
    the shapes have background (a vein more, a graft), from 500 mm³ and a radius of 2 mm on, or inside other shapes (the
    sac of an aneurysm inside the wall), from a radius of 4.5 mm on and with a wide neck.

    Args:
        labels: (x, y, z) uint8, the prepared label map.
        shapes_mm: signed distance of the fitted shape of each structure, by name, on a box that contains its label too.
        anatomy: the structures.
        grid: grid of the label map.

    Returns:
        Where the label map stays, and a remark of the severity `warning` for each part.
    """
    kept: Mask | None = None
    changes = []
    for name, shape in shapes_mm.items():
        structure = anatomy.by_name(name)
        for part in _parts(labels, structure, shape, anatomy, grid):
            others = [one.on(part.box, -np.inf)[part.mask] for other, one in shapes_mm.items() if other != name]
            is_claimed = bool(others) and float((np.max(others, axis=0) > 0).mean()) >= CLAIMED_SHARE
            if not _is_coherent(part, labels, structure.id, grid, is_claimed=is_claimed):
                continue
            if kept is None:
                kept = np.zeros(labels.shape, dtype=bool)
            _add_surroundings(kept, part, SURROUNDINGS_MM, grid)
            _add_surroundings(kept, _with_leads(part, labels, structure.id, shape, grid), LEADS_SURROUNDINGS_MM, grid)
            changes.append(_remark(structure, part, shape, grid))
    return UnusualAnatomy(kept, changes)


def _parts(labels: Labels, structure: Structure, shape: LocalField, anatomy: Anatomy, grid: Grid) -> list[Component]:
    """Connected parts of a structure far outside its shape that belong to the heart."""
    label, shape_mm = labels[shape.box] == structure.id, shape.values
    if not (label & (np.abs(shape_mm) < 4 * BEYOND_MM)).any():
        return []
    surface = label & ~_eroded(label)
    misfit_mm = float(np.median(np.abs(shape_mm[surface])))
    beyond = label & (shape_mm < -max(BEYOND_MM, BEYOND_MISFITS * misfit_mm))
    min_voxels = MIN_MM3 / grid.voxel_mm3
    if int(beyond.sum()) < min_voxels:
        return []
    components = find_components(label, shape.box)
    roots = [anatomy.by_name(origin).id for origin in structure.must_touch]
    found = []
    for part in find_components(beyond, shape.box):
        if part.voxels < min_voxels:
            break
        owner = next(one for one in components if _contains(one, part))
        is_of_main = owner is components[0] and part.voxels < 0.5 * owner.voxels
        if is_of_main or (roots and _touches(owner, np.isin(labels, roots), grid)):
            found.append(part)
    return found


def _contains(component: Component, part: Component) -> bool:
    """Whether a connected part of a mask is in this component of it."""
    first = tuple(int(at[0]) + side.start for at, side in zip(np.nonzero(part.mask), part.box, strict=True))
    if not all(side.start <= at < side.stop for at, side in zip(first, component.box, strict=True)):
        return False
    return bool(component.mask[tuple(at - side.start for at, side in zip(first, component.box, strict=True))])


def _is_coherent(part: Component, labels: Labels, id: int, grid: Grid, *, is_claimed: bool) -> bool:
    padded = np.pad(part.mask, 1)
    radius_mm = float(distance_transform_mm(padded, grid.spacing_mm).max())
    if not is_claimed:
        return radius_mm >= MIN_RADIUS_MM
    if radius_mm < MIN_CLAIMED_RADIUS_MM:
        return False
    box = expand_box(part.box, 1, labels.shape)
    mask = part.in_box(box)
    contact = binary_dilation(mask) & (labels[box] == id) & ~mask
    area_mm2 = int(contact.sum()) * grid.voxel_mm3 ** (2 / 3)
    return area_mm2 >= MIN_NECK * (part.voxels * grid.voxel_mm3) ** (2 / 3)


def _touches(component: Component, roots: Mask, grid: Grid) -> bool:
    if not roots.any():
        return False
    box = expand_box(component.box, margin_voxels(TOUCH_MM, grid.spacing_mm), roots.shape)
    near_mm = distance_transform_mm(~component.in_box(box), grid.spacing_mm)
    return bool((near_mm[roots[box]] <= TOUCH_MM).any())


def _with_leads(part: Component, labels: Labels, id: int, shape: LocalField, grid: Grid) -> Component:
    """A part with what connects it with the shape of its structure."""
    box = expand_box(part.box, margin_voxels(LEADS_WITHIN_MM, grid.spacing_mm), labels.shape)
    inside = part.in_box(box)
    is_near = distance_transform_mm(~inside, grid.spacing_mm) <= LEADS_WITHIN_MM
    outside = (labels[box] == id) & is_near & (shape.on(box, -np.inf) < LEADS_INSIDE_MM)
    numbers, _ = label_components(outside | inside)
    return Component(numbers == numbers[inside].max(), box, part.voxels)


def _add_surroundings(kept: Mask, part: Component, reach_mm: float, grid: Grid) -> None:
    box = expand_box(part.box, margin_voxels(reach_mm, grid.spacing_mm), kept.shape)
    kept[box] |= distance_transform_mm(~part.in_box(box), grid.spacing_mm) <= reach_mm


def _remark(structure: Structure, part: Component, shape: LocalField, grid: Grid) -> Change:
    depth_mm = -float(shape.on(part.box, -np.inf)[part.mask].min())
    volume_ml = part.voxels * grid.voxel_mm3 / 1000
    note = (
        f"unusual anatomy, or a large error: {volume_ml:.1f} ml up to {depth_mm:.0f} mm outside the shape; "
        "the label was kept"
    )
    return Change(RULE, structure.name, ORIGINAL_KEPT, 0, 0.0, box_in_mm(part.box, grid), "warning", note)


def _eroded(mask: Mask) -> npt.NDArray[np.bool_]:
    """Voxels whose six neighbours are set."""
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis in range(3):
        for side in (slice(None, -2), slice(2, None)):
            inner &= padded[tuple(side if one == axis else slice(1, -1) for one in range(3))]
    return inner


def mirrored_remark(box: Box, grid: Grid) -> Change:
    """Describe a heart that is mirrored beside the other cases.

    Args:
        box: box of the heart in voxels.
        grid: grid of the label map.

    Returns:
        The remark.
    """
    note = "mirrored beside the other cases: situs inversus, or a wrong orientation in the file"
    return Change(RULE, "", ORIGINAL_KEPT, 0, 0.0, box_in_mm(box, grid), "warning", note)
