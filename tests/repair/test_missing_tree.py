"""One coronary tree, on a phantom heart with both and with one of them."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.centrelines.measurement import measure_tree
from heartmend.geometry.components import find_components
from heartmend.geometry.grid import Grid
from heartmend.phantom.cohort import PhantomSettings, make_case
from heartmend.phantom.plan import Label
from heartmend.repair.changes import Change
from heartmend.repair.missing_tree import name_missing_tree

HEART = load_anatomy("heart")


@pytest.fixture(scope="module")
def heart() -> tuple[np.ndarray, Grid]:
    made = make_case(0, 5, PhantomSettings(spacing_mm=1.4, vary_grid=False, images=False))
    return made.truth, Grid(made.truth.shape, made.affine)


def remarks(labels: np.ndarray, grid: Grid) -> list[Change]:
    tree = measure_tree(labels == Label.CORONARY, grid.spacing_mm)
    return name_missing_tree(tree, labels, HEART.by_name("Coronary"), HEART, grid)


def test_a_heart_with_both_trees_has_no_remark(heart: tuple[np.ndarray, Grid]) -> None:
    assert remarks(*heart) == []


@pytest.mark.parametrize("kept", [0, 1])
def test_the_tree_that_is_left_is_named(heart: tuple[np.ndarray, Grid], kept: int) -> None:
    labels, grid = heart
    trees = find_components(labels == Label.CORONARY)[:2]
    one = labels.copy()
    one[labels == Label.CORONARY] = 0
    one[trees[kept].box][trees[kept].mask] = Label.CORONARY
    (change,) = remarks(one, grid)
    assert (change.structure, change.severity) == ("Coronary", "review")
    assert change.note.startswith("one coronary tree, the ")
    # The left tree is on the side of the left atrium.
    at = [np.argwhere(part).mean(axis=0) for part in (one == Label.CORONARY, labels == Label.LA, labels == Label.RA)]
    is_left = np.linalg.norm(at[0] - at[1]) < np.linalg.norm(at[0] - at[2])
    assert ("the left one: " in change.note) == is_left


def test_without_the_chambers_the_sides_are_unknown(heart: tuple[np.ndarray, Grid]) -> None:
    labels, grid = heart
    assert remarks(np.where(labels == Label.CORONARY, labels, 0).astype(np.uint8), grid) == []
