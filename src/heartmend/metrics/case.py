"""Evaluation of one case: a row for each structure and mask."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.errors import BadInputError
from heartmend.geometry.boxes import Box, boxes_by_id, join_boxes
from heartmend.metrics.metric_catalogue import Metric, Subject, catalogue
from heartmend.metrics.segment import Segment, points_mm, surface_voxels
from heartmend.types import BACKGROUND, FloatArray, Labels, Mask

MapName = Literal["a", "b", "reference"]
"""One of the label maps that are compared."""

MASK = "mask"
"""Name of the structure of a row if plain masks were given."""


@dataclass(frozen=True)
class Row:
    """Metrics of one structure in one label map of one case.

    Attributes:
        case: id of the case.
        structure: name of the structure.
        labels: the label map that is measured.
        against: the label map it is compared with; None if there is none.
        present: whether the label map contains the structure.
        expected: whether the map it is compared with contains the structure; True if there is none.
        values: metrics by their keys, in the units of the keys. Metrics that are undefined here are left out, such as
            the volume ratio to an empty mask.
    """

    case: str
    structure: str
    labels: MapName
    against: MapName | None
    present: bool
    expected: bool
    values: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Convert the row into one flat mapping.

        Returns:
            The attributes case, structure, labels, against, present and expected, then the metrics by their keys.

        Example:
            >>> Row("001", "LV", "a", None, True, True, {"volume_ml": 140.0}).to_dict()["volume_ml"]
            140.0
        """
        own = {k: getattr(self, k) for k in ("case", "structure", "labels", "against", "present", "expected")}
        return {**own, **self.values}


def evaluate_case(
    a: Labels | Mask,
    b: Labels | Mask,
    spacing_mm: Sequence[float],
    anatomy: Anatomy | None = None,
    reference: Labels | Mask | None = None,
    *,
    case: str = "",
    metrics: Sequence[Metric] | None = None,
    structures: Collection[str] = (),
) -> list[Row]:
    """Compute the metrics of one case, from masks or from label maps.

    Without a reference, b is compared with a; with one, both are compared with the reference. There is a row for every
    map, with the metrics of the map itself too (volume, components, roughness, ...).

    Args:
        a: boolean mask (x, y, z), or label map (x, y, z) of uint8 in the ids of the anatomy.
        b: an array of the same kind and shape.
        spacing_mm: voxel size along x, y and z in mm.
        anatomy: the structures of the label maps; None for masks. Without it the metrics that need one are left out:
            contact, gap, and a map's own errors of component count and Euler number.
        reference: an array of the same kind and shape, such as the ground truth.
        case: case id in the rows.
        metrics: entries of `catalogue()` to compute; all if None.
        structures: names of the structures to measure; all if empty.

    Returns:
        Rows in the order of the anatomy's structures, for each that any of the maps contains, then a, b, reference.
        Masks are one structure, named "mask".

    Raises:
        BadInputError: if the arrays differ in shape or kind, if label maps are given without an anatomy, or masks with
            one.

    Example:
        Two slabs of 32 voxels that share 16.

        >>> import numpy as np
        >>> a, b = np.zeros((2, 4, 4, 4), bool)
        >>> a[:2], b[1:3] = True, True
        >>> row = evaluate_case(a, b, spacing_mm=(0.9, 0.9, 0.9))[1]
        >>> row.labels, row.against, row.values["dice"], row.values["hd95_mm"]
        ('b', 'a', 0.5, 0.9)
    """
    given: dict[MapName, Labels | Mask] = {"a": a, "b": b}
    if reference is not None:
        given["reference"] = reference
    _check(list(given.values()), anatomy)
    maps = {which: _as_labels(array) for which, array in given.items()}
    against: dict[MapName, MapName] = {"b": "a"} if reference is None else {"a": "reference", "b": "reference"}
    chosen = catalogue() if metrics is None else metrics
    boxes = {which: boxes_by_id(labels) for which, labels in maps.items()}
    rows = []
    for id, name, structure in _structures(anatomy):
        found = [of_map[id] for of_map in boxes.values() if id in of_map]
        if not found or (structures and name not in structures):
            continue
        box = join_boxes(found)
        segments = {which: _segment(labels, box, id, spacing_mm) for which, labels in maps.items()}
        for which, segment in segments.items():
            to = against.get(which)
            other = None if to is None else segments[to]
            subject = Subject(
                structure, segment, other, partial(_with_host, maps[which], boxes[which], anatomy, id),
                partial(_root_mm, maps[to or which], boxes[to or which], structure, anatomy, box, spacing_mm),
            )  # fmt: skip
            values = {
                m.key: value
                for m in chosen
                if (other is not None if m.pair else segment.voxels) and (value := m.measure(subject)) is not None
            }
            present, expected = segment.voxels > 0, other is None or other.voxels > 0
            rows.append(Row(case, name, which, to, present, expected, values))
    return rows


def _as_labels(array: Labels | Mask) -> Labels:
    """A mask becomes a label map with the one id 1, without a copy."""
    return array.view(np.uint8) if array.dtype == np.bool_ else array  # type: ignore[return-value]


def _check(arrays: Sequence[Labels | Mask], anatomy: Anatomy | None) -> None:
    shapes, are_masks = {array.shape for array in arrays}, {array.dtype == np.bool_ for array in arrays}
    if len(shapes) > 1 or len(next(iter(shapes))) != 3:
        raise BadInputError(
            f"arrays of shapes {', '.join(str(array.shape) for array in arrays)} cannot be compared; "
            "give arrays (x, y, z) of one shape"
        )
    if are_masks == {True} and anatomy is not None:
        raise BadInputError("boolean masks have no labels of an anatomy; leave the anatomy out, or give label maps")
    if are_masks != {True} and (anatomy is None or True in are_masks):
        raise BadInputError(
            "label maps need an anatomy: give anatomy=load_anatomy('heart'), or boolean masks, such as labels == 3"
        )


def _structures(anatomy: Anatomy | None) -> list[tuple[int, str, Structure | None]]:
    return [(1, MASK, None)] if anatomy is None else [(s.id, s.name, s) for s in anatomy.structures]


def _segment(labels: Labels, box: Box, id: int, spacing_mm: Sequence[float]) -> Segment:
    x, y, z = (float(s) for s in spacing_mm)
    return Segment(np.ascontiguousarray(labels[box] == id), (x, y, z), labels.shape)


def _root_mm(
    labels: Labels, boxes: Mapping[int, Box], structure: Structure | None, anatomy: Anatomy | None, box: Box,
    spacing_mm: Sequence[float],
) -> FloatArray:  # fmt: skip
    """Positions (k, 3) of the surface of a structure's root, in mm from the centre of the first voxel of a box."""
    root = BACKGROUND if anatomy is None or not structure or not structure.root else anatomy.by_name(structure.root).id
    if (of_root := boxes.get(root)) is None:
        return np.zeros((0, 3))
    offset = [low.start - side.start for low, side in zip(of_root, box, strict=True)]
    return points_mm(surface_voxels(labels[of_root] == root), spacing_mm) + np.multiply(offset, spacing_mm)


def _with_host(labels: Labels, boxes: Mapping[int, Box], anatomy: Anatomy | None, id: int) -> tuple[Mask, Mask] | None:
    """The structure and its hosts, cropped to one box; None if it has no host or the map lacks one of the two."""
    if anatomy is None:
        return None
    host_ids = [anatomy.by_name(name).id for name in anatomy.by_id(id).hosts]
    hosts = [boxes[host] for host in host_ids if host in boxes]
    if not hosts or id not in boxes:
        return None
    cropped = np.ascontiguousarray(labels[join_boxes([boxes[id], *hosts])])
    return cropped == id, np.logical_or.reduce([cropped == host for host in host_ids])
