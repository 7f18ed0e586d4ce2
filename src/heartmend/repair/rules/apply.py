"""Application of the rules of an anatomy to a label map, in the order of the anatomy file.

The order of the heart's rules matters, because each rule relies on the results of those before it:

1. `slices`, `shifts`: a missing slice cuts every structure that it crosses, so connectivity is tested only later.
2. `speckle`, `swaps`: wrong labels are corrected, single voxels first, then patches. A patch of LA inside the RA would
   otherwise be removed as a surplus component and leave a hole, although it belongs to the RA.
3. `cut_vessels`: the parts of an interrupted vessel are joined before any of them counts as a surplus component.
4. `holes`: holes are filled once no wrong patch is left in them and bridges have closed what they close.
5. `components`, `detached_segments`: surplus components are removed last; before, true parts would be lost.
6. `field_of_view`: structures that the field of view cuts off are reported and not completed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from heartmend.anatomy.rule_parameters import ShiftsRule
from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.boxes import Box, bounding_box, expand_box, full_box, margin_voxels, relative_box
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.grid import Grid
from heartmend.repair.changes import Change
from heartmend.repair.rules.breaks import cut_vessels
from heartmend.repair.rules.context import Result, RuleContext, maps_by_name
from heartmend.repair.rules.holes import holes
from heartmend.repair.rules.prune import components, detached_segments, field_of_view
from heartmend.repair.rules.slices import shifts, slices
from heartmend.repair.rules.swaps import speckle, swaps
from heartmend.types import Labels

RULES: Mapping[str, Callable[[Labels, RuleContext, Any], Result]] = {
    rule.__name__: rule
    for rule in (slices, shifts, speckle, swaps, cut_vessels, holes, components, detached_segments, field_of_view)
}
"""Each rule by its name in the anatomy file: a function of the label map, the context and the rule's parameters."""

OUTSIDE_MM = 8.0
"""Distance outside every shape that is assumed beyond the box of the evidence."""


def apply_rules(
    labels: Labels,
    grid: Grid,
    anatomy: Anatomy,
    evidence: Mapping[str, DistanceMap] | None = None,
    only: Collection[str] | None = None,
    evidence_box: Box | None = None,
) -> tuple[Labels, list[Change]]:
    """Apply the rules of an anatomy to a label map.

    A structure that is absent stays absent.

    Args:
        labels: (x, y, z) uint8, the label map in the anatomy's ids; it is not changed.
        grid: grid of the label map.
        anatomy: the structures and the rules.
        evidence: distance maps of the fitted shapes by structure name, on `grid` or on its `evidence_box`.
        only: names of the rules to apply; None for all.
        evidence_box: voxels that the evidence covers; None for all. Beyond it every shape is taken as absent.

    Returns:
        The repaired label map (x, y, z) uint8, and the changes in the order in which they were made.

    Raises:
        ValueError: if the label map does not fit its grid, or the evidence does not fit its box.
    """
    if labels.dtype != np.uint8 or labels.shape != grid.shape:
        raise ValueError(f"labels must be uint8 of shape {grid.shape}, not {labels.dtype} {labels.shape}")
    maps = {anatomy.by_name(name).id: distances for name, distances in maps_by_name(evidence, anatomy).items()}
    covered = evidence_box or full_box(labels.shape)
    for id, distances in maps.items():
        if distances.shape != (expected := tuple(side.stop - side.start for side in covered)):
            raise ValueError(f"evidence for {anatomy.by_id(id).name} must have shape {expected}, not {distances.shape}")
    box = _tissue_box(labels, grid, anatomy)
    cropped = {id: _cropped(distances, covered, box) for id, distances in maps.items()}
    context = RuleContext(grid.crop(box), anatomy, cropped, (box[0].start, box[1].start, box[2].start))
    part, changes = labels[box].copy(), list[Change]()
    for rule in anatomy.rules:
        if only is None or rule.rule in only:
            part, made = RULES[rule.rule](part, context, rule)
            changes += made
    result = labels.copy(order="K")
    result[box] = part
    return result, changes


def _tissue_box(labels: Labels, grid: Grid, anatomy: Anatomy) -> Box:
    """Box of all voxels that a rule can read or change: the heart is a small part of a long scan.

    The margin is larger than any shift of a rule, so that no tissue reaches a border that is not the volume's own.
    """
    filled = bounding_box(labels)
    if filled is None:
        return full_box(labels.shape)
    reach_mm = max((rule.max_shift_mm for rule in anatomy.rules if isinstance(rule, ShiftsRule)), default=0.0)
    return expand_box(filled, (n + 1 for n in margin_voxels(reach_mm, grid.spacing_mm)), labels.shape)


def _cropped(distances: DistanceMap, covered: Box, box: Box) -> DistanceMap:
    """Distance map of the voxels of `box`, from a map of the voxels of `covered`."""
    if covered == box:
        return distances
    outside = round(-OUTSIDE_MM / distances.step_mm)
    steps = np.full([side.stop - side.start for side in box], outside, dtype=distances.steps.dtype)
    x, y, z = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(covered, box, strict=True))
    both: Box = (x, y, z)
    if all(side.start < side.stop for side in both):
        steps[relative_box(both, box)] = distances.steps[relative_box(both, covered)]
    return DistanceMap(steps, distances.step_mm)
