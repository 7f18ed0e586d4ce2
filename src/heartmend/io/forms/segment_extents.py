"""Extents of the segments in the header of a .seg.nrrd file, outside of which 3D Slicer displays nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

_EXTENT = rb"^(Segment%d_Extent:=)([^\r\n]*)"
_EMPTY = "0 -1 0 -1 0 -1"


def with_extents(head: bytes, masks: Iterable[tuple[int, npt.NDArray[np.bool_]]]) -> bytes:
    """Correct the extents that do not contain all voxels of their segments.

    Args:
        head: the text header.
        masks: number of each segment, and its mask (x, y, z).

    Returns:
        The header; unchanged where all extents contain their segments.

    Example:
        >>> with_extents(b"Segment0_Extent:=0 1 0 0 0 0", [(0, np.ones((3, 1, 1), dtype=bool))])
        b'Segment0_Extent:=0 2 0 0 0 0'
    """
    for number, mask in masks:
        pattern = re.compile(_EXTENT % number, re.MULTILINE)
        found = pattern.search(head)
        if found is None:
            continue
        bounds = _bounds(mask)
        if not _contains(found[2], bounds):
            text = " ".join(f"{low} {high}" for low, high in bounds) if bounds else _EMPTY
            head = head[: found.start(2)] + text.encode() + head[found.end(2) :]
    return head


def _bounds(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    bounds = []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(used):
            return []
        bounds.append((int(used[0]), int(used[-1])))
    return bounds


def _contains(stated: bytes, bounds: list[tuple[int, int]]) -> bool:
    try:
        numbers = [int(text) for text in stated.split()]
    except ValueError:
        return False
    if len(numbers) != 6:
        return False
    return all(numbers[2 * a] <= low and high <= numbers[2 * a + 1] for a, (low, high) in enumerate(bounds))
