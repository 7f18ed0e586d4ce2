"""Pieces of a structure and what lies around them, each worked on in the box about it."""

from __future__ import annotations

from collections.abc import Iterable

import edt
import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, distance_transform_edt, generate_binary_structure

from heartmend.geometry.boxes import Spacing, expand_box, margin_voxels
from heartmend.geometry.components import Component
from heartmend.types import BACKGROUND, Labels

EVERY_NEIGHBOUR = generate_binary_structure(3, 3)



def surroundings(labels: Labels, component: Component) -> npt.NDArray[np.int64]:
    """How many voxels of each id (256 counts) touch the piece, by a face, an edge or a corner."""
    box = expand_box(component.box, 1, labels.shape)
    mask = component.in_box(box)
    shell = binary_dilation(mask, EVERY_NEIGHBOUR) & ~mask
    return np.bincount(labels[box][shell], minlength=256)


def give_to_nearest(labels: Labels, component: Component, spacing_mm: Spacing, barred: Iterable[int]) -> None:
    """Each voxel of the piece takes the label, background too, of the nearest voxel outside; never one of `barred`."""
    box = expand_box(component.box, 2, labels.shape)
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
    box = expand_box(component.box, margin_voxels(reach_mm, spacing_mm), labels.shape)
    outside = ~component.in_box(box)
    others = np.isin(labels[box], wanted) & outside
    if not reach_mm or not others.any():
        return False
    distance = edt.edt(outside, anisotropy=spacing_mm)
    return bool(distance[others].min() <= reach_mm)
