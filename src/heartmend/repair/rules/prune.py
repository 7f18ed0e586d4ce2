"""Rules `components`, `detached_segments` and `field_of_view`: surplus components are removed or reported."""

from __future__ import annotations

import numpy as np

from heartmend.anatomy.rule_parameters import ComponentsRule, DetachedSegmentsRule, FieldOfViewRule
from heartmend.anatomy.schema import Structure
from heartmend.geometry.boxes import boxes_by_id
from heartmend.geometry.components import Component, components_of
from heartmend.geometry.elongation import measure_elongation
from heartmend.repair.changes import ORIGINAL_KEPT, Change, Severity
from heartmend.repair.rules.context import BULKY_KINDS, Result, RuleContext
from heartmend.repair.rules.neighbours import relabel_by_nearest, touches
from heartmend.repair.unusual_anatomy import LINK_MM, MIN_TUBE_MM3
from heartmend.types import Labels
from heartmend.wording import plural


def components(labels: Labels, context: RuleContext, rule: ComponentsRule) -> Result:
    """Remove small components and components beyond the expected number.

    A component of a structure that must touch another one is expected if it touches it, whatever the number. A
    structure never loses its main component. Large surplus components, components that are long and thin as the pieces
    of a graft, and components that the field of view cuts off, stay and are reported. A removed voxel gets the label of
    the nearest voxel: a structure's inside that structure, background outside.

    Args:
        labels: (x, y, z) uint8; it is not changed.
        context: grid and anatomy.
        rule: parameters.

    Returns:
        The label map without the removed components, and the changes.
    """
    labels, changes = labels.copy(), []
    boxes = boxes_by_id(labels)
    for structure in context.structures(rule.structures, *BULKY_KINDS):
        if structure.id in boxes:
            found = components_of(labels, structure.id, boxes[structure.id])
            origins = [context.anatomy.by_name(n).id for n in structure.must_touch]
            origins = [i for i in origins if i in boxes]
            changes += _pruned(labels, context, rule, structure, found, origins)
    return labels, changes


def _pruned(
    labels: Labels,
    context: RuleContext,
    rule: ComponentsRule,
    structure: Structure,
    found: list[Component],
    origins: list[int],
) -> list[Change]:
    """Prune one structure in place. `origins`: ids of the present structures that it must touch."""
    spacing, voxel_mm3 = context.grid.spacing_mm, context.grid.voxel_mm3

    def is_rooted(component: Component) -> bool:
        return bool(origins) and touches(labels, component, origins, rule.touch_mm, spacing)

    large = [c for c in found if c.voxels * voxel_mm3 >= structure.min_mm3]
    main = next((c for c in large if is_rooted(c)), found[0]) if origins else found[0]
    changes: list[Change] = []

    def is_piece_of_vessel(component: Component) -> bool:
        is_near = structure.kind == "vessel" and touches(labels, component, [structure.id], LINK_MM, spacing)
        return is_near and measure_elongation(component.mask, spacing).is_tube

    def report(component: Component, severity: Severity, note: str) -> None:
        change = context.change("components", structure.name, ORIGINAL_KEPT, component.box, 0, severity, note)
        changes.append(change)

    origin_names = " or ".join(structure.must_touch)
    if origins and not is_rooted(main):
        report(main, "warning", f"does not touch {origin_names}")
    count, surplus = 1, []
    for component in found:
        if component is main:
            continue
        is_tiny = component.voxels * voxel_mm3 < structure.min_mm3
        is_small = is_tiny or component.voxels < rule.min_share * main.voxels
        is_surplus = not is_rooted(component) if origins else count >= structure.components
        if not is_tiny and component.at_border(labels.shape):
            count += 1
            report(component, "info", "cut off by the field of view")
        elif not is_small and not is_surplus:
            count += 1
        elif not is_small and origins and touches(labels, component, [structure.id], rule.touch_mm, spacing):
            count += 1
            report(component, "review", f"touches another component of the structure, but not {origin_names}")
        elif not is_small and not origins and component.voxels >= rule.keep_share * main.voxels:
            count += 1
            report(component, "warning", f"large surplus component; expected number: {structure.components}")
        elif component.voxels * voxel_mm3 >= MIN_TUBE_MM3 and is_piece_of_vessel(component):
            report(component, "review", "long and thin: a piece of a vessel, such as a graft, or an error")
        else:
            surplus.append(component)
    if count > structure.components and origins:
        report(main, "review", f"{plural(count, 'component')}; expected number: {structure.components}")
    return changes + _removed(labels, context, "components", structure, surplus)


def detached_segments(labels: Labels, context: RuleContext, rule: DetachedSegmentsRule) -> Result:
    """Remove components of thin vessels that are far from the heart, or short and without contact to the root.

    The number of components does not matter, because the segments of an interrupted vessel are true vessel. The largest
    component stays if all would be removed.

    Args:
        labels: (x, y, z) uint8; it is not changed.
        context: grid and anatomy.
        rule: parameters.

    Returns:
        The label map without the removed components, and the changes.
    """
    labels, changes = labels.copy(), []
    boxes = boxes_by_id(labels)
    spacing, voxel_mm3 = context.grid.spacing_mm, context.grid.voxel_mm3
    near = [i for i in (context.anatomy.by_name(n).id for n in rule.near) if i in boxes]
    root = context.anatomy.by_name(rule.root).id
    for structure in context.structures(rule.structures, "tube"):
        if structure.id not in boxes or not near:
            continue
        found = components_of(labels, structure.id, boxes[structure.id])
        detached = []
        for component in found:
            extent = [(s.stop - s.start) * step for s, step in zip(component.box, spacing, strict=True)]
            length_mm = float(np.linalg.norm(extent))
            is_rooted = touches(labels, component, [root], 2 * max(spacing), spacing)
            is_short = length_mm < rule.min_length_mm or component.voxels * voxel_mm3 < structure.min_mm3
            if (is_short and not is_rooted) or not touches(labels, component, near, rule.max_mm, spacing):
                detached.append(component)
        if len(detached) == len(found):
            detached.remove(found[0])
            note = f"short, or more than {rule.max_mm:g} mm from {', '.join(rule.near)}"
            box = found[0].box
            changes.append(context.change("detached_segments", structure.name, ORIGINAL_KEPT, box, 0, "warning", note))
        changes += _removed(labels, context, "detached_segments", structure, detached)
    return labels, changes


def field_of_view(labels: Labels, context: RuleContext, rule: FieldOfViewRule) -> Result:
    """Report the structures that reach the border of the volume, where nothing is completed.

    Args:
        labels: (x, y, z) uint8.
        context: grid and anatomy.
        rule: parameters.

    Returns:
        The same label map, and one remark for each structure.
    """
    changes = []
    for id, box in boxes_by_id(labels).items():
        structure = context.anatomy.by_id(id)
        if not rule.structures or structure.name in rule.structures:
            voxels_of_structure = Component(labels[box] == id, box, 0)
            if voxels_of_structure.at_border(labels.shape):
                changes.append(context.change("field_of_view", structure.name, "cut off", box, 0, "info"))
    return labels, changes


def _removed(
    labels: Labels, context: RuleContext, rule: str, structure: Structure, surplus: list[Component]
) -> list[Change]:
    """Remove components in place and list them."""
    changes = []
    for component in surplus:
        relabel_by_nearest(labels, component, context.grid.spacing_mm, (structure.id, *context.tube_ids))
        changes.append(context.change(rule, structure.name, "removed", component.box, component.voxels))
    return changes
