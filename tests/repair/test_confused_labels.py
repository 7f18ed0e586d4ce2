"""Confused label maps: agreement of names by hand, and what replaces them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import DistanceMap
from heartmend.models.template import TemplateShape
from heartmend.repair.changes import replaced_structures
from heartmend.repair.confused_labels import (
    RULE,
    is_confused,
    is_confused_beside,
    name_agreement,
    names_to_replace,
    place_whole,
    replaced_remark,
)
from heartmend.types import Labels
from support.ball_heart import HEADS, MM, ROI, ball_template, heart

HEART = load_anatomy("heart").without_absent(())


def row(*ids: int) -> Labels:
    return np.array(ids, np.uint8).reshape(-1, 1, 1)


def test_only_what_both_call_a_structure_counts() -> None:
    heads = {"LA": 2, "LV": 3}
    # A graft of the LA where the shape has nothing, and a shape of the LV where the label has nothing.
    assert name_agreement(row(2, 2, 2, 2, 3, 0), row(2, 2, 0, 0, 3, 3), heads) == {"LA": 1.0, "LV": 1.0}
    # Half of the ventricle is called atrium: 2·2 / (2 + 4) and 2·2 / (4 + 2).
    found = name_agreement(row(2, 2, 2, 2, 3, 3), row(2, 2, 3, 3, 3, 3), heads)
    assert found == pytest.approx({"LA": 2 / 3, "LV": 2 / 3})
    # A structure that one of them lacks is not confused; one that is elsewhere altogether is.
    assert name_agreement(row(2, 2, 0), row(2, 2, 3), heads) == {"LA": 1.0}
    assert name_agreement(row(2, 2, 3), row(2, 2, 0), heads) == {"LA": 1.0}
    assert name_agreement(row(2, 2, 0, 3), row(2, 2, 3, 0), heads) == {"LA": 1.0, "LV": 0.0}


@pytest.mark.parametrize(
    ("agreement", "expected"),
    [({"LA": 0.92, "LV": 0.92}, True), ({"LA": 0.5, "LV": 0.93}, False), ({}, False), ({"LA": 0.0}, False)],
)
def test_a_label_map_is_confused_if_several_names_disagree(agreement: dict[str, float], expected: bool) -> None:
    assert is_confused(agreement, HEART) is expected
    # Veins and appendages do not count.
    assert is_confused({**agreement, "LAA": 0.1, "PV": 0.1}, HEART) is expected


def test_the_structures_whose_names_disagree_are_replaced() -> None:
    ids = {name: HEART.by_name(name).id for name in ("LA", "LV", "RA", "RV", "Myocardium", "LAA")}
    shapes = row(2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 1, 1, 8, 8)

    def replaced(labels: Labels) -> frozenset[str]:
        return names_to_replace(labels, {name: shapes == id for name, id in ids.items()}, HEART)

    assert replaced(shapes) == frozenset()
    two = row(2, 2, 2, 2, 3, 3, 4, 4, 5, 5, 1, 1, 8, 8)
    assert replaced(two) == {"LA", "LV"}
    # Half of them are confused: the others are replaced with them, but not the appendage, which is called by its name.
    half = row(2, 2, 2, 2, 3, 3, 5, 4, 5, 5, 1, 1, 8, 8)
    assert replaced(half) == {"LA", "LV", "RA", "RV", "Myocardium"}
    # An appendage that is called by another name is replaced only with the whole.
    assert replaced(row(2, 2, 2, 2, 3, 3, 5, 4, 5, 5, 1, 1, 8, 2)) == {*ids}
    assert replaced(row(2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 1, 1, 8, 2)) == {"LA"}


def test_the_remark_names_what_changed() -> None:
    label = heart() == 3
    moved = DistanceMap.of_mask(heart((2, 0, 0)) == 3, MM)
    change = replaced_remark("LV", label, moved, ROI)
    assert change is not None
    assert (change.rule, change.structure, change.action, change.severity) == (RULE, "LV", "replaced", "review")
    assert change.voxels == np.count_nonzero(label != moved.inside)
    assert replaced_structures((change,), RULE) == {"LV"}
    assert replaced_remark("LV", label, DistanceMap.of_mask(label, MM), ROI) is None


@pytest.fixture(scope="module")
def template() -> TemplateShape:
    return ball_template()


def test_only_confused_label_maps_are_placed_anew(template: TemplateShape, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heartmend.training.image_placement.POINTS", 500)
    code = template.new_codes(1)
    usual = code["affine"].clone()

    def confused(labels: Labels) -> bool:
        return is_confused_beside(template, code, labels, ROI, HEADS, HEART)

    assert not confused(heart())
    assert not confused(np.zeros_like(heart()))
    upside_down = np.ascontiguousarray(heart()[:, :, ::-1])
    assert confused(upside_down)
    found = place_whole(template, upside_down, ROI, HEADS, usual)
    assert float(torch.linalg.det(found["affine"][0, :, :3])) < 0
