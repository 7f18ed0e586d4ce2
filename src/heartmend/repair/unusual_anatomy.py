"""Unusual anatomy: large coherent parts of a label that the shape of the cohort contradicts. The label stays there.

Noise is in patches of a few mm and in detached components; the errors of networks are shallow or are claimed by
another structure. A vein more, a bypass graft or an aneurysm is deep, coherent and connected, and only this case has
it. A graft is thin, and noise may interrupt it: it is recognised by being long and of an even width, which no noise is.
Branches of a vessel that unite early fill a groove of the shape, and are recognised by what is on both sides of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation

from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.geometry.boxes import Box, expand_box, margin_voxels
from heartmend.geometry.components import Component, find_components, label_components
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.geometry.elongation import measure_elongation
from heartmend.geometry.grid import Grid
from heartmend.geometry.local_field import LocalField
from heartmend.geometry.masks import inner_voxels
from heartmend.repair.changes import ORIGINAL_KEPT, Change, box_in_mm
from heartmend.repair.joined_branches import find_joined_branches
from heartmend.types import Labels, Mask

RULE = "unusual_anatomy"
"""Name of this method in the change log."""
MIRRORED = "mirrored beside the other cases: situs inversus, or a wrong orientation in the file"
TURNED = "turned by half a turn beside the other cases: a wrong orientation in the file"
BEYOND_MM, BEYOND_MISFITS = 2.0, 3.0
"""A part begins this far outside its shape, or at this multiple of the shape's median misfit if that is more."""
MIN_MM3, MIN_RADIUS_MM = 500.0, 2.0
"""Least volume and radius of a part where the shapes have background."""
MIN_DEEP_MM3, DEEP_MM = 250.0, 5.0
"""Least volume of a part there that reaches so far outside its shape."""
MIN_CLAIMED_RADIUS_MM, MIN_NECK = 4.5, 0.5
"""Least radius of a part that the shapes of other structures claim, and least area of its contact with the rest of its
structure, as a share of the area of a cube of its volume: a swapped patch is smaller or joined by a narrow neck."""
MIN_WIDE_MM3, MIN_WIDE_RADIUS_MM, MIN_WIDE_NECK = 2000.0, 3.0, 1.0
"""The same of a wide and shallow part, such as what a sac has more than the shape, which has followed it halfway."""
MIN_TUBE_MM3, MAX_TUBE_CLAIMED_SHARE = 100.0, 0.2
"""Least volume of a part that is a tube, and largest share of it that the shapes of other structures contain."""
LINK_MM, VESSEL_LINK_MM = 25.0, 10.0
"""A tube belongs to its structure if it is this near to an unusual part of it, or as near as the second to a vessel
that it may leave: noise interrupts a thin vessel."""
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
JOINED_SURROUNDINGS_MM = 3.0
"""The label map stays within this distance of a part that joins two branches of a vessel."""


class UnusualAnatomy(NamedTuple):
    """Unusual parts of a label map.

    Attributes:
        kept: (x, y, z) bool, where the label map stays as it is; None where there is no such part.
        changes: a remark for each part.
        detached: components of a structure that unusual parts belong to, apart from its largest one, by its name.
    """

    kept: Mask | None
    changes: list[Change]
    detached: Mapping[str, list[Component]] = {}


@dataclass(frozen=True, eq=False)
class _Case:
    """What parts are judged by."""

    labels: Labels
    shapes_mm: Mapping[str, LocalField]
    anatomy: Anatomy
    grid: Grid


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A part of a structure far outside its shape, and the component of the label that it is in."""

    part: Component
    owner: Component
    is_of_largest: bool
    is_rooted: bool
    claimed_share: float


def find_unusual_anatomy(
    labels: Labels, shapes_mm: Mapping[str, LocalField], anatomy: Anatomy, grid: Grid
) -> UnusualAnatomy:
    """Find the parts of a label map that are too large, deep and coherent for an error.

    A part is connected, and farther outside the shape of its structure than 2 mm and three times the median misfit. It
    counts if it is connected with the rest of its structure, or with a structure that it must touch, and either where
    the shapes have background (a vein more), from 500 mm³ and a radius of 2 mm on, or inside other shapes (the sac of
    an aneurysm inside the wall), from a radius of 4.5 mm on and with a wide neck. A part that is a tube, outside all
    shapes, counts from 100 mm³ on, as do the tubes near it that are not connected: a bypass graft, also in pieces. So
    does what joins two branches of a vessel, from 1 mm outside the shape on: a common trunk of veins.

    Args:
        labels: (x, y, z) uint8, the prepared label map.
        shapes_mm: signed distance of the fitted shape of each structure, by name, on a box that contains its label too.
        anatomy: the structures.
        grid: grid of the label map.

    Returns:
        Where the label map stays, and a remark of the severity `warning` for each part.
    """
    case = _Case(labels, shapes_mm, anatomy, grid)
    kept = np.zeros(labels.shape, dtype=bool)
    changes, detached = list[Change](), dict[str, list[Component]]()
    for name, shape in shapes_mm.items():
        structure = anatomy.by_name(name)
        label = labels[shape.box] == structure.id
        if not (label & (np.abs(shape.values) < 4 * BEYOND_MM)).any():
            continue
        misfit_mm = float(np.median(np.abs(shape.values[label & ~inner_voxels(label)])))
        for one in _unusual(structure, label, misfit_mm, case):
            _add_surroundings(kept, one.part, SURROUNDINGS_MM, grid)
            leads = _with_leads(one.part, labels, structure.id, shape, grid)
            _add_surroundings(kept, leads, LEADS_SURROUNDINGS_MM, grid)
            changes.append(_remark(structure, one.part, shape, grid))
            if not one.is_of_largest:
                detached.setdefault(name, []).append(one.owner)
        if structure.kind == "vessel":
            others = [one for other, one in shapes_mm.items() if other != name]
            for part in find_joined_branches(label, shape, others, misfit_mm, grid):
                if not kept[part.box][part.mask].all():
                    _add_surroundings(kept, part, JOINED_SURROUNDINGS_MM, grid)
                    changes.append(_remark(structure, part, shape, grid))
    return UnusualAnatomy(kept if changes else None, changes, detached)


def _candidates(
    structure: Structure, beyond: Mask, components: list[Component], case: _Case
) -> list[_Candidate]:  # fmt: skip
    """Connected parts of a structure far outside its shape, the largest first."""
    shape, grid = case.shapes_mm[structure.name], case.grid
    roots = np.isin(case.labels, [case.anatomy.by_name(origin).id for origin in structure.must_touch])
    others = [one for name, one in case.shapes_mm.items() if name != structure.name]
    found = []
    for part in find_components(beyond, shape.box):
        if part.voxels * grid.voxel_mm3 < MIN_TUBE_MM3:
            break
        owner = next(one for one in components if _contains(one, part))
        is_of_largest = owner is components[0]
        is_of_main = is_of_largest and part.voxels < 0.5 * owner.voxels
        is_rooted = is_of_main or _touches(owner, roots, TOUCH_MM, grid)
        inside = [one.on(part.box, -np.inf)[part.mask] > 0 for one in others]
        claimed = float(np.any(inside, axis=0).mean()) if inside else 0.0
        found.append(_Candidate(part, owner, is_of_largest, is_rooted, claimed))
    return found


def _unusual(structure: Structure, label: Mask, misfit_mm: float, case: _Case) -> list[_Candidate]:
    """Parts of a structure, `label` on the box of its shape, that are far outside the shape and no errors."""
    shape = case.shapes_mm[structure.name]
    beyond = label & (shape.values < -max(BEYOND_MM, BEYOND_MISFITS * misfit_mm))
    if int(beyond.sum()) * case.grid.voxel_mm3 < MIN_TUBE_MM3:
        return []
    components = find_components(label, shape.box)
    found, main = _candidates(structure, beyond, components, case), components[0]
    unusual = [one for one in found if one.is_rooted and _is_coherent(one, structure.id, case)]
    free = [one for one in found if one not in unusual and one.claimed_share <= MAX_TUBE_CLAIMED_SHARE]
    tubes = [one for one in free if measure_elongation(one.part.mask, case.grid.spacing_mm).is_tube]
    if not tubes:
        return unusual
    of_main, of_unusual = np.zeros(case.labels.shape, dtype=bool), np.zeros(case.labels.shape, dtype=bool)
    of_main[main.box] |= main.mask
    for one in unusual:
        of_unusual[one.part.box] |= one.part.mask

    def belongs(one: _Candidate) -> bool:
        if one.is_rooted or _touches(one.owner, of_unusual, LINK_MM, case.grid):
            return True
        return structure.kind == "vessel" and _touches(one.owner, of_main, VESSEL_LINK_MM, case.grid)

    # From what is connected on, from tube to tube.
    while near := [one for one in tubes if belongs(one)]:
        for one in near:
            of_unusual[one.part.box] |= one.part.mask
            unusual.append(one)
        tubes = [one for one in tubes if one not in near]
    return unusual


def _contains(component: Component, part: Component) -> bool:
    """Whether a connected part of a mask is in this component of it."""
    first = tuple(int(at[0]) + side.start for at, side in zip(np.nonzero(part.mask), part.box, strict=True))
    if not all(side.start <= at < side.stop for at, side in zip(first, component.box, strict=True)):
        return False
    return bool(component.mask[tuple(at - side.start for at, side in zip(first, component.box, strict=True))])


def _is_coherent(one: _Candidate, id: int, case: _Case) -> bool:
    """Whether a rooted part is too large and deep for an error."""
    part, grid = one.part, case.grid
    volume_mm3 = part.voxels * grid.voxel_mm3
    radius_mm = float(distance_transform_mm(np.pad(part.mask, 1), grid.spacing_mm).max())
    if one.claimed_share < CLAIMED_SHARE:
        shape = case.shapes_mm[case.anatomy.by_id(id).name]
        is_deep = float(shape.on(part.box, -np.inf)[part.mask].min()) <= -DEEP_MM
        is_free = is_deep and one.claimed_share <= MAX_TUBE_CLAIMED_SHARE
        return radius_mm >= MIN_RADIUS_MM and volume_mm3 >= (MIN_DEEP_MM3 if is_free else MIN_MM3)
    is_wide = volume_mm3 >= MIN_WIDE_MM3 and radius_mm >= MIN_WIDE_RADIUS_MM
    if radius_mm < MIN_CLAIMED_RADIUS_MM and not is_wide:
        return False
    box = expand_box(part.box, 1, case.labels.shape)
    mask = part.in_box(box)
    contact = binary_dilation(mask) & (case.labels[box] == id) & ~mask
    neck = int(contact.sum()) * (grid.voxel_mm3 / volume_mm3) ** (2 / 3)
    return neck >= (MIN_NECK if radius_mm >= MIN_CLAIMED_RADIUS_MM else MIN_WIDE_NECK)


def _touches(component: Component, others: Mask, reach_mm: float, grid: Grid) -> bool:
    box = expand_box(component.box, margin_voxels(reach_mm, grid.spacing_mm), others.shape)
    if not others[box].any():
        return False
    near_mm = distance_transform_mm(~component.in_box(box), grid.spacing_mm)
    return bool((near_mm[others[box]] <= reach_mm).any())


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


def pose_remark(pose: str, box: Box, grid: Grid) -> Change:
    """Describe a heart that has another pose than the other cases.

    Args:
        pose: `MIRRORED` or `TURNED`.
        box: box of the heart in voxels.
        grid: grid of the label map.

    Returns:
        The remark.
    """
    return Change(RULE, "", ORIGINAL_KEPT, 0, 0.0, box_in_mm(box, grid), "warning", pose)
