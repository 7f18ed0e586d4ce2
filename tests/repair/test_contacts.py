"""Contacts without an edge in the CT: two balls that overlap, whose border is displaced from the waist between them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import DistanceMap, signed_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.metrics.overlap import dice
from heartmend.models.template import TemplateShape
from heartmend.repair.contacts import (
    RULE,
    CohortTemplate,
    contact_voxels,
    exchange_blood,
    place_contacts,
    shape_by_part,
)
from heartmend.types import Labels

HEART = load_anatomy("heart").without_absent(())
LA, LV, MYOCARDIUM = (HEART.by_name(name).id for name in ("LA", "LV", "Myocardium"))
SIDE = 64
MM = (1.0, 1.0, 1.0)
ROI = Roi(Grid((SIDE,) * 3, np.eye(4)), (0, 0, 0), (SIDE,) * 3)
WAIST = 37


def heart(border: int = WAIST) -> Labels:
    """An atrium above a border and a ventricle below it, which is larger; the waist between them is at `WAIST`."""
    x, y, z = np.indices((SIDE,) * 3)
    across = (x - 31.5) ** 2 + (y - 31.5) ** 2
    blood = (across + (z - 25) ** 2 < 17**2) | (across + (z - 44) ** 2 < 13**2)
    return np.where(blood, np.where(z >= border, LA, LV), 0).astype(np.uint8)


def ct(labels: Labels, atrium: float = 350.0, ventricle: float = 350.0) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 20, labels.shape)
    return np.where(labels == LA, atrium, np.where(labels == LV, ventricle, -80.0)) + noise


@pytest.fixture(scope="module")
def template() -> CohortTemplate:
    shape = TemplateShape(("LA", "LV"), side=SIDE, controls=12)
    distances = [signed_distance_mm(heart() == id, MM) for id in (LA, LV)]
    with torch.no_grad():
        shape.table.copy_(torch.from_numpy(np.stack(distances, axis=-1).reshape(shape.table.shape)))
    return CohortTemplate(shape, (float(SIDE),) * 3)


def test_a_displaced_contact_moves_to_the_waist(template: CohortTemplate) -> None:
    labels, truth = heart(WAIST - 3), heart()
    maps = {name: DistanceMap.of_mask(labels == id, MM) for name, id in (("LA", LA), ("LV", LV))}
    after = place_contacts(labels, maps, ct(truth), template, ROI, HEART, ("LA", "LV"))
    assert dice(labels == LA, truth == LA) < 0.92
    assert dice(after.labels == LA, truth == LA) > 0.97
    assert np.array_equal(after.labels > 0, labels > 0)
    assert [(one.rule, one.structure, one.action) for one in after.changes] == [(RULE, "LA", "moved to LV")]
    assert after.changes[0].voxels == np.count_nonzero(after.labels != labels)
    assert dice(after.maps["LA"].inside, after.labels == LA) > 0.98


def test_a_shape_is_fitted_only_to_enough_of_its_surface(template: CohortTemplate) -> None:
    nowhere = np.zeros((SIDE,) * 3, bool)
    nowhere[:, :, 60:] = True
    assert shape_by_part(heart(), nowhere, template, ROI, HEART)[1] == ()


def test_structures_that_may_not_change_do_not(template: CohortTemplate) -> None:
    labels = heart(WAIST - 6)
    after = place_contacts(labels, {}, ct(labels), template, ROI, HEART, ("LA",))
    assert after.labels is labels and not after.changes and not after.maps


def test_a_template_that_does_not_fit_moves_nothing(template: CohortTemplate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heartmend.repair.contacts.shape_by_part", lambda labels, *_: (labels, ("LA",)))
    labels = heart(WAIST - 6)
    after = place_contacts(labels, {}, ct(labels), template, ROI, HEART, ("LA", "LV"))
    assert after.labels is labels
    assert [(one.rule, one.action, one.severity) for one in after.changes] == [(RULE, "not moved", "review")]


def test_where_the_structures_are_equally_bright_the_other_map_decides() -> None:
    labels, wanted = heart(WAIST - 6), heart()
    assert np.array_equal(exchange_blood(labels, wanted, ct(labels), (LA, LV), MM), wanted)


def test_where_they_differ_the_image_has_to_agree() -> None:
    labels, wanted = heart(WAIST - 6), heart()
    against = exchange_blood(labels, wanted, ct(labels, 350, 200), (LA, LV), MM)
    assert np.array_equal(against, labels)
    agreeing = exchange_blood(labels, wanted, ct(wanted, 350, 200), (LA, LV), MM)
    assert np.mean(agreeing[labels != wanted] == wanted[labels != wanted]) > 0.99


def test_a_voxel_is_no_difference() -> None:
    labels = heart()
    assert np.array_equal(exchange_blood(labels, heart(WAIST - 1), ct(labels), (LA, LV), MM), labels)


def test_walls_and_background_do_not_change() -> None:
    labels, wanted = heart(), heart(WAIST - 6)
    wanted[:, :, :20] = MYOCARDIUM
    wanted[:, :, 50:] = 0
    result = exchange_blood(labels, wanted, ct(labels), (LA, LV), MM)
    assert np.array_equal(result > 0, labels > 0) and not (result == MYOCARDIUM).any()


def test_contacts_are_the_voxels_on_both_sides() -> None:
    found = contact_voxels(heart(), (LA, LV))
    assert set(np.nonzero(found)[2]) == {WAIST - 1, WAIST}
    assert not contact_voxels(heart(), (LA,)).any()
