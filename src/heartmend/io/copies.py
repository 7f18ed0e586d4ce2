"""Copies among the label maps of a data set, found by their voxels and not by their files.

A copy that was saved again, with another compression, type or order of the axes, is still the same label map: it counts
twice in the shared shape, and a network that has one in its training and the other in its test set is judged wrongly.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.grid import Grid
from heartmend.types import Labels
from heartmend.wording import some_of

_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}
MAX_NAMED = 3
"""Most copies that are named in one warning."""


@dataclass(frozen=True)
class Content:
    """Content of a label map, independent of how its file stores it.

    Attributes:
        digest: digest of the voxels of the structures, in an order that depends on these alone.
        axes: axis codes of that order in the patient; two copies with different ones are mirrored or turned.
    """

    digest: str
    axes: str


def content_of(labels: Labels, grid: Grid) -> Content | None:
    """Compute the content of a label map.

    Args:
        labels: (x, y, z) uint8, in the ids of the anatomy.
        grid: its grid.

    Returns:
        The content; None for an empty label map.

    Example:
        >>> import numpy as np
        >>> labels = np.zeros((4, 5, 6), dtype=np.uint8)
        >>> labels[1, 1:3, 2:5], labels[2, 1, 2] = 3, 4
        >>> moved, identity = np.pad(labels[::-1].transpose(2, 0, 1), 1), Grid((4, 5, 6), np.eye(4))
        >>> turned = Grid((8, 6, 7), [[0, -1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
        >>> content_of(labels, identity) == content_of(moved, turned)
        True
    """
    box = bounding_box(labels)
    if box is None:
        return None
    part = labels[box]
    profiles = [part.sum(axis=tuple({0, 1, 2} - {axis}), dtype=np.int64).tolist() for axis in range(3)]
    flipped = [profile[::-1] < profile for profile in profiles]
    order = sorted(range(3), key=lambda axis: min(profiles[axis], profiles[axis][::-1]))
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flipped)
    ordered = np.ascontiguousarray(part[steps].transpose(order))
    codes = [_OPPOSITE[code] if flip else code for code, flip in zip(grid.axcodes, flipped, strict=True)]
    digest = hashlib.blake2b(ordered.tobytes(), digest_size=16, key=repr(ordered.shape).encode()).hexdigest()
    return Content(digest, "".join(codes[axis] for axis in order))


def describe_copies(contents: Mapping[str, Content]) -> dict[str, str]:
    """Describe which cases have the same label map.

    Args:
        contents: the content of each case, by its id.

    Returns:
        A sentence for each case that has a copy, by its id.

    Example:
        >>> describe_copies({"1": Content("a", "LPS"), "2": Content("b", "LPS"), "3": Content("a", "RPS")})["1"]
        'the same label map as 3, which is mirrored or turned beside it; remove all but one'
    """
    same = defaultdict(list)
    for id, content in contents.items():
        same[content.digest].append(id)
    texts = {}
    for id, content in contents.items():
        others = [other for other in same[content.digest] if other != id]
        if others:
            turned = any(contents[other].axes != content.axes for other in others)
            how = ", which is mirrored or turned beside it" if turned else ""
            texts[id] = f"the same label map as {some_of(others, MAX_NAMED)}{how}; remove all but one"
    return texts
