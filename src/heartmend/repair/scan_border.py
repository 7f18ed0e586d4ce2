"""A remark about a scan whose border is inside the array, such as an oblique scan that was padded with zeros."""

from __future__ import annotations

import numpy as np

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.boxes import boxes_by_id, nested_box
from heartmend.geometry.components import without_small_components
from heartmend.geometry.flat_border import find_flat_border
from heartmend.geometry.roi import Roi
from heartmend.repair.changes import Change, box_in_mm
from heartmend.types import Labels

RULE = "field_of_view"
"""Name in the change log: that of the rule that reports what the border of the array cuts off."""


def name_scan_border(labels: Labels, roi: Roi, anatomy: Anatomy) -> list[Change]:
    """Name the structures that end at a plane inside the array.

    It is found in a label map before its repair, which rounds what the plane has cut.

    Args:
        labels: (x, y, z) uint8, the label map on the voxels of the ROI.
        roi: the ROI.
        anatomy: the structures.

    Returns:
        A remark for each structure at the plane; none if there is no plane, or if it is a face of the array.
    """
    large = np.zeros_like(labels)
    boxes = boxes_by_id(labels)
    for id, box in boxes.items():
        if id in anatomy.ids and anatomy.by_id(id).kind != "tube":
            large[box][without_small_components(labels[box] == id)] = id
    border = find_flat_border(large, roi.grid.spacing_mm)
    if border is None:
        return []
    start = np.array([side.start for side in roi.source_box()])
    of_array = border.moved(start * np.array(roi.grid.spacing_mm))
    if of_array.at_border(roi.grid.shape, roi.grid.spacing_mm):
        return []
    note = f"along {'an oblique' if border.is_oblique else 'a'} plane inside the array, the border of the scan"
    return [
        Change(
            RULE, anatomy.by_id(id).name, "cut off", 0, 0.0,
            box_in_mm(nested_box(roi.source_box(), boxes[id]), roi.grid), "review", note,
        )
        for id in border.areas_mm2
    ]  # fmt: skip
