"""Removal of components that are far from the heart: false positives that no rule near the heart reaches.

Networks label tissue at the border of a scan that looks like a chamber; such regions may be larger than the structure
itself, so neither the largest component nor a share of its volume separates them. All structures of a heart lie close
together, and this does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.geometry.boxes import Box, Spacing, boxes_by_id, expand_box, join_boxes, margin_voxels, relative_box
from heartmend.geometry.components import Component, components_of, label_components
from heartmend.geometry.grid import Grid
from heartmend.geometry.masks import grow_mask, mask_of_ids
from heartmend.repair.changes import ORIGINAL_KEPT, REVIEW_MM3, Change, Severity, box_in_mm
from heartmend.types import BACKGROUND, Labels, Mask

RULE = "far_components"
"""Name of this method in the change log."""
GAP_MM = 10.0
"""Structures that are nearer to each other than this belong to one group."""
BLOCK_MM = 2.0
"""Distances between groups are measured on blocks of this size."""
SHARE = 0.25
"""A component of this share of its structure's largest one counts as a part of the anatomy, not as a remainder."""
HEART_SHARE = 0.5
"""A group with this share of the main group's structures is a heart too."""


class _Group(NamedTuple):
    """Structures that lie close together: the number of voxels of each structure, by id."""

    number: int
    voxels: npt.NDArray[np.int64]


def without_far_components(
    labels: Labels, grid: Grid, anatomy: Anatomy, structures: Collection[str] = ()
) -> tuple[Labels, list[Change]]:
    """Remove the components that are more than 10 mm from the heart.

    All structures together fall into groups with more than 10 mm of background between them. The group with the largest
    share of the structures is the heart, whatever the volume of the others. A second group with half of its structures,
    of at least a quarter of their volume, is a second heart and stays. Of the other groups a component stays where the
    heart has no such structure, or fewer large components of it than the anatomy expects, such as a descending aorta
    without its arch. It is then a remark of the severity `warning`. A map of thin vessels alone has no heart to be far
    from: the two coronary trees are farther apart than this.

    Args:
        labels: (x, y, z) uint8, in the ids of the anatomy; it is not changed.
        grid: grid of the label map.
        anatomy: the anatomy.
        structures: names of the structures that may change; empty: all of them.

    Returns:
        The label map without these components (the same array where there are none), and a change for each structure
        and group.

    Example:
        >>> from heartmend.anatomy.load import load_anatomy
        >>> labels = np.zeros((60, 12, 12), dtype=np.uint8)
        >>> labels[2:8, 2:8], labels[8:14, 2:8], labels[50:60] = 3, 1, 1
        >>> cleaned, changes = without_far_components(labels, Grid(labels.shape, np.eye(4)), load_anatomy("heart"))
        >>> int((cleaned == 1).sum()), changes[0].structure, changes[0].voxels
        (432, 'Myocardium', 1440)
    """
    boxes = boxes_by_id(labels)
    unknown = set(boxes) - set(anatomy.ids)
    boxes = {id: box for id, box in boxes.items() if id not in unknown}
    if not any(anatomy.by_id(id).kind != "tube" for id in boxes):
        return labels, []
    known = np.where(mask_of_ids(labels, unknown), BACKGROUND, labels) if unknown else labels
    steps = [max(round(BLOCK_MM / spacing), 1) for spacing in grid.spacing_mm]
    region = _blocks_near(join_boxes(boxes.values()), labels.shape, steps, grid)
    group_of = _group_numbers(known[region], steps, grid)
    if group_of is None:
        return labels, []
    hearts = _hearts(_groups(known[region], group_of))
    result, changes = labels, list[Change]()
    for id, box in boxes.items():
        structure = anatomy.by_id(id)
        if structures and structure.name not in structures:
            continue
        found = components_of(labels, id, box)
        numbers = [int(group_of[relative_box(one.box, region)][one.mask][0]) for one in found]
        near = [c for c, number in zip(found, numbers, strict=True) if number in hearts]
        far = [(c, number) for c, number in zip(found, numbers, strict=True) if number not in hearts]
        if not far:
            continue
        kept = _kept(structure, near, [component for component, _ in far])
        for component in kept:
            note = "far from the heart, but the heart has no such part"
            box_mm = box_in_mm(component.box, grid)
            changes.append(Change(RULE, structure.name, ORIGINAL_KEPT, 0, 0.0, box_mm, "warning", note))
        removed = [(component, number) for component, number in far if component not in kept]
        if removed and result is labels:
            result = labels.copy(order="K")
        for component, _ in removed:
            result[component.box][component.mask] = BACKGROUND
        changes += _listed(structure, removed, grid)
    return result, changes


def _block_mm(steps: Sequence[int], grid: Grid) -> Spacing:
    x, y, z = (step * spacing for step, spacing in zip(steps, grid.spacing_mm, strict=True))
    return x, y, z


def _blocks_near(box: Box, shape: tuple[int, ...], steps: Sequence[int], grid: Grid) -> Box:
    """Box of the whole blocks in a box and about it, so far that two groups can meet there."""
    x, y, z = (slice(side.start // step, -(-side.stop // step)) for side, step in zip(box, steps, strict=True))
    counts = tuple(-(-n // step) for n, step in zip(shape, steps, strict=True))
    blocks = expand_box((x, y, z), margin_voxels(GAP_MM / 2, _block_mm(steps, grid)), counts)
    x, y, z = (
        slice(side.start * step, min(side.stop * step, n)) for side, step, n in zip(blocks, steps, shape, strict=True)
    )
    return x, y, z


def _group_numbers(labels: Labels, steps: Sequence[int], grid: Grid) -> npt.NDArray[np.unsignedinteger] | None:
    """Number of the group of each voxel (x, y, z), by blocks of `steps` voxels; None where there is one group."""
    blocks = labels != BACKGROUND
    for axis, step in enumerate(steps):
        blocks = _any_of_every(step, blocks, axis)
    near = grow_mask(blocks, GAP_MM / 2, _block_mm(steps, grid))
    numbers, sizes = label_components(near, connectivity=6)
    if len(sizes) < 3:
        return None
    for axis, step in enumerate(steps):
        numbers = numbers.repeat(step, axis=axis).take(range(labels.shape[axis]), axis=axis)
    return numbers


def _any_of_every(step: int, mask: Mask, axis: int) -> Mask:
    """Whether one of every `step` voxels along an axis is set; the last block may be smaller."""
    voxels = np.moveaxis(mask, axis, 0)
    blocks = voxels[::step].copy(order="K")
    for k in range(1, step):
        more = voxels[k::step]
        blocks[: len(more)] |= more
    return np.moveaxis(blocks, 0, axis)


def _groups(labels: Labels, group_of: npt.NDArray[np.unsignedinteger]) -> list[_Group]:
    """The groups with their structures."""
    filled = labels != BACKGROUND
    count = int(group_of.max()) + 1
    pairs = group_of[filled].astype(np.int64) * 256 + labels[filled]
    table = np.bincount(pairs, minlength=count * 256).reshape(count, 256)
    return [_Group(number, table[number]) for number in range(1, count)]


def _hearts(groups: list[_Group]) -> set[int]:
    """Numbers of the groups that are hearts."""
    total = np.sum([group.voxels for group in groups], axis=0)
    main = max(groups, key=lambda group: float((group.voxels / np.maximum(total, 1)).sum()))
    present = main.voxels > 0
    needed = max(HEART_SHARE * int(present.sum()), 2.0)

    def is_heart(group: _Group) -> bool:
        return int((present & (group.voxels >= SHARE * main.voxels)).sum()) >= needed

    return {group.number for group in groups if group is main or is_heart(group)}


def _kept(structure: Structure, near: list[Component], far: list[Component]) -> list[Component]:
    """The far components of a structure that may be the part of it that its heart lacks, the largest first."""
    if not near:
        return [component for component in far if component.voxels >= SHARE * far[0].voxels][: structure.components]
    if structure.must_touch or structure.kind == "tube":
        return []
    large = [component for component in near if component.voxels >= SHARE * near[0].voxels]
    lacking = max(structure.components - len(large), 0)
    return [component for component in far if component.voxels >= SHARE * near[0].voxels][:lacking]


def _listed(structure: Structure, removed: list[tuple[Component, int]], grid: Grid) -> list[Change]:
    """A change for each large group and one for all small ones, because there may be hundreds of components."""
    groups = dict[int, list[Component]]()
    for component, number in removed:
        groups.setdefault(number, []).append(component)

    def volume_mm3(parts: list[Component]) -> float:
        return round(sum(component.voxels for component in parts) * grid.voxel_mm3, 2)

    large = [parts for parts in groups.values() if volume_mm3(parts) > REVIEW_MM3]
    small = [component for parts in groups.values() if volume_mm3(parts) <= REVIEW_MM3 for component in parts]
    changes = []
    for parts in [*large, *([small] if small else [])]:
        box_mm = box_in_mm(join_boxes(component.box for component in parts), grid)
        severity: Severity = "info" if parts is small else "review"
        note = f"more than {GAP_MM:g} mm from the heart; components: {len(parts)}"
        voxels = sum(component.voxels for component in parts)
        changes.append(Change(RULE, structure.name, "removed", voxels, volume_mm3(parts), box_mm, severity, note))
    return changes
