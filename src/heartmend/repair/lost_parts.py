"""Large parts of a label that the repair removed without an entry of the change log: each gets one.

Rules list what they remove. The fusion of shape and label does not: where the shape of the cohort contradicts a label
by more than its margin, the label goes, a rough surface as well as a vessel that no other heart has. What is far from
all that remains of its structure is no surface, so it is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.boxes import Box, boxes_by_id, expand_box, margin_voxels, nested_box
from heartmend.geometry.components import Component, find_components
from heartmend.geometry.grid import Grid
from heartmend.geometry.masks import grow_mask
from heartmend.repair.changes import REVIEW_MM3, Change, Severity, box_in_mm
from heartmend.types import Labels

RULE = "lost_parts"
"""Name of this method in the change log."""
FAR_MM = 3.0
"""A lost voxel is no part of a surface if it is farther than this from what remains of its structure."""
MIN_MM3 = 100.0
"""Smallest part that is named."""
NAMED_SHARE = 0.5
"""A part is named already if the log has a change of its structure there with this share of its volume."""


def name_lost_parts(
    before: Labels, after: Labels, grid: Grid, anatomy: Anatomy, log: Sequence[Change]
) -> list[Change]:  # fmt: skip
    """List the large parts that structures lost, as far as the change log does not.

    Args:
        before: (x, y, z) uint8, the label map before any repair.
        after: (x, y, z) uint8, the repaired label map.
        grid: grid of both.
        anatomy: the structures.
        log: entries of the change log.

    Returns:
        A change for each part, of the severity `review` from 500 mm³ on.

    Example:
        >>> from heartmend.anatomy.load import load_anatomy
        >>> before = np.zeros((40, 9, 9), dtype=np.uint8)
        >>> before[2:12], before[12:, 3:6, 3:6] = 6, 6
        >>> after = before.copy()
        >>> after[12:] = 0
        >>> grid, heart = Grid(before.shape, np.eye(4)), load_anatomy("heart")
        >>> [(one.structure, one.voxels) for one in name_lost_parts(before, after, grid, heart, [])]
        [('Aorta', 252)]
    """
    changes = []
    for id, box in boxes_by_id(before).items():
        if id in anatomy.ids:
            structure = anatomy.by_id(id)
            removed = [one for one in log if one.voxels and one.structure in ("", structure.name)]
            for part in _far_from_rest(before, after, id, box, grid):
                volume_mm3 = round(part.voxels * grid.voxel_mm3, 2)
                where = box_in_mm(part.box, grid)
                if not any(_names(one, where, volume_mm3) for one in removed):
                    severity: Severity = "review" if volume_mm3 > REVIEW_MM3 else "info"
                    note = f"the shape of the heart has no such part; {volume_mm3 / 1000:.1f} ml"
                    changes.append(
                        Change(RULE, structure.name, "removed", part.voxels, volume_mm3, where, severity, note)
                    )
    return changes


def _far_from_rest(before: Labels, after: Labels, id: int, box: Box, grid: Grid) -> Iterator[Component]:
    """Connected parts that a structure lost, no part of its surface, each with what joined it to the rest."""
    wider = expand_box(box, margin_voxels(FAR_MM, grid.spacing_mm), before.shape)
    had, has = before[wider] == id, after[wider] == id
    lost = had & ~has
    min_voxels = MIN_MM3 / grid.voxel_mm3
    if int(lost.sum()) < min_voxels:
        return
    far = lost & ~grow_mask(has, FAR_MM, grid.spacing_mm)
    for core in find_components(far):
        if core.voxels < min_voxels / 2:
            return
        reach = expand_box(core.box, margin_voxels(FAR_MM, grid.spacing_mm), lost.shape)
        near = grow_mask(core.in_box(reach), FAR_MM, grid.spacing_mm) & lost[reach]
        part = find_components(near)[0]
        if part.voxels >= min_voxels:
            yield Component(part.mask, nested_box(wider, nested_box(reach, part.box)), part.voxels)


def _names(change: Change, box_mm: tuple[Sequence[float], Sequence[float]], volume_mm3: float) -> bool:
    """Whether a change has a part: its box contains the centre of the part, and it is as large."""
    low, high = np.array(change.box_mm)
    centre = np.mean(box_mm, axis=0)
    return bool(((low <= centre) & (centre <= high)).all()) and change.volume_mm3 >= NAMED_SHARE * volume_mm3
