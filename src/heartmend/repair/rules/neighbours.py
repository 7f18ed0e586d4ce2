"""Neighbouring voxels of a connected component, computed in its bounding box."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, distance_transform_edt, generate_binary_structure

from heartmend.geometry.boxes import Spacing, expand_box, margin_voxels
from heartmend.geometry.components import Component
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.types import BACKGROUND, Labels

ALL_NEIGHBOURS = generate_binary_structure(3, 3)
"""Structuring element of the 26 neighbours of a voxel."""


def count_neighbours(labels: Labels, component: Component) -> npt.NDArray[np.int64]:
    """Count the voxels of each id that touch a component by a face, an edge or a corner.

    Args:
        labels: (x, y, z) uint8.
        component: the component.

    Returns:
        (256,) number of neighbouring voxels by id.
    """
    box = expand_box(component.box, 1, labels.shape)
    mask = component.in_box(box)
    shell = binary_dilation(mask, ALL_NEIGHBOURS) & ~mask
    return np.bincount(labels[box][shell], minlength=256)


def relabel_by_nearest(labels: Labels, component: Component, spacing_mm: Spacing, excluded: Iterable[int]) -> None:
    """Give each voxel of a component the label of the nearest voxel outside it, in place.

    Args:
        labels: (x, y, z) uint8; changed in place.
        component: the component.
        spacing_mm: voxel spacing.
        excluded: ids that no voxel gets; where nothing else is near, voxels become background.
    """
    box = expand_box(component.box, 2, labels.shape)
    mask = component.in_box(box)
    unavailable = mask | np.isin(labels[box], list(excluded))
    if unavailable.all():
        labels[box][mask] = BACKGROUND
        return
    nearest = distance_transform_edt(unavailable, sampling=spacing_mm, return_distances=False, return_indices=True)
    labels[box][mask] = labels[box][tuple(axis[mask] for axis in nearest)]


def touches(labels: Labels, component: Component, ids: Iterable[int], reach_mm: float, spacing_mm: Spacing) -> bool:
    """Test whether a component touches a structure.

    Args:
        labels: (x, y, z) uint8.
        component: the component; its own voxels do not count.
        ids: ids of the structures.
        reach_mm: largest distance between voxel centres that counts as contact; neighbouring voxels always do.
        spacing_mm: voxel spacing.

    Returns:
        Whether a voxel of `ids` is one of the 26 neighbours of the component or within `reach_mm` of it.
    """
    wanted = list(ids)
    if count_neighbours(labels, component)[wanted].any():
        return True
    box = expand_box(component.box, margin_voxels(reach_mm, spacing_mm), labels.shape)
    outside = ~component.in_box(box)
    others = np.isin(labels[box], wanted) & outside
    if not reach_mm or not others.any():
        return False
    distance = distance_transform_mm(outside, spacing_mm)
    return bool(distance[others].min() <= reach_mm)
