"""Placement of a template in a whole label map: a heart of three balls whose names are confused, or mirrored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heartmend.metrics.overlap import dice
from heartmend.models.splines import bending_energy
from heartmend.models.template import TemplateShape
from heartmend.repair.placed_shape import labels_of
from heartmend.training.image_placement import turned_starts
from heartmend.training.label_placement import place_in_labels
from heartmend.types import Labels
from support.ball_heart import HEADS, ROI, SIDE, heart

pytestmark = pytest.mark.usefixtures("few_image_points")


def confused(truth: Labels) -> Labels:
    """The upper half of the ventricle is called muscle, the middle of the atrium ventricle."""
    labels = truth.copy()
    z = np.indices(truth.shape)[2]
    middle = (truth == 3) & (z > np.median(z[truth == 3]))
    labels[middle] = 1
    labels[(truth == 2) & (np.abs(z - np.median(z[truth == 2])) < 4)] = 3
    return labels


def test_what_is_called_by_another_name_comes_right(template: TemplateShape) -> None:
    truth = heart((3, -2, 2))
    labels = confused(truth)
    assert all(dice(labels == id, truth == id) < 0.75 for id in HEADS.values())
    found = place_in_labels(template, labels, ROI, HEADS, [template.new_codes(1)])
    placed = labels_of(template, found.code, ROI, HEADS)
    for name, id in HEADS.items():
        assert dice(placed == id, truth == id) > 0.9, name
    # The ball of muscle stays one ball: no deformation of a heart makes two of it.
    assert float(bending_energy(found.code["field"])) < 2


def test_a_mirrored_label_map_has_its_pose_from_the_best_start(template: TemplateShape) -> None:
    truth = np.ascontiguousarray(heart()[::-1])
    starts = turned_starts(template.new_codes(1)["affine"])
    found = place_in_labels(template, truth, ROI, HEADS, starts)
    placed = labels_of(template, found.code, ROI, HEADS)
    assert all(dice(placed == id, truth == id) > 0.9 for id in HEADS.values())
    assert float(torch.linalg.det(found.code["affine"][0, :, :3])) < 0


def test_a_structure_that_the_label_map_lacks_takes_no_part(template: TemplateShape) -> None:
    truth = heart((2, 0, 0))
    labels = np.where(truth == 2, 0, truth).astype(np.uint8)
    present = {name: id for name, id in HEADS.items() if id != 2}
    found = place_in_labels(template, labels, ROI, present, [template.new_codes(1)])
    placed = labels_of(template, found.code, ROI, present)
    assert placed.shape == (SIDE,) * 3 and not (placed == 2).any()
    assert all(dice(placed == id, labels == id) > 0.93 for id in present.values())
