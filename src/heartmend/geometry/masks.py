"""Voxels of label maps: counted by id, and masks of ids, grown or shrunk by a length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from heartmend.geometry.boxes import Spacing, margin_voxels
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.types import Labels, Mask

MAX_BALL_ROWS = 150
"""For a ball of more rows of voxels the distance transform is faster."""


def mask_of_ids(labels: npt.NDArray[np.integer], ids: Iterable[int]) -> Mask:
    """Find the voxels of several ids.

    For the few ids of an anatomy this takes a small part of the time of `numpy.isin`.

    Args:
        labels: ids, of any shape.
        ids: ids to find.

    Returns:
        Bool, of the shape and the memory order of `labels`.

    Example:
        >>> mask_of_ids(np.array([0, 3, 5, 4]), (3, 4)).tolist()
        [False, True, False, True]
    """
    mask: Mask = np.zeros_like(labels, dtype=bool)
    for id in sorted(set(ids)):
        mask |= labels == id
    return mask


def count_ids(ids: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.int64]:
    """Count the voxels of every id.

    Args:
        ids: uint8 or uint16 ids of any shape.

    Returns:
        (256,) or (65536,) int64, the number of voxels of each id.

    Example:
        >>> import numpy as np
        >>> count_ids(np.array([0, 3, 3], dtype=np.uint8))[:4].tolist()
        [1, 0, 0, 2]
    """
    flat = ids.ravel(order="K")
    if ids.dtype == np.uint8:
        # Two voxels at once, in half of the time.
        pairs = _count_values(flat[: flat.size // 2 * 2].view(np.uint16)).reshape(256, 256)
        return pairs.sum(axis=0) + pairs.sum(axis=1) + np.bincount(flat[flat.size // 2 * 2 :], minlength=256)
    return _count_values(flat)


def _count_values(flat: npt.NDArray[np.uint16]) -> npt.NDArray[np.int64]:
    """Count every value (65536,), in parts, because bincount converts its input to int64."""
    counts = np.zeros(1 << 16, dtype=np.int64)
    for start in range(0, flat.size, 1 << 18):
        part = np.bincount(flat[start : start + (1 << 18)])
        counts[: len(part)] += part
    return counts


def count_per_slice(mask: Mask) -> npt.NDArray[np.int64]:
    """Count the voxels of a mask in each slice of its first axis.

    Args:
        mask: (n, y, z) bool, in any memory order.

    Returns:
        (n,) int64.

    Example:
        >>> count_per_slice(np.array([[[True, True]], [[True, False]]])).tolist()
        [2, 1]
    """
    # Line by line in the order of the memory, in small integers: several times faster than numpy.count_nonzero.
    outer = 1 if mask.strides[1] >= mask.strides[2] else 2
    lines = np.add.reduce(mask.view(np.uint8), axis=outer, dtype=np.uint32)
    counts: npt.NDArray[np.int64] = lines.sum(axis=1, dtype=np.int64)
    return counts


def grow_mask(mask: Mask, reach_mm: float, spacing_mm: Spacing) -> Mask:
    """Find the voxels within a distance of a mask.

    The result is that of a threshold on the distance transform. For a distance of a few voxels it is computed faster,
    as the union of copies of the mask that are shifted by the voxels of a ball.

    Args:
        mask: (x, y, z) bool.
        reach_mm: largest distance between the centres of voxels.
        spacing_mm: voxel spacing in mm along each axis.

    Returns:
        (x, y, z) bool: the mask itself and every voxel within `reach_mm` of one of its voxels.

    Example:
        >>> mask = np.zeros((5, 5, 5), dtype=bool)
        >>> mask[2, 2, 2] = True
        >>> int(grow_mask(mask, 1.0, (1.0, 1.0, 1.0)).sum()), int(grow_mask(mask, 1.0, (1.0, 1.0, 2.0)).sum())
        (7, 5)
    """
    half_widths = _half_widths(reach_mm, spacing_mm)
    if np.count_nonzero(half_widths >= 0) > MAX_BALL_ROWS:
        return _near(mask, reach_mm, spacing_mm)
    rows = [mask]
    for step in range(1, int(half_widths.max()) + 1):
        rows.append(rows[-1].copy(order="K"))
        _add_shifted(rows[-1], mask, 2, step)
    grown: Mask = np.zeros_like(mask)
    for first in range(half_widths.shape[0]):
        plane: Mask = np.zeros_like(mask)
        for second, half_width in enumerate(half_widths[first].tolist()):
            if half_width >= 0:
                _add_shifted(plane, rows[half_width], 1, second)
        _add_shifted(grown, plane, 0, first)
    return grown


def shrink_mask(mask: Mask, depth_mm: float, spacing_mm: Spacing) -> Mask:
    """Find the voxels of a mask that are farther from its outside than a distance.

    The border of the volume is no outside, because the structure continues there.

    Args:
        mask: (x, y, z) bool.
        depth_mm: largest distance to the centre of a voxel outside at which a voxel is left out.
        spacing_mm: voxel spacing in mm along each axis.

    Returns:
        (x, y, z) bool, a part of the mask.

    Example:
        >>> mask = np.zeros((5, 5, 5), dtype=bool)
        >>> mask[:, 1:4, 1:4] = True
        >>> np.argwhere(shrink_mask(mask, 1.0, (1.0, 1.0, 1.0))).tolist()
        [[0, 2, 2], [1, 2, 2], [2, 2, 2], [3, 2, 2], [4, 2, 2]]
    """
    return ~grow_mask(~mask, depth_mm, spacing_mm)


def present_ids(labels: Labels, ids: Mapping[str, int]) -> dict[str, int]:
    """Select the structures that a label map has.

    Args:
        labels: (x, y, z) uint8.
        ids: id of each structure, by name.

    Returns:
        The id of each of them that has a voxel, in the same order.

    Example:
        >>> present_ids(np.array([[[0, 3]]], np.uint8), {"LA": 2, "LV": 3})
        {'LV': 3}
    """
    present = {*np.unique(labels).tolist()}
    return {name: id for name, id in ids.items() if id in present}


def inner_voxels(mask: Mask) -> Mask:
    """Find the voxels whose six neighbours are set.

    Beyond the border of the volume nothing is set.

    Args:
        mask: (x, y, z) bool.

    Returns:
        (x, y, z) bool, a part of the mask.

    Example:
        >>> np.argwhere(inner_voxels(np.ones((3, 3, 3), dtype=bool))).tolist()
        [[1, 1, 1]]
    """
    padded, inner = np.pad(mask, 1), mask.copy()
    for axis in range(3):
        for side in (slice(None, -2), slice(2, None)):
            inner &= padded[tuple(side if one == axis else slice(1, -1) for one in range(3))]
    return inner


def _near(mask: Mask, reach_mm: float, spacing_mm: Spacing) -> Mask:
    """Voxels within a distance of a mask, by the distance transform."""
    if not mask.any():
        return np.zeros_like(mask)
    near: Mask = distance_transform_mm(~mask, spacing_mm) <= np.float32(reach_mm)
    return near


def _half_widths(reach_mm: float, spacing_mm: Spacing) -> npt.NDArray[np.intp]:
    """Half of the length of a ball's rows along the last axis, by their distance on the first two axes; -1 for none."""
    radii = margin_voxels(reach_mm, spacing_mm)
    centre = np.zeros([2 * n + 1 for n in radii], dtype=bool)
    centre[radii] = True
    # By the transform too, so that a voxel at exactly this distance is rounded to the same side.
    ball = _near(centre, reach_mm, spacing_mm)
    return np.count_nonzero(ball[radii[0] :, radii[1] :, radii[2] :], axis=2) - 1


def _add_shifted(target: Mask, source: Mask, axis: int, step: int) -> None:
    """Add a mask to another one in place, shifted by some voxels in both directions of an axis."""
    if step == 0:
        target |= source
        return
    to, of = np.moveaxis(target, axis, 0), np.moveaxis(source, axis, 0)
    to[step:] |= of[:-step]
    to[:-step] |= of[step:]
