"""The input of a rule beside the label map: the grid, the anatomy and the distance maps of the fitted shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.geometry.boxes import Box
from heartmend.geometry.components import Component
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.grid import Grid
from heartmend.repair.changes import REVIEW_MM3, Change, Severity, box_in_mm
from heartmend.types import FloatArray, Labels, Triple

BULKY_KINDS = ("chamber", "wall", "vessel", "appendage")
"""Kinds of structures that are no thin vessels."""

Result = tuple[Labels, list[Change]]
"""What a rule returns: the changed label map (x, y, z) uint8, and the changes."""


@dataclass(frozen=True, eq=False)
class RuleContext:
    """Input of a rule beside the label map.

    Attributes:
        grid: grid of the part of the volume that the rules work on.
        anatomy: the structures and their properties.
        evidence: distance maps of the fitted shapes by structure id, on `grid`; empty where there are none.
        start: index of the part's first voxel in the volume, for the notes of changes.
    """

    grid: Grid
    anatomy: Anatomy
    evidence: Mapping[int, DistanceMap]
    start: Triple = (0, 0, 0)

    @property
    def tube_ids(self) -> tuple[int, ...]:
        """Ids of the thin vessels, which no rule about bulky structures may use or change."""
        return tuple(s.id for s in self.anatomy.structures if s.kind == "tube")

    def structures(self, names: Sequence[str], *kinds: str) -> list[Structure]:
        """List the structures of some kinds.

        Args:
            names: names of the structures to list; empty for all.
            *kinds: kinds of the structures to list.

        Returns:
            The structures in the anatomy's order.
        """
        return [s for s in self.anatomy.structures if s.kind in kinds and (not names or s.name in names)]

    def evidence_mm(self, id: int, component: Component) -> FloatArray | None:
        """Read the distances of a structure's fitted shape at the voxels of a component.

        Args:
            id: id of the structure.
            component: the voxels.

        Returns:
            (n,) float64 in mm, positive inside the shape; None for a structure without a shape.
        """
        distances = self.evidence.get(id)
        if distances is None:
            return None
        return distances.steps[component.box][component.mask].astype(np.float64) * distances.step_mm

    def change(
        self, rule: str, structure: str, action: str, box: Box, voxels: int, severity: Severity = "info", note: str = ""
    ) -> Change:
        """Describe a change in a box of voxels.

        Args:
            rule: name of the rule.
            structure: name of the structure; empty for all structures.
            action: what was done.
            box: box of the change, in voxels of `grid`.
            voxels: number of changed voxels; 0 for a remark.
            severity: raised to `review` for a change of more than `REVIEW_MM3`.
            note: details for a reader.

        Returns:
            The change with its volume and its box in mm.
        """
        volume = voxels * self.grid.voxel_mm3
        if severity == "info" and volume > REVIEW_MM3:
            severity = "review"
        return Change(rule, structure, action, voxels, round(volume, 2), box_in_mm(box, self.grid), severity, note)


def maps_by_name(maps: Mapping[str, DistanceMap] | None, anatomy: Anatomy) -> dict[str, DistanceMap]:
    """Check distance maps and key them by the anatomy's names of the structures.

    Args:
        maps: distance maps by structure name, in any spelling that the anatomy accepts; None for no maps.
        anatomy: the structures.

    Returns:
        The maps by the anatomy's spelling of the names.

    Raises:
        ValueError: if the shapes or the steps of the maps differ.
    """
    named = {anatomy.by_name(name).name: distances for name, distances in (maps or {}).items()}
    if len(shapes := {distances.shape for distances in named.values()}) > 1:
        raise ValueError(f"distance maps must have one shape, not {sorted(shapes)}")
    if len(steps := {distances.step_mm for distances in named.values()}) > 1:
        raise ValueError(f"distance maps must have one step in mm, not {sorted(steps)}")
    return named
