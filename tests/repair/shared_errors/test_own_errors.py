"""Surfaces of one case that are beside the edges of its CT over centimetres, on balls with known edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes, gaussian_filter

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.metrics.overlap import dice
from heartmend.repair.shared_errors.case import CorrectedCase
from heartmend.repair.shared_errors.estimate import PatchError
from heartmend.repair.shared_errors.own_errors import RULE, _with_own_error, correct_own_errors

HEART = load_anatomy("heart").without_absent(())
SHAPE = (72, 72, 72)
MM = (1.0, 1.0, 1.0)
AT = np.moveaxis(np.indices(SHAPE), 0, -1) - 36.0
RADIUS, WALL = 17.0, 26.0


def ball(radius: np.ndarray | float) -> np.ndarray:
    return np.linalg.norm(AT, axis=-1) < radius


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """Blood in a wall in fat, blurred and with noise."""
    hu = np.full(SHAPE, -80.0)
    hu[ball(WALL)] = 110
    hu[ball(RADIUS)] = 350
    noise = np.random.default_rng(0).normal(0, 25, SHAPE)
    return (gaussian_filter(hu, 0.9) + noise).astype(np.float32)


def maps(cavity: np.ndarray, wall: np.ndarray) -> dict[str, DistanceMap]:
    return {"Myocardium": DistanceMap.of_mask(wall & ~cavity, MM), "LV": DistanceMap.of_mask(cavity, MM)}


def corrected(found: dict[str, DistanceMap], image: np.ndarray) -> CorrectedCase:
    grid = Grid(SHAPE, np.diag([1.0, 1, 1, 1]))
    roi = Roi(grid, (0, 0, 0), SHAPE)
    return correct_own_errors(found, image, roi, HEART, tuple(found))


def test_surfaces_that_are_right_stay_the_same_objects(image: np.ndarray) -> None:
    before = maps(ball(RADIUS), ball(WALL))
    after = corrected(before, image)
    assert all(after.maps[name] is before[name] for name in before) and not after.changes


def test_smooth_errors_of_a_millimetre_and_more_are_corrected(image: np.ndarray) -> None:
    direction = AT[..., 0] / np.maximum(np.linalg.norm(AT, axis=-1), 1)
    # The cavity is 1.5 mm too wide on one side and 0.5 mm too thin on the other, the wall 1.5 mm too thick everywhere.
    before = maps(ball(RADIUS + 0.5 + direction), ball(WALL + 1.5))
    after = corrected(before, image)
    assert dice(before["LV"].inside, ball(RADIUS)) < 0.95
    assert dice(after.maps["LV"].inside, ball(RADIUS)) > 0.965
    # Between the two there may be a crack of a voxel, which their fusion closes.
    outer = binary_fill_holes(after.maps["Myocardium"].inside | after.maps["LV"].inside)
    assert np.cbrt(outer.sum() * 3 / (4 * np.pi)) == pytest.approx(WALL, abs=0.35)
    assert {(change.rule, change.structure) for change in after.changes} == {(RULE, "LV"), (RULE, "Myocardium")}


@pytest.mark.parametrize(("n_displaced", "n_moved"), [(3, 0), (4, 4), (9, 9)])
def test_a_few_structures_beside_their_edges_do_not_move(n_displaced: int, n_moved: int) -> None:
    names = {id: f"structure {id}" for id in range(1, 10)}
    errors = [
        PatchError(id, 0, 0, False, 1, 9.0, (0.0, 0.0, 0.0), "measured", 0.5 if id <= n_displaced else 0.1)
        for id in names
    ]
    assert len(_with_own_error(errors, names)) == n_moved


@pytest.mark.parametrize("voxels", [4, 30])
def test_an_image_that_is_displaced_moves_nothing(image: np.ndarray, voxels: int) -> None:
    before = maps(ball(RADIUS), ball(WALL))
    after = corrected(before, np.roll(image, voxels, axis=0))
    assert all(after.maps[name] is before[name] for name in before)


def test_a_flat_image_moves_nothing() -> None:
    before = maps(ball(RADIUS + 1.5), ball(WALL))
    after = corrected(before, np.full(SHAPE, 50, np.float32))
    assert all(after.maps[name] is before[name] for name in before) and not after.changes
