"""Structures that a label map has not on their own, but as part of a neighbour: a convention, which is kept.

Some data sets label the left atrial appendage on its own, others as part of the left atrium, and a mixed one has both.
The shape of the cohort has two structures; for a map with one, their union is what its label is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.boxes import bounding_box, join_boxes, nested_box
from heartmend.geometry.grid import Grid
from heartmend.geometry.local_field import LocalField
from heartmend.repair.changes import ORIGINAL_KEPT, Change, box_in_mm
from heartmend.types import Labels

RULE = "merged_structure"
"""Name of this method in the change log."""
COVERED_SHARE = 0.5
"""A structure is part of its neighbour if the neighbour's label covers this share of where its shape is."""


class MergedStructures(NamedTuple):
    """Shapes of a case by the convention of its label map.

    Attributes:
        shapes_mm: the shapes; that of a neighbour contains what is part of it.
        hosts: name of the neighbour, by the name of each structure that is part of it.
        changes: a remark for each of these structures.
    """

    shapes_mm: dict[str, LocalField]
    hosts: dict[str, str]
    changes: list[Change]


def merge_structures(
    labels: Labels, shapes_mm: Mapping[str, LocalField], anatomy: Anatomy, grid: Grid
) -> MergedStructures:
    """Find the structures that a label map has as part of the structure that they grow out of, and unite their shapes.

    Args:
        labels: (x, y, z) uint8, the prepared label map.
        shapes_mm: signed distance of the fitted shape of each structure, by name.
        anatomy: the structures; `must_touch` is what a structure grows out of.
        grid: grid of the label map.

    Returns:
        The shapes by the convention of this map. A structure that is simply absent is not part of anything.
    """
    shapes, hosts, changes = dict(shapes_mm), dict[str, str](), list[Change]()
    for name, shape in shapes_mm.items():
        structure = anatomy.by_name(name)
        inside = shape.values > 0
        box = bounding_box(inside)
        if box is None or not structure.must_touch or (labels == structure.id).any():
            continue
        of_shape = labels[shape.box][inside]
        for host in (one for one in structure.must_touch if one in shapes):
            if float((of_shape == anatomy.by_name(host).id).mean()) >= COVERED_SHARE:
                shapes[host], hosts[name] = _union(shapes[host], shape), host
                note = f"{name} is part of the {host} in this label map, and stays so"
                where = box_in_mm(nested_box(shape.box, box), grid)
                changes.append(Change(RULE, name, ORIGINAL_KEPT, 0, 0.0, where, "info", note))
                break
    return MergedStructures(shapes, hosts, changes)


def _union(one: LocalField, other: LocalField) -> LocalField:
    box = join_boxes([one.box, other.box])
    return LocalField(np.maximum(one.on(box, -np.inf), other.on(box, -np.inf)), box, one.shape)
