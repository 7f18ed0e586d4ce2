"""What a rule sees beside the label map: the grid, the anatomy and what the implicit shapes say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.geometry.grid import Grid
from heartmend.repair.changes import Change, Severity, box_in_mm
from heartmend.repair.rules.components import Box, Component
from heartmend.types import FloatArray, Labels, Triple

Fields = Mapping[str, npt.NDArray[Any]] | npt.NDArray[Any]
"""Signed distances, positive inside, of (x, y, z) each: by the structures' names, or stacked in the anatomy's order."""

# Above: a person may want to know, whatever it was.
REVIEW_MM3 = 500.0


@dataclass(frozen=True, eq=False)
class Scene:
    """The surroundings of a rule. `fields`: by id, in steps of `step_mm`; empty where there are no implicit shapes.

    grid: of the part of the volume that the rules are shown; start: the index of that part's first voxel, for what a
    person is told of indices.
    """

    grid: Grid
    anatomy: Anatomy
    fields: Mapping[int, npt.NDArray[Any]]
    step_mm: float = 1.0
    start: Triple = (0, 0, 0)

    @property
    def tube_ids(self) -> tuple[int, ...]:
        """Thin vessels, which no rule about bulky structures may use or touch."""
        return tuple(s.id for s in self.anatomy.structures if s.kind == "tube")

    def chosen(self, names: Sequence[str], *kinds: str) -> list[Structure]:
        """The structures that are named, or all if none is, of these kinds."""
        return [s for s in self.anatomy.structures if s.kind in kinds and (not names or s.name in names)]

    def evidence_mm(self, id: int, component: Component) -> FloatArray | None:
        """What the structure's implicit shape says of the piece's voxels, mm; None where there is none."""
        field = self.fields.get(id)
        return None if field is None else field[component.box][component.mask].astype(np.float64) * self.step_mm

    def change(
        self, rule: str, structure: str, action: str, box: Box, voxels: int, severity: Severity = "info", note: str = ""
    ) -> Change:
        """A change at a box of voxels; a large one is at least worth a look."""
        volume = voxels * self.grid.voxel_mm3
        if severity == "info" and volume > REVIEW_MM3:
            severity = "review"
        return Change(rule, structure, action, voxels, round(volume, 2), box_in_mm(box, self.grid), severity, note)


Result = tuple[Labels, list[Change]]


def by_name(fields: Fields | None, anatomy: Anatomy) -> dict[str, npt.NDArray[Any]]:
    """Fields by the structures' names. Raises ValueError where their number or shapes do not fit."""
    if fields is None:
        return {}
    if isinstance(fields, Mapping):
        named = {anatomy.by_name(name).name: field for name, field in fields.items()}
    elif len(fields) == len(anatomy.structures):
        named = dict(zip(anatomy.names, fields, strict=True))
    else:
        raise ValueError(f"{len(fields)} fields for the {len(anatomy.structures)} structures of {anatomy.name}")
    if len(shapes := {field.shape for field in named.values()}) > 1:
        raise ValueError(f"fields of unlike shapes: {sorted(shapes)}")
    return named
