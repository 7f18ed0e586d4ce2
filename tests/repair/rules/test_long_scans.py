"""The rules give the same result in a long scan as in a short one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.grid import Grid
from heartmend.repair.rules.apply import apply_rules
from support.hearts import ellipsoid

HEART = load_anatomy("heart")
LA, LV, AORTA = 2, 3, 6
BELOW, ABOVE = (9, 12, 300), (14, 8, 200)


def corrupted_labels() -> np.ndarray:
    """An LV with a hole, a patch of it in the LA, a missing slice, a shifted run, and a far small component."""
    shape = (48, 46, 60)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[ellipsoid(shape, (22, 22, 24), (12, 11, 16))] = LV
    labels[ellipsoid(shape, (24, 24, 44), (11, 10, 9)) & (labels == 0)] = LA
    labels[20:23, 20:23, 20:23] = 0
    labels[22:24, 24:26, 46:48] = LV
    labels[:, :, 30] = 0
    labels[:, :, 14:17] = np.roll(labels[:, :, 14:17], 4, axis=0)
    labels[40:42, 40:42, 14] = LV
    # More background than the rules read.
    return np.pad(labels, 10)


def padded(volume: np.ndarray, value: int = 0) -> np.ndarray:
    return np.pad(volume, list(zip(BELOW, ABOVE, strict=True)), constant_values=value)


def grids(shape: tuple[int, ...]) -> tuple[Grid, Grid]:
    """Grids of the short and of the long scan, with the same positions in mm."""
    affine = np.array([[-1.0, 0, 0, 50], [0, 1.0, 0, -20], [0, 0, 1.0, 7], [0, 0, 0, 1]])
    short = Grid(shape, affine)
    moved = affine.copy()
    moved[:3, 3] = short.index_to_world(-np.array(BELOW))
    return short, Grid(tuple(n + a + b for n, a, b in zip(shape, BELOW, ABOVE, strict=True)), moved)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_long_scan_is_repaired_as_a_short_one(order: str) -> None:
    labels = corrupted_labels()
    short, long = grids(labels.shape)
    expected, expected_changes = apply_rules(labels, short, HEART)
    scan = np.asarray(padded(labels), order=order)  # type: ignore[call-overload]
    original = scan.copy()
    found, changes = apply_rules(scan, long, HEART)
    assert np.array_equal(found, padded(expected)) and np.array_equal(scan, original)
    assert {change.rule for change in expected_changes} >= {"slices", "shifts", "swaps", "holes", "components"}
    assert [(c.rule, c.action, c.voxels, c.box_mm) for c in changes] == [
        (c.rule, c.action, c.voxels, c.box_mm) for c in expected_changes
    ]
    # Notes count the slices of the file.
    notes = [[c.note for c in listed if c.rule == "slices"] for listed in (expected_changes, changes)]
    assert notes == [["1 slices of axis 2 from 40"], ["1 slices of axis 2 from 340"]]


def test_evidence_is_outside_every_shape_beyond_its_box() -> None:
    labels = corrupted_labels()
    _, long = grids(labels.shape)
    steps = {s.name: np.where(labels == s.id, 40, -60).astype(np.int8) for s in HEART.structures}
    evidence = {name: DistanceMap(own) for name, own in steps.items()}
    box = tuple(slice(a, a + n) for a, n in zip(BELOW, labels.shape, strict=True))
    full = {name: DistanceMap(padded(own, -127)) for name, own in steps.items()}
    expected = apply_rules(padded(labels), long, HEART, full)
    found = apply_rules(padded(labels), long, HEART, evidence, evidence_box=(box[0], box[1], box[2]))
    assert np.array_equal(found[0], expected[0]) and found[1] == expected[1]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_the_bounding_box_is_the_smallest_box_with_all_voxels(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 6)] * 3))
    volume = np.zeros(shape, dtype=np.uint8, order=data.draw(st.sampled_from(["C", "F"])))
    at = data.draw(st.lists(st.tuples(*[st.integers(0, n - 1) for n in shape]), max_size=4))
    for index in at:
        volume[index] = 7
    box = bounding_box(volume)
    if not at:
        assert box is None
    else:
        low, high = np.min(at, axis=0), np.max(at, axis=0)
        assert box == tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
