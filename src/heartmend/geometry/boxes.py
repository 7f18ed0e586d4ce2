"""Boxes of voxels: index ranges on the axes of a volume."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

Box = tuple[slice, slice, slice]
"""A block of voxels as one half-open index range per axis, ready to index a volume (x, y, z)."""
EMPTY_BOX: Box = (slice(0, 0), slice(0, 0), slice(0, 0))
"""A box without voxels."""
Spacing = tuple[float, float, float]
"""Voxel spacing in mm along the axes x, y, z."""


def bounding_box(volume: npt.NDArray[np.generic], margin: int | Iterable[int] = 0) -> Box | None:
    """Find the smallest box that contains all voxels of a volume that are not 0.

    Args:
        volume: (x, y, z), any dtype.
        margin: number of voxels added on both sides, one for all axes or one per axis; clipped to the volume.

    Returns:
        The box, or None where every voxel is 0.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((6, 6, 6), dtype=bool)
        >>> mask[2:4, 1:5, 3] = True
        >>> bounding_box(mask)
        (slice(2, 4, None), slice(1, 5, None), slice(3, 4, None))
        >>> bounding_box(mask, margin=2)
        (slice(0, 6, None), slice(0, 6, None), slice(1, 6, None))
    """
    box = list(full_box(volume.shape))
    # The axis with the largest stride first: what it excludes is not read again.
    for axis in np.argsort([-s for s in volume.strides], kind="stable"):
        filled = np.flatnonzero(volume[tuple(box)].any(axis=tuple({0, 1, 2} - {int(axis)})))
        if not filled.size:
            return None
        box[axis] = slice(int(filled[0]), int(filled[-1]) + 1)
    x, y, z = box
    return expand_box((x, y, z), margin, volume.shape)


def full_box(shape: tuple[int, ...]) -> Box:
    """Return the box of all voxels of a volume.

    Args:
        shape: (x, y, z) numbers of voxels.

    Returns:
        The box from 0 to the end of each axis.

    Example:
        >>> full_box((4, 5, 6))
        (slice(0, 4, None), slice(0, 5, None), slice(0, 6, None))
    """
    x, y, z = (slice(0, n) for n in shape)
    return x, y, z


def expand_box(box: Box, margin: int | Iterable[int], shape: tuple[int, ...]) -> Box:
    """Expand a box by a margin, clipped to the volume.

    Args:
        box: the box to expand.
        margin: number of voxels added on both sides, one for all axes or one per axis.
        shape: (x, y, z) of the volume.

    Returns:
        The larger box.

    Example:
        >>> expand_box((slice(2, 4), slice(0, 1), slice(3, 4)), 1, (6, 6, 4))
        (slice(1, 5, None), slice(0, 2, None), slice(2, 4, None))
    """
    margins = (margin,) * 3 if isinstance(margin, int) else tuple(margin)
    x, y, z = (slice(max(s.start - m, 0), min(s.stop + m, n)) for s, m, n in zip(box, margins, shape, strict=True))
    return x, y, z


def join_boxes(boxes: Iterable[Box]) -> Box:
    """Find the smallest box that contains all given boxes.

    Args:
        boxes: at least one box.

    Returns:
        The box around them.

    Example:
        >>> join_boxes([(slice(0, 2), slice(1, 2), slice(0, 1)), (slice(3, 5), slice(0, 1), slice(0, 1))])
        (slice(0, 5, None), slice(0, 2, None), slice(0, 1, None))
    """
    x, y, z = (slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))
    return x, y, z


def nested_box(outer: Box, inner: tuple[slice, ...]) -> Box:
    """Convert a box given relative to another box into indices of the volume.

    Args:
        outer: box in the volume.
        inner: box in the part of the volume that `outer` cuts out.

    Returns:
        `inner` in the indices of the volume.

    Example:
        >>> nested_box((slice(10, 20), slice(5, 9), slice(0, 4)), (slice(1, 3), slice(0, 2), slice(2, 4)))
        (slice(11, 13, None), slice(5, 7, None), slice(2, 4, None))
    """
    x, y, z = (slice(o.start + i.start, o.start + i.stop) for o, i in zip(outer, inner, strict=True))
    return x, y, z


def relative_box(box: Box, outer: Box) -> Box:
    """Convert a box in the indices of a volume into one relative to another box, as the opposite of `nested_box`.

    Args:
        box: box in the volume.
        outer: box in the volume that contains it.

    Returns:
        `box` in the indices of the part of the volume that `outer` cuts out.

    Example:
        >>> relative_box((slice(11, 13), slice(5, 7), slice(2, 4)), (slice(10, 20), slice(5, 9), slice(0, 4)))
        (slice(1, 3, None), slice(0, 2, None), slice(2, 4, None))
    """
    x, y, z = (slice(b.start - o.start, b.stop - o.start) for b, o in zip(box, outer, strict=True))
    return x, y, z


def boxes_by_id(labels: npt.NDArray[np.integer], max_id: int = 0) -> dict[int, Box]:
    """Find the bounding box of every id of a label map.

    Args:
        labels: (x, y, z) ids, 0 for background.
        max_id: largest id that is searched for; 0 for all ids.

    Returns:
        The box of every id that occurs, in ascending order of the ids.

    Example:
        >>> import numpy as np
        >>> labels = np.zeros((4, 4, 4), dtype=np.uint8)
        >>> labels[1:3, 0, 0], labels[3, 3, 3] = 2, 5
        >>> boxes_by_id(labels)[5]
        (slice(3, 4, None), slice(3, 4, None), slice(3, 4, None))
        >>> list(boxes_by_id(labels, max_id=4))
        [2]
    """
    filled = bounding_box(labels)
    if filled is None:
        return {}
    part = labels[filled]
    # find_objects iterates over the last axis fastest: several times faster when the memory has this order too.
    order = np.argsort([-s for s in part.strides], kind="stable")
    boxes = find_objects(part.transpose(order), max_label=max_id)
    back = np.argsort(order)
    return {
        id: nested_box(filled, tuple(box[axis] for axis in back))
        for id, box in enumerate(boxes, start=1)
        if box is not None
    }


def margin_voxels(reach_mm: float, spacing_mm: Iterable[float]) -> tuple[int, ...]:
    """Convert a length to a number of voxels per axis, rounded up, and one more.

    Args:
        reach_mm: the length in mm.
        spacing_mm: voxel spacing in mm along each axis.

    Returns:
        The number of voxels on each axis.

    Example:
        >>> margin_voxels(3.0, (0.5, 1.0, 2.0))
        (7, 4, 3)
    """
    return tuple(int(np.ceil(reach_mm / s)) + 1 for s in spacing_mm)


def gap_mm(a: Box, b: Box, spacing_mm: Iterable[float]) -> float:
    """Compute the distance between the nearest faces of two boxes.

    Args:
        a: first box.
        b: second box.
        spacing_mm: voxel spacing in mm along each axis.

    Returns:
        The distance in mm; 0 where the boxes touch or overlap.

    Example:
        >>> gap_mm((slice(0, 2), slice(0, 2), slice(0, 2)), (slice(5, 6), slice(0, 2), slice(0, 2)), (2.0, 1.0, 1.0))
        6.0
    """
    voxels = [max(0, p.start - q.stop, q.start - p.stop) for p, q in zip(a, b, strict=True)]
    return float(np.linalg.norm(np.array(voxels) * np.array(tuple(spacing_mm))))


def bounding_box_mm(mask: npt.NDArray[np.bool_], margin_mm: float, spacing_mm: Iterable[float]) -> Box:
    """Find the bounding box of a mask with a margin in mm.

    Args:
        mask: (x, y, z) bool, not empty.
        margin_mm: margin on both sides of each axis in mm, rounded up to voxels and clipped to the volume.
        spacing_mm: voxel spacing in mm along each axis.

    Returns:
        The box.

    Raises:
        ValueError: if the mask is empty.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((9, 9, 9), dtype=bool)
        >>> mask[4, 4, 4] = True
        >>> bounding_box_mm(mask, 2.0, (1.0, 1.5, 3.0))
        (slice(2, 7, None), slice(2, 7, None), slice(3, 6, None))
    """
    box = bounding_box(mask, [int(np.ceil(margin_mm / step)) for step in spacing_mm])
    if box is None:
        raise ValueError("an empty mask has no bounding box")
    return box
