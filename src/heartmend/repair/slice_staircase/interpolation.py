"""Repair of a slice staircase: shape-based interpolation between the drawn slices (Raya and Udupa, IEEE TMI 1990)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from heartmend.geometry.boxes import bounding_box, expand_box
from heartmend.geometry.distance import distance_to_other_label_mm
from heartmend.geometry.interpolation import interpolate_along
from heartmend.geometry.masks import mask_of_ids
from heartmend.repair.slice_staircase.detection import MAX_THICKNESS, SliceStaircase
from heartmend.types import BACKGROUND, Labels, Mask

MARGIN = 4
"""Voxels about the structures, in the plane of the slices, that are interpolated too."""


def without_slice_staircase(
    labels: Labels, staircase: SliceStaircase, spacing_mm: Sequence[float], ids: Sequence[int]
) -> Labels:
    """Interpolate structures between the slices that were drawn.

    The drawn slice of a block is what most of its slices contain. Between two drawn slices, the signed distances of
    each structure in the plane are interpolated linearly, and a voxel gets the structure with the largest one. A
    constant is added to the distances of a structure, so that interpolation does not change its volume.

    Args:
        labels: (x, y, z) uint8; it is not changed.
        staircase: staircase of the map.
        spacing_mm: voxel spacing.
        ids: ids of the structures to interpolate; others stay as they are.

    Returns:
        The interpolated label map (x, y, z) uint8.
    """
    axis = staircase.axis
    slices = np.moveaxis(labels, axis, 0)
    in_plane_mm = tuple(s for a, s in enumerate(spacing_mm) if a != axis)
    box = bounding_box(slices)
    if box is None:
        return labels
    # One empty block at either end is enough.
    blocks = [b for b in staircase.blocks(len(slices)) if b[1] > box[0].start - MAX_THICKNESS - 1]
    blocks = [b for b in blocks if b[0] < box[0].stop + MAX_THICKNESS + 1]
    along = slice(blocks[0][0], blocks[-1][1])
    window = (along, *(slice(max(side.start - MARGIN, 0), side.stop + MARGIN) for side in box[1:]))
    part = slices[window]
    blocks = [(start - along.start, stop - along.start, middle - along.start) for start, stop, middle in blocks]
    drawn_at = np.array([middle for _, _, middle in blocks])
    position = np.interp(np.arange(len(part)), drawn_at, np.arange(len(drawn_at)))
    drawn_from = np.array([start for start, _, _ in blocks])
    deepest = np.zeros(part.shape, dtype=np.float32)
    of_structures = mask_of_ids(part, ids)
    is_free = of_structures | (part == BACKGROUND)
    interpolated = np.where(of_structures, BACKGROUND, part)
    for id in ids:
        own = bounding_box(part == id)
        if own is None:
            continue
        first, last = (int(np.searchsorted(drawn_from, k, side="right")) - 1 for k in (own[0].start, own[0].stop - 1))
        # One block and two voxels farther away, no offset brings a voxel inside.
        first, last = max(first - 1, 0), min(last + 1, len(blocks) - 1)
        near = (slice(blocks[first][0], blocks[last][1]), *expand_box(own, 2, part.shape)[1:])
        mask = np.ascontiguousarray(part[near] == id)
        edges = [start - near[0].start for start, _, _ in blocks[first + 1 : last + 1]]
        depth = _interpolated_depth_mm(np.split(mask, edges), np.maximum(position[near[0]] - first, 0), in_plane_mm)
        wins = depth > deepest[near]
        deepest[near][wins] = depth[wins]
        interpolated[near][wins & is_free[near]] = id
    result = labels.copy(order="K")
    np.moveaxis(result, axis, 0)[window] = interpolated
    return result


def _interpolated_depth_mm(
    blocks: Sequence[Mask], positions: npt.NDArray[np.float64], in_plane_mm: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Depth of a structure at positions between the drawn slices of its blocks, with its volume in the blocks."""
    majorities = [_majority(block) for block in blocks]
    drawn = np.stack([_signed_distance_mm(one, in_plane_mm) for one in majorities])
    voxels = sum(int(np.count_nonzero(one)) * len(block) for one, block in zip(majorities, blocks, strict=True))
    depth_mm = interpolate_along(drawn, positions, 0)
    depth_mm += volume_offset_mm(depth_mm, voxels, 0.5 * min(in_plane_mm))
    return depth_mm


def volume_offset_mm(depth_mm: npt.NDArray[np.float32], voxels: int, max_mm: float) -> np.float32:
    """Compute the offset of signed distances that gives a certain number of voxels inside.

    Drawn slices give the volume of a structure without bias. Interpolation loses volume where the structure shifts
    sideways between two of them by as much as its width.

    Args:
        depth_mm: signed distances, positive inside.
        voxels: target number of positive distances.
        max_mm: largest offset in either direction.

    Returns:
        The offset. Interpolated distances take few values, half a voxel apart; the offset with the nearest number of
        voxels is used.

    Example:
        >>> depth_mm = np.array([0.4, 0.2, -0.1, -0.4], dtype=np.float32)
        >>> offset = volume_offset_mm(depth_mm, voxels=3, max_mm=0.5)
        >>> int((depth_mm + offset > 0).sum())
        3
    """
    near = depth_mm[np.abs(depth_mm) <= max_mm]
    missing = voxels - int((depth_mm > max_mm).sum())
    if missing <= 0 or missing >= len(near):
        return np.float32(-max_mm if missing <= 0 else max_mm)
    level = np.partition(near, len(near) - missing)[len(near) - missing]
    n_above, n_at_least = int((near > level).sum()), int((near >= level).sum())
    return np.float32(-level + (1e-4 if n_at_least - missing <= missing - n_above else -1e-4))


def _majority(block: Mask) -> Mask:
    """Voxels that are set in more than half of the slices; in exactly half, as in the slice after the middle."""
    votes = block.sum(axis=0) * 2
    majority: Mask = (votes > len(block)) | ((votes == len(block)) & block[len(block) // 2])
    return majority


def _signed_distance_mm(mask: Mask, spacing_mm: Sequence[float]) -> npt.NDArray[np.float32]:
    """Signed distance in the plane, positive inside; two voxels outside everywhere if the slice lacks the structure."""
    if not mask.any():
        return np.full(mask.shape, -2.0 * max(spacing_mm), dtype=np.float32)
    distance = distance_to_other_label_mm(mask, spacing_mm) - min(spacing_mm) / 2
    return np.where(mask, distance, -distance).astype(np.float32)
