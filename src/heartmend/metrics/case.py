"""One case measured: a row for each structure and label map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from scipy.ndimage import find_objects

from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.metrics.catalogue import Metric, Subject, catalogue
from heartmend.metrics.segment import Box, Segment, join_boxes
from heartmend.types import Labels, Mask

Which = Literal["a", "b", "reference"]


@dataclass(frozen=True)
class Row:
    """One structure in one label map of one case.

    `values` has, by the metric's key, what has a meaning here: the numbers of this map alone and, where it was
    compared `against` another, those of the pair.
    """

    case: str
    structure: str
    labels: Which
    against: Which | None
    present: bool
    """Whether this map has the structure."""
    expected: bool
    """Whether the map that it was compared against has it; True where there is none."""
    values: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """A flat table: what the row is of, then its numbers."""
        own = {k: getattr(self, k) for k in ("case", "structure", "labels", "against", "present", "expected")}
        return {**own, **self.values}


def evaluate_case(
    a: Labels,
    b: Labels,
    spacing_mm: Sequence[float],
    anatomy: Anatomy,
    reference: Labels | None = None,
    *,
    case: str = "",
    metrics: Sequence[Metric] | None = None,
) -> list[Row]:
    """Measure label maps (x, y, z) of one grid in the anatomy's ids: rows for each structure that any of them has.

    Without a reference, `b` is compared against `a`; with one, both are compared against the reference. In both cases
    there is a row for each map, with what is measured of it alone. metrics: those of `catalogue()` unless given.
    Distances are in mm, on `spacing_mm`.
    """
    maps: dict[Which, Labels] = {"a": a, "b": b}
    if reference is not None:
        maps["reference"] = reference
    against: dict[Which, Which] = {"b": "a"} if reference is None else {"a": "reference", "b": "reference"}
    chosen = catalogue() if metrics is None else metrics
    boxes = {which: _boxes(labels) for which, labels in maps.items()}
    rows = []
    for structure in anatomy.structures:
        box = join_boxes(found.get(structure.id) for found in boxes.values())
        if box is None:
            continue
        segments = {which: _segment(labels, box, structure.id, spacing_mm) for which, labels in maps.items()}
        for which, segment in segments.items():
            to = against.get(which)
            other = None if to is None else segments[to]
            with_host = partial(_with_host, maps[which], boxes[which], structure, anatomy)
            subject = Subject(structure, segment, other, with_host)
            values = {
                m.key: value
                for m in chosen
                if (other is not None if m.pair else segment.voxels) and (value := m.measure(subject)) is not None
            }
            present, expected = segment.voxels > 0, other is None or other.voxels > 0
            rows.append(Row(case, structure.name, which, to, present, expected, values))
    return rows


def _boxes(labels: Labels) -> dict[int, Box]:
    # Along the memory's own order, which of a NIfTI file is not NumPy's: ten times as fast.
    turned = labels.flags.f_contiguous
    found = enumerate(find_objects(labels.T if turned else labels), start=1)
    return {id: box[::-1] if turned else box for id, box in found if box is not None}


def _segment(labels: Labels, box: Box, id: int, spacing_mm: Sequence[float]) -> Segment:
    x, y, z = (float(s) for s in spacing_mm)
    return Segment(np.ascontiguousarray(labels[box] == id), (x, y, z))


def _with_host(
    labels: Labels, boxes: Mapping[int, Box], structure: Structure, anatomy: Anatomy
) -> tuple[Mask, Mask] | None:
    """The structure and what it must grow out of, in one box; None where the map lacks one of them, or it is free."""
    ids = [anatomy.by_name(name).id for name in structure.hosts]
    hosts = [boxes[id] for id in ids if id in boxes]
    if not hosts or structure.id not in boxes:
        return None
    box = join_boxes([boxes[structure.id], *hosts])
    cut = np.ascontiguousarray(labels if box is None else labels[box])
    return cut == structure.id, np.logical_or.reduce([cut == id for id in ids])
