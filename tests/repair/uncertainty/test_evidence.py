"""Tests of the evidence about single voxels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import DistanceMap
from heartmend.repair.uncertainty.evidence import (
    REACH_MM,
    Evidence,
    RepairedRoi,
    measure_evidence,
    measure_voxel_evidence,
    other_labels,
)

HEART = load_anatomy("heart")
LV, LA = 3, 2
FACES = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))


def two_chambers() -> np.ndarray:
    """LV for x < 10, LA for x >= 10, both inside a box with background about it."""
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[3:10, 3:17, 3:17], labels[10:17, 3:17, 3:17] = LV, LA
    return labels


def roi(repaired: np.ndarray, original: np.ndarray | None = None, **more: object) -> RepairedRoi:
    before = repaired if original is None else original
    shapes = {HEART.by_id(i).name: DistanceMap.of_mask(repaired == i, (1, 1, 1)) for i in (LV, LA)}
    return RepairedRoi(before, before, repaired, shapes, shapes, (1.0, 1.0, 1.0), **more)  # type: ignore[arg-type]


def at(evidence: Evidence, *place: int) -> int:
    (found,) = np.flatnonzero(evidence.voxels == np.ravel_multi_index(place, (20, 20, 20)))
    return int(found)


def test_depth_and_the_other_side_by_hand() -> None:
    evidence = measure_evidence(roi(two_chambers()), HEART)
    expected = {(9, 10, 10): (0.5, LV, LA), (8, 10, 10): (1.5, LV, LA), (10, 10, 10): (0.5, LA, LV),
                (3, 10, 10): (0.5, LV, 0), (2, 10, 10): (0.5, 0, LV), (0, 10, 10): (2.5, 0, LV)}  # fmt: skip
    for place, (depth, label, other) in expected.items():
        k = at(evidence, *place)
        assert (evidence.depth[k], evidence.label[k], evidence.other[k]) == (depth, label, other), place
    assert evidence.depth.max() <= REACH_MM
    assert not evidence.changed.any() and evidence.local_change.max() == 0


def test_shapes_that_agree_are_as_deep_as_the_label() -> None:
    evidence = measure_evidence(roi(two_chambers()), HEART)
    assert evidence.has_shape.all() and evidence.local_shape.max() == 0
    # Between the two: half the difference of +1.5 and -1.5; against the background: both signs of 0.5.
    assert evidence.shape[at(evidence, 8, 10, 10)] == pytest.approx(1.5, abs=0.1)
    assert evidence.shape[at(evidence, 3, 10, 10)] == pytest.approx(0.5, abs=0.1)
    assert evidence.shape[at(evidence, 2, 10, 10)] == pytest.approx(0.5, abs=0.1)


def test_a_layer_that_the_repair_removed_is_a_movement_of_its_thickness() -> None:
    repaired = two_chambers()
    original = repaired.copy()
    original[10:12, 3:17, 3:17] = LV
    evidence = measure_evidence(roi(repaired, original), HEART)
    k, far = at(evidence, 10, 10, 10), at(evidence, 2, 10, 10)
    original = measure_voxel_evidence(roi(repaired, original), evidence).original
    assert original[k] == -1.5 and original[at(evidence, 8, 10, 10)] == 3.5
    assert evidence.changed[k] and evidence.other[k] == LV
    # Two voxels of 1 mm; the neighbourhood of 4 mm contains other surfaces too, which did not move.
    assert 0.5 < evidence.local_change[k] < 2.1
    assert evidence.local_change[far] < evidence.local_change[k]


def test_the_background_about_the_heart_makes_no_difference() -> None:
    repaired = two_chambers()
    original = repaired.copy()
    original[10:12, 3:17, 3:17] = LV
    whole = roi(*(np.pad(labels, ((9, 4), (0, 12), (7, 7))) for labels in (repaired, original)))
    own, padded = (measure_voxel_evidence(c, measure_evidence(c, HEART)) for c in (roi(repaired, original), whole))
    places = np.stack(np.unravel_index(padded.voxels, whole.repaired.shape), axis=1) - (9, 0, 7)
    inner = ((places >= 0) & (places < 20)).all(axis=1)
    assert (np.ravel_multi_index(tuple(places[inner].T), (20, 20, 20)) == own.voxels).all()
    for name in ("depth", "label", "other", "changed", "original", "shape"):
        assert (getattr(padded, name)[inner] == getattr(own, name)).all(), name
    # Outside the first volume there is background, 3 to 4 mm from the heart.
    assert (padded.label[~inner] == 0).all() and (padded.depth[~inner] <= REACH_MM).all()


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, (5, 6, 7), elements=st.integers(0, 3)))
def test_the_other_label_is_that_of_a_voxel_nearby(labels: np.ndarray) -> None:
    """For voxels at a face of another label it is the label of one of the six neighbours."""
    found = other_labels(labels, np.arange(labels.size), 3).reshape(labels.shape)
    wide = np.pad(labels.astype(int), 1, constant_values=-1)
    for place in np.ndindex(labels.shape):
        x, y, z = (i + 1 for i in place)
        beside = {wide[x + a, y + b, z + c] for a, b, c in FACES} - {-1, labels[place]}
        if beside:
            assert found[place] in beside


def test_a_sharp_edge_of_the_ct_agrees_or_contradicts() -> None:
    """Blood in the LV, fat outside, with the edge where the label is; then a label that is too small."""
    random, labels = np.random.default_rng(0), np.zeros((40, 40, 40), np.uint8)
    labels[8:32, 8:32, 8:32] = LV
    image = np.where(labels == LV, 300.0, -80.0) + random.normal(0, 15, labels.shape)
    for shrink, sign in ((0, 1), (2, -1)):
        own = np.zeros_like(labels)
        own[8 + shrink : 32 - shrink, 8 + shrink : 32 - shrink, 8 + shrink : 32 - shrink] = LV
        maps = {"LV": DistanceMap.of_mask(labels == LV, (1, 1, 1))}
        evidence = measure_evidence(RepairedRoi(own, own, own, maps, maps, (1.0, 1.0, 1.0), image), HEART)
        outside = (evidence.label == 0) & (evidence.depth < 1) & (evidence.edge_precision > 0)
        assert outside.any() and np.sign(np.median(evidence.edge[outside])) == sign
