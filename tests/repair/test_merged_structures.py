"""An appendage that is part of its atrium is kept so and named; an absent one is only absent."""

from __future__ import annotations

import numpy as np

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import signed_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.geometry.local_field import LocalField
from heartmend.repair.merged_structures import RULE, merge_structures

ANATOMY = load_anatomy("heart").without_absent(())
MM = (1.0, 1.0, 1.0)
GRID = Grid((40, 24, 24), np.diag([1.0, 1, 1, 1]))
LA, LAA = 2, 8


def heart() -> np.ndarray:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[4:20, 4:20, 4:20] = LA
    labels[20:30, 8:16, 8:16] = LAA
    return labels


def shapes(labels: np.ndarray) -> dict[str, LocalField]:
    """Fields of the shapes, each on a box of its own."""
    fields = {
        name: LocalField.of_whole(signed_distance_mm(labels == id, MM)) for name, id in (("LA", LA), ("LAA", LAA))
    }
    return {
        "LA": fields["LA"].cropped((slice(0, 24), slice(0, 24), slice(0, 24))),
        "LAA": fields["LAA"].cropped((slice(16, 34), slice(4, 20), slice(4, 20))),
    }


def test_an_appendage_in_the_atrium_is_part_of_its_shape() -> None:
    labels = np.where(heart() == LAA, LA, heart()).astype(np.uint8)
    found = merge_structures(labels, shapes(heart()), ANATOMY, GRID)
    assert found.hosts == {"LAA": "LA"}
    np.testing.assert_array_equal(found.shapes_mm["LA"].whole(-8.0) > 0, labels == LA)
    (change,) = found.changes
    assert (change.rule, change.structure, change.severity, change.voxels) == (RULE, "LAA", "info", 0)
    assert change.note == "LAA is part of the LA in this label map, and stays so"
    np.testing.assert_allclose(change.box_mm, ((20, 8, 8), (29, 15, 15)), atol=1)


def test_an_absent_appendage_is_part_of_nothing() -> None:
    fields = shapes(heart())
    for labels in (heart(), np.where(heart() == LAA, 0, heart()).astype(np.uint8)):
        found = merge_structures(labels, fields, ANATOMY, GRID)
        assert not found.hosts and not found.changes
        assert found.shapes_mm["LA"] is fields["LA"]


def test_half_of_the_shape_decides() -> None:
    labels = np.where(heart() == LAA, 0, heart()).astype(np.uint8)
    labels[20:24, 8:16, 8:16] = LA
    assert not merge_structures(labels, shapes(heart()), ANATOMY, GRID).hosts
    labels[20:26, 8:16, 8:16] = LA
    assert merge_structures(labels, shapes(heart()), ANATOMY, GRID).hosts
