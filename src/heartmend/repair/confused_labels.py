"""Label maps that have a heart whose structures are called by the names of others, and what replaces them.

A network that fails finds the heart, but not what is what. This separates its errors from rare anatomy: the sac of an
aneurysm, a graft or a large atrium are outside the shape of their structure, where no other one is, while the
structures of a failed label map are inside the shapes of others.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.masks import present_ids
from heartmend.geometry.roi import Roi
from heartmend.models.base import Codes
from heartmend.models.template import TemplateShape
from heartmend.repair.changes import Change, extent_of_change
from heartmend.repair.placed_shape import labels_of
from heartmend.training.image_placement import turned_starts
from heartmend.training.label_placement import place_in_labels
from heartmend.types import BACKGROUND, Labels, Mask

RULE = "confused_labels"
"""Name of this method in the change log."""
CONFUSED_BELOW, MIN_CONFUSED = 0.93, 2
"""A label map is confused if the names of so many structures agree less with the shape that was fitted to it.
(Measured: rare anatomy 0.90 and more, and below 0.93 in one structure at most; failed label maps 0.3 to 0.9 in
several.)"""
REPLACED_BELOW, WHOLE_SHARE = 0.9, 0.5
"""In such a label map, a structure is replaced if its name agrees less with the shape that was placed in it. From this
share of the structures on, the others are replaced too. Veins and appendages, which no template fits as well, are
replaced only then, and only if their own names disagree."""


def name_agreement(labels: Labels, shapes: Labels, heads: Mapping[str, int]) -> dict[str, float]:
    """Compute how far label map and shapes agree on the names of what both call a structure.

    Args:
        labels: (x, y, z) uint8, the label map.
        shapes: (x, y, z) uint8, the label map of the shapes.
        heads: id of each structure, by name.

    Returns:
        The Dice of each structure that both have, among the voxels that both give to some structure.

    Example:
        >>> labels = np.array([2, 2, 2, 3, 3, 3, 2, 0], np.uint8).reshape(8, 1, 1)
        >>> shapes = np.array([2, 2, 2, 3, 3, 3, 3, 3], np.uint8).reshape(8, 1, 1)
        >>> found = name_agreement(labels, shapes, {"LA": 2, "LV": 3, "RA": 4})
        >>> {name: round(dice, 3) for name, dice in found.items()}
        {'LA': 0.857, 'LV': 0.857}
    """
    ids = [*heads.values()]
    both = np.isin(labels, ids) & np.isin(shapes, ids)
    own, other = labels[both], shapes[both]
    agreed = np.bincount(own[own == other], minlength=256)
    total = np.bincount(own, minlength=256) + np.bincount(other, minlength=256)
    # A structure that one of the two lacks has no name to agree on.
    present = present_ids(shapes, present_ids(labels, heads))
    return {name: 2 * int(agreed[id]) / max(int(total[id]), 1) for name, id in present.items()}


def is_confused(agreement: Mapping[str, float], anatomy: Anatomy) -> bool:
    """Test whether the names of several structures disagree.

    Args:
        agreement: agreement of each structure, by name.
        anatomy: the structures. Those that grow out of another one (veins, appendages) do not count: no template fits
            them as well.

    Returns:
        Whether they do.
    """
    counted = [value for name, value in agreement.items() if not anatomy.by_name(name).must_touch]
    return sum(value < CONFUSED_BELOW for value in counted) >= MIN_CONFUSED


def is_confused_beside(
    shape: TemplateShape, code: Codes, labels: Labels, roi: Roi, heads: Mapping[str, int],
    anatomy: Anatomy,
) -> bool:  # fmt: skip
    """Test whether the names of several structures of a label map disagree with the shape that was fitted to it.

    Args:
        shape: the template.
        code: code of the case, by the surfaces of its structures.
        labels: (x, y, z) uint8 on the voxels of the ROI.
        roi: the region of interest.
        heads: id of each structure of the template, by name.
        anatomy: the structures.

    Returns:
        Whether they do.
    """
    present = present_ids(labels, heads)
    if len(present) < MIN_CONFUSED:
        return False
    return is_confused(name_agreement(labels, labels_of(shape, code, roi, present), present), anatomy)


def place_whole(
    shape: TemplateShape, labels: Labels, roi: Roi, heads: Mapping[str, int], usual_affine: torch.Tensor
) -> Codes:
    """Place the template in a label map as a whole.

    Args:
        shape: the template.
        labels: (x, y, z) uint8 on the voxels of the ROI.
        roi: the region of interest.
        heads: id of each structure of the template, by name.
        usual_affine: (1, 3, 4) affine map of a usual case, from which eight poses are tried.

    Returns:
        The code.
    """
    present = present_ids(labels, heads)
    return place_in_labels(shape, labels, roi, present, turned_starts(usual_affine)).code


def names_to_replace(labels: Labels, shapes: Mapping[str, Mask], anatomy: Anatomy) -> frozenset[str]:
    """Find the structures of a confused label map that the placed shape replaces.

    Args:
        labels: (x, y, z) uint8, the label map.
        shapes: (x, y, z) bool, the placed shape of each structure, by name.
        anatomy: the structures.

    Returns:
        Their names.
    """
    placed = np.full(labels.shape, BACKGROUND, np.uint8)
    ids = {name: anatomy.by_name(name).id for name in shapes}
    for name, mask in shapes.items():
        placed[mask] = ids[name]
    agreement = name_agreement(labels, placed, ids)
    confused = {name for name, value in agreement.items() if value < REPLACED_BELOW}
    growing = {name for name in agreement if anatomy.by_name(name).must_touch}
    if confused and len(confused) >= WHOLE_SHARE * len(agreement):
        return frozenset(confused | (agreement.keys() - growing))
    return frozenset(confused - growing)


def replaced_remark(name: str, label: Mask, after: DistanceMap, roi: Roi) -> Change | None:
    """Describe a structure that was replaced.

    Args:
        name: name of the structure.
        label: (x, y, z) bool on the voxels of the ROI, its label.
        after: the shape that replaces it.
        roi: the region of interest.

    Returns:
        The entry of the change log; None where nothing changes.
    """
    extent = extent_of_change(label != after.inside, roi.source_box(), roi.grid)
    if extent is None:
        return None
    note = "structures are called by the names of others; by the shape that the whole label map places"
    return Change(RULE, name, "replaced", *extent, "review", note)
