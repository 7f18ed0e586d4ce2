"""Structures of a bad label map, replaced by the template that is placed in the CT."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import DistanceMap, signed_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.metrics.overlap import dice
from heartmend.models.template import TemplateShape
from heartmend.repair.placed_shape import (
    MAX_ERROR_MM,
    RULE,
    CaseTemplate,
    PlacedCase,
    _is_unusual_only,
    distances_mm,
    is_better_than_most,
    is_worse_than_most,
    replace_by_placed,
)
from heartmend.repair.shared_errors.estimate import Evidence, PatchError
from heartmend.types import Labels

HEART = load_anatomy("heart").without_absent(())
IDS = {name: HEART.by_name(name).id for name in ("Myocardium", "LA", "LV")}
SIDE = 64
MM = (1.0, 1.0, 1.0)
ROI = Roi(Grid((SIDE,) * 3, np.eye(4)), (0, 0, 0), (SIDE,) * 3)


def heart(shift: tuple[int, int, int] = (0, 0, 0)) -> Labels:
    """An atrium above a larger ventricle, and a wall about the ventricle."""
    x, y, z = (axis - step for axis, step in zip(np.indices((SIDE,) * 3), shift, strict=True))
    across = (x - 31.5) ** 2 + (y - 31.5) ** 2
    labels = np.zeros((SIDE,) * 3, np.uint8)
    labels[across + (z - 24) ** 2 < 18**2] = IDS["Myocardium"]
    labels[across + (z - 26) ** 2 < 13**2] = IDS["LV"]
    labels[across + (z - 46) ** 2 < 10**2] = IDS["LA"]
    return labels


def ct(labels: Labels) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 20, labels.shape)
    return np.array([-80.0, 110.0, 350.0, 350.0])[labels] + noise


def maps_of(labels: Labels) -> dict[str, DistanceMap]:
    return {name: DistanceMap.of_mask(labels == id, MM) for name, id in IDS.items()}


@pytest.fixture(autouse=True)
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heart of three balls needs fewer points than one of nine structures."""
    monkeypatch.setattr("heartmend.training.image_placement.POINTS", 1000)


@pytest.fixture(scope="module")
def template() -> CaseTemplate:
    shape = TemplateShape(tuple(IDS), side=SIDE, controls=12)
    distances = [signed_distance_mm(heart() == id, MM) for id in IDS.values()]
    with torch.no_grad():
        shape.table.copy_(torch.from_numpy(np.stack(distances, axis=-1).reshape(shape.table.shape)))
    return CaseTemplate(shape, shape.new_codes(1), frozenset(IDS))


def replaced(template: CaseTemplate, labels: Labels, truth: Labels, names: tuple[str, ...] = tuple(IDS)) -> PlacedCase:
    maps = maps_of(labels)
    return replace_by_placed(maps, ct(truth), template, ROI, HEART, names, maps)


def test_a_label_map_that_is_millimetres_off_is_replaced(template: CaseTemplate) -> None:
    labels, truth = heart((3, -3, 2)), heart()
    found = replaced(template, labels, truth)
    assert found.replaced == {*IDS}
    for name, id in IDS.items():
        assert dice(labels == id, truth == id) < 0.85
        assert dice(found.maps[name].inside, truth == id) > 0.93, name
    assert {(one.rule, one.action, one.severity) for one in found.changes} == {(RULE, "replaced", "review")}
    by_name = {one.structure: one.voxels for one in found.changes}
    assert by_name["LV"] == np.count_nonzero((labels == IDS["LV"]) != found.maps["LV"].inside)


def test_unusual_anatomy_stays_where_the_label_is_like_the_placed_shape_but_for_it(template: CaseTemplate) -> None:
    labels = heart((2, 0, 0))
    # A part of the LV at its upper end.
    unusual = replace(template, unusual={"LV": [((28, 28, 36), (36, 36, 40))]})
    assert replaced(template, labels, heart()).replaced == {*IDS}
    assert replaced(unusual, labels, heart()).replaced == {"Myocardium", "LA"}
    # A label that is elsewhere is wrong, and not unusual.
    assert replaced(unusual, heart((4, -4, 0)), heart()).replaced >= {"LV"}


def test_a_shape_that_is_farther_from_the_edges_replaces_nothing(
    template: CaseTemplate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heartmend.repair.placed_shape.placed_labels", lambda *_: heart((5, -5, 4)))
    labels = heart()
    maps = maps_of(labels)
    found = replace_by_placed(maps, ct(labels), template, ROI, HEART, tuple(IDS), maps)
    assert not found.changes and not found.replaced
    assert all(found.maps[name] is maps[name] for name in maps)


def test_a_structure_that_may_not_change_does_not(template: CaseTemplate) -> None:
    found = replaced(template, heart((3, -3, 2)), heart(), ("LV",))
    assert found.replaced == {"LV"}


def test_a_structure_that_the_case_lacks_is_not_added(template: CaseTemplate) -> None:
    labels = heart((3, -3, 2))
    labels[labels == IDS["LA"]] = 0
    found = replaced(template, labels, heart())
    assert "LA" not in found.replaced and not found.maps["LA"].inside.any()


def test_unusual_parts_are_left_out_of_the_comparison() -> None:
    placed = heart() == IDS["LV"]
    sac = placed.copy()
    sac[44:60, 24:40, 18:34] = True
    box = [((44, 24, 18), (59, 39, 33))]
    assert dice(sac, placed) < 0.88
    assert _is_unusual_only(sac, placed, box, ROI)
    # The rest of the label is beside the shape too, so it is an error.
    assert not _is_unusual_only(np.roll(sac, 4, axis=2), placed, [((44, 24, 22), (59, 39, 37))], ROI)
    assert not _is_unusual_only(sac, placed, [], ROI)
    # Where the boxes contain most of a structure, there is nothing to compare.
    assert _is_unusual_only(np.roll(sac, 9, axis=0), placed, [((10, 10, 10), (60, 60, 60))], ROI)


def patch(
    structure: int, neighbour: int, evidence: Evidence, mean_mm: float = 0.0, *, touches: bool = False
) -> PatchError:
    return PatchError(structure, 0, neighbour, touches, 1, 9.0, (0.0, 0.0, 0.0), evidence, mean_mm)


def test_distances_are_means_over_the_patches_that_could_have_an_edge() -> None:
    errors = [
        patch(3, 0, "measured", -0.5), patch(3, 0, "measured", 1.5), patch(3, 0, "none"),
        # Between two chambers there is nothing to measure; between a chamber and its wall there is.
        patch(3, 2, "none", touches=True), patch(3, 1, "none", touches=True), patch(2, 3, "unclear", 5.0, touches=True),
    ]  # fmt: skip
    assert distances_mm(errors, HEART) == pytest.approx({3: (0.5 + 1.5 + 2 * MAX_ERROR_MM) / 4, 2: MAX_ERROR_MM})
    assert distances_mm([], HEART) == {}


def test_label_maps_are_compared_with_the_median_of_their_data_set() -> None:
    shares = {"a": 0.8, "b": 0.65, "c": 0.65, "d": 0.5}
    assert [id for id in shares if is_better_than_most(id, shares)] == ["a"]
    assert [id for id in shares if is_worse_than_most(id, shares)] == ["d"]
    assert not is_worse_than_most("not measured", shares)
