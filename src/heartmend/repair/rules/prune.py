"""Pieces that do not belong. Last of all: what could be given back, joined or filled has been by now."""

from __future__ import annotations

import numpy as np

from heartmend.anatomy.rule_parameters import ComponentsRule, DetachedSegmentsRule, FieldOfViewRule
from heartmend.anatomy.schema import Structure
from heartmend.geometry.boxes import boxes_by_id
from heartmend.geometry.components import Component, components_of
from heartmend.repair.changes import Change, Severity
from heartmend.repair.rules.components import give_to_nearest, touches
from heartmend.repair.rules.context import Result, RuleContext
from heartmend.repair.rules.swaps import BULKY
from heartmend.types import Labels


def components(labels: Labels, context: RuleContext, rule: ComponentsRule) -> Result:
    """Crumbs go, and so do pieces beyond the expected number; what must touch another structure stays if it does.

    A structure never loses its main piece. Large surplus pieces and those that the field of view cut off stay, and
    are told. A dropped voxel becomes what is nearest to it: tissue inside tissue, background outside.
    """
    labels, changes = labels.copy(), []
    boxes = boxes_by_id(labels)
    for structure in context.structures(rule.structures, *BULKY):
        if structure.id in boxes:
            found = components_of(labels, structure.id, boxes[structure.id])
            trunks = [context.anatomy.by_name(n).id for n in structure.must_touch]
            trunks = [i for i in trunks if i in boxes]
            changes += _prune(labels, context, rule, structure, found, trunks)
    return labels, changes


def _prune(
    labels: Labels, context: RuleContext, rule: ComponentsRule, structure: Structure, found: list[Component], trunks: list[int]
) -> list[Change]:
    spacing, voxel = context.grid.spacing_mm, context.grid.voxel_mm3

    def is_rooted(component: Component) -> bool:
        return bool(trunks) and touches(labels, component, trunks, rule.touch_mm, spacing)

    large = [p for p in found if p.voxels * voxel >= structure.min_mm3]
    main = next((p for p in large if is_rooted(p)), found[0]) if trunks else found[0]
    changes: list[Change] = []

    def told(component: Component, severity: Severity, note: str) -> None:
        changes.append(context.change("components", structure.name, "kept", component.box, 0, severity, note))

    if trunks and not is_rooted(main):
        told(main, "warning", f"does not touch {' or '.join(structure.must_touch)}")
    kept, small_components = 1, []
    for component in found:
        if component is main:
            continue
        is_crumb = component.voxels * voxel < structure.min_mm3
        is_small = is_crumb or component.voxels < rule.min_share * main.voxels
        is_surplus = not is_rooted(component) if trunks else kept >= structure.components
        if not is_crumb and component.at_border(labels.shape):
            kept += 1
            told(component, "info", "cut off by the field of view")
        elif not is_small and not is_surplus:
            kept += 1
        elif not is_small and trunks and touches(labels, component, [structure.id], rule.touch_mm, spacing):
            kept += 1
            told(component, "review", f"hangs on another piece of it only, not on {' or '.join(structure.must_touch)}")
        elif not is_small and not trunks and component.voxels >= rule.keep_share * main.voxels:
            kept += 1
            told(component, "warning", f"a large piece; {structure.components} expected")
        else:
            small_components.append(component)
    if kept > structure.components and trunks:
        told(main, "review", f"{kept} pieces where {structure.components} are expected")
    return changes + _dropped(labels, context, "components", structure, small_components)


def detached_segments(labels: Labels, context: RuleContext, rule: DetachedSegmentsRule) -> Result:
    """Of a tree of thin vessels, what lies far from the structures it runs on goes, and so do short loose pieces.

    Their number decides nothing: a broken vessel is a vessel.
    """
    labels, changes = labels.copy(), []
    boxes = boxes_by_id(labels)
    spacing, voxel = context.grid.spacing_mm, context.grid.voxel_mm3
    ground = [i for i in (context.anatomy.by_name(n).id for n in rule.near) if i in boxes]
    root = context.anatomy.by_name(rule.root).id
    for structure in context.structures(rule.structures, "tube"):
        if structure.id not in boxes or not ground:
            continue
        found = components_of(labels, structure.id, boxes[structure.id])
        gone = []
        for component in found:
            length = float(
                np.linalg.norm([(s.stop - s.start) * w for s, w in zip(component.box, spacing, strict=True)])
            )
            is_rooted = touches(labels, component, [root], 2 * max(spacing), spacing)
            is_short = length < rule.min_length_mm or component.voxels * voxel < structure.min_mm3
            if (is_short and not is_rooted) or not touches(labels, component, ground, rule.max_mm, spacing):
                gone.append(component)
        if len(gone) == len(found):
            gone.remove(found[0])
            note = f"lies more than {rule.max_mm:g} mm from {', '.join(rule.near)}, or is short"
            changes.append(context.change("detached_segments", structure.name, "kept", found[0].box, 0, "warning", note))
        changes += _dropped(labels, context, "detached_segments", structure, gone)
    return labels, changes


def field_of_view(labels: Labels, context: RuleContext, rule: FieldOfViewRule) -> Result:
    """Tells which structures end at the border of the volume, where nothing is completed."""
    changes = []
    for id, box in boxes_by_id(labels).items():
        structure = context.anatomy.by_id(id)
        if not rule.structures or structure.name in rule.structures:
            whole = Component(labels[box] == id, box, 0)
            if whole.at_border(labels.shape):
                changes.append(context.change("field_of_view", structure.name, "cut off", box, 0, "info"))
    return labels, changes


def _dropped(labels: Labels, context: RuleContext, rule: str, structure: Structure, gone: list[Component]) -> list[Change]:
    changes = []
    for component in gone:
        give_to_nearest(labels, component, context.grid.spacing_mm, (structure.id, *context.tube_ids))
        changes.append(context.change(rule, structure.name, "dropped", component.box, component.voxels))
    return changes
