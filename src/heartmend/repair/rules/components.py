"""Pieces of a structure and what lies around them, each worked on in the box about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import cc3d
import edt
import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, distance_transform_edt, find_objects, generate_binary_structure

from heartmend.geometry.boxes import widen
from heartmend.types import BACKGROUND, Labels, Mask

Box = tuple[slice, slice, slice]
Spacing = tuple[float, float, float]

EVERY_NEIGHBOUR = generate_binary_structure(3, 3)


@dataclass(frozen=True, eq=False)
class Component:
    """A connected part of a mask: its voxels within `box`."""

    mask: Mask
    box: Box
    voxels: int

    def at_border(self, shape: tuple[int, ...]) -> bool:
        """Whether it reaches the border of the volume, where the field of view cut it off."""
        for axis, (side, n) in enumerate(zip(self.box, shape, strict=True)):
            if side.start == 0 and self.mask.take(0, axis).any():
                return True
            if side.stop == n and self.mask.take(-1, axis).any():
                return True
        return False

    def in_box(self, box: Box) -> Mask:
        """Its voxels as a mask of a box that holds it."""
        grown = np.zeros(tuple(s.stop - s.start for s in box), dtype=bool)
        inner = tuple(slice(s.start - b.start, s.stop - b.start) for s, b in zip(self.box, box, strict=True))
        grown[inner] = self.mask
        return grown


def boxes_by_id(labels: Labels) -> dict[int, Box]:
    """The box about each id of the map."""
    return {i + 1: box for i, box in enumerate(find_objects(labels)) if box is not None}


def whole_box(shape: tuple[int, ...]) -> Box:
    """The box of all voxels of a volume."""
    x, y, z = (slice(0, n) for n in shape)
    return x, y, z


def margin_voxels(reach_mm: float, spacing_mm: Iterable[float]) -> tuple[int, ...]:
    """How many voxels of each axis reach so far, and one more."""
    return tuple(int(np.ceil(reach_mm / s)) + 1 for s in spacing_mm)


def find_components(mask: Mask, box: Box, connectivity: Literal[6, 26] = 26) -> list[Component]:
    """The connected pieces of a mask that lies at `box` of its volume, the largest first."""
    parts, count = cc3d.connected_components(mask, connectivity=connectivity, return_N=True)
    if count == 0:
        return []
    numbers = cc3d.statistics(parts)
    components = []
    for i in range(1, count + 1):
        inner = numbers["bounding_boxes"][i]
        x, y, z = (slice(b.start + s.start, b.start + s.stop) for b, s in zip(box, inner, strict=True))
        components.append(Component(parts[inner] == i, (x, y, z), int(numbers["voxel_counts"][i])))
    return sorted(components, key=lambda p: -p.voxels)


def components_of(labels: Labels, id: int, box: Box, connectivity: Literal[6, 26] = 26) -> list[Component]:
    """The pieces of one structure, which lies in `box`, the largest first."""
    return find_components(labels[box] == id, box, connectivity)


def surroundings(labels: Labels, component: Component) -> npt.NDArray[np.int64]:
    """How many voxels of each id (256 counts) touch the piece, by a face, an edge or a corner."""
    box = widen(component.box, 1, labels.shape)
    mask = component.in_box(box)
    shell = binary_dilation(mask, EVERY_NEIGHBOUR) & ~mask
    return np.bincount(labels[box][shell], minlength=256)


def give_to_nearest(labels: Labels, component: Component, spacing_mm: Spacing, barred: Iterable[int]) -> None:
    """Each voxel of the piece takes the label, background too, of the nearest voxel outside; never one of `barred`."""
    box = widen(component.box, 2, labels.shape)
    mask = component.in_box(box)
    taken = mask | np.isin(labels[box], list(barred))
    if taken.all():
        labels[box][mask] = BACKGROUND
        return
    nearest = distance_transform_edt(taken, sampling=spacing_mm, return_distances=False, return_indices=True)
    labels[box][mask] = labels[box][tuple(axis[mask] for axis in nearest)]


def touches(labels: Labels, component: Component, ids: Iterable[int], reach_mm: float, spacing_mm: Spacing) -> bool:
    """Whether a voxel of `ids` that is not its own lies beside the piece (26 neighbours) or within `reach_mm`."""
    wanted = list(ids)
    if surroundings(labels, component)[wanted].any():
        return True
    box = widen(component.box, margin_voxels(reach_mm, spacing_mm), labels.shape)
    outside = ~component.in_box(box)
    others = np.isin(labels[box], wanted) & outside
    if not reach_mm or not others.any():
        return False
    distance = edt.edt(outside, anisotropy=spacing_mm)
    return bool(distance[others].min() <= reach_mm)
