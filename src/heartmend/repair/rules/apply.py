"""The rules of an anatomy, applied in the order of its file.

The order of ours, and why it is this one. A rule relies on what the ones before it have mended:

1. `slices`, `shifts`: a missing slice severs whatever it runs through, so nothing can be judged severed before.
2. `salt`, `swaps`: names are put right, voxels first, then patches. Later rules trust them: a patch of LA inside the RA
   would be dropped as a surplus piece, and leave a hole, where it should have been given to the RA.
3. `cut_vessels`: what belongs together is joined before anything is called a loose piece.
4. `holes`: filled when no stray patch lies in them and bridges have closed what is to be closed.
5. `pieces`, `strays`: only now is what is left over dropped. Earlier, true parts would go with it.
6. `field_of_view`: what the scan cut off is told, and left as it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.rule_parameters import ShiftsRule
from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.boxes import filled_box, widen
from heartmend.geometry.grid import Grid
from heartmend.repair.changes import Change
from heartmend.repair.rules.breaks import cut_vessels
from heartmend.repair.rules.components import Box, margin_voxels, whole_box
from heartmend.repair.rules.holes import holes
from heartmend.repair.rules.prune import components, detached_segments, field_of_view
from heartmend.repair.rules.scene import Fields, Result, Scene, by_name
from heartmend.repair.rules.slices import shifts, slices
from heartmend.repair.rules.swaps import speckle, swaps
from heartmend.types import Labels

RULES: Mapping[str, Callable[[Labels, Scene, Any], Result]] = {
    rule.__name__: rule
    for rule in (slices, shifts, speckle, swaps, cut_vessels, holes, components, detached_segments, field_of_view)
}
"""Each rule by its name in the anatomy file: takes the map, the scene and its own table; returns a new map."""

FAR_MM = 8.0
"""So deep outside lies what no evidence was given for."""


def apply_rules(
    labels: Labels,
    grid: Grid,
    anatomy: Anatomy,
    evidence: Fields | None = None,
    step_mm: float = 1.0,
    only: Collection[str] | None = None,
    evidence_box: Box | None = None,
) -> tuple[Labels, list[Change]]:
    """Apply the anatomy's rules, or `only` those named, to a label map (x, y, z) on its grid.

    evidence: signed distances to the implicit shapes, positive inside, in units of `step_mm`, on the same grid, or on
    the voxels of `evidence_box` alone: further off there is nothing. Returns a new map and what changed; `labels` stays
    as it is. A structure that is absent stays absent.
    """
    if labels.dtype != np.uint8 or labels.shape != grid.shape:
        raise ValueError(f"labels are uint8 on their grid {grid.shape}, not {labels.dtype} {labels.shape}")
    fields = {anatomy.by_name(name).id: field for name, field in by_name(evidence, anatomy).items()}
    there = evidence_box or whole_box(labels.shape)
    for id, field in fields.items():
        if field.shape != tuple(side.stop - side.start for side in there):
            raise ValueError(f"the evidence for {anatomy.by_id(id).name} is {field.shape}, the map {labels.shape}")
    box = _about_tissue(labels, grid, anatomy)
    shown = {id: _shown(field, there, box, step_mm) for id, field in fields.items()}
    scene = Scene(grid.part(box), anatomy, shown, step_mm, (box[0].start, box[1].start, box[2].start))
    part, changes = labels[box].copy(), list[Change]()
    for rule in anatomy.rules:
        if only is None or rule.rule in only:
            part, found = RULES[rule.rule](part, scene, rule)
            changes += found
    result = labels.copy(order="K")
    result[box] = part
    return result, changes


def _about_tissue(labels: Labels, grid: Grid, anatomy: Anatomy) -> Box:
    """All that a rule can see or touch: the heart is a small part of a long scan.

    The margin is further than a rule moves anything, so that no tissue comes to lie at a border that is not the
    volume's own.
    """
    filled = filled_box(labels)
    if filled is None:
        return whole_box(labels.shape)
    reach_mm = max((rule.max_shift_mm for rule in anatomy.rules if isinstance(rule, ShiftsRule)), default=0.0)
    return widen(filled, (n + 1 for n in margin_voxels(reach_mm, grid.spacing_mm)), labels.shape)


def _shown(field: npt.NDArray[Any], there: Box, box: Box, step_mm: float) -> npt.NDArray[Any]:
    """A field that lies at the box `there`, as the box `box` sees it."""
    if there == box:
        return field
    seen = np.full([side.stop - side.start for side in box], round(-FAR_MM / step_mm), dtype=field.dtype)
    both = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(there, box, strict=True)]
    if all(side.start < side.stop for side in both):
        in_field, in_seen = (
            tuple(slice(side.start - o.start, side.stop - o.start) for side, o in zip(both, of, strict=True))
            for of in (there, box)
        )
        seen[in_seen] = field[in_field]
    return seen
