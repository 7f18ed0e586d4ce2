"""A heart asked on any grid: its own, a turned one, an oblique one, one that reaches beyond it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from heartmend.geometry.distance import CLIP_MM
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.models.heart_model import Heart, fields_on, labels_on
from support.grids import grids
from support.models import CENTRES_MM, RADIUS_MM, SIZE_MM, two_balls

MODEL = two_balls(spread=0.0)


def in_the_balls(grid: Grid) -> np.ndarray:
    """The labels by hand: two balls in mm, within the frame."""
    at = grid.index_to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for id, name in ((5, "RV"), (3, "LV")):
        labels[np.linalg.norm(at - np.array(CENTRES_MM[name]), axis=-1) < RADIUS_MM] = id
    labels[(np.abs(at) > SIZE_MM / 2).any(axis=-1)] = 0
    return labels


def differ(a: np.ndarray, b: np.ndarray) -> float:
    return float((a != b).sum() / max(int((b > 0).sum()), 1))


@pytest.mark.parametrize("resolution", [20, 64, 101])
def test_the_balls_at_any_resolution(resolution: int) -> None:
    heart = MODEL.heart("a")
    grid = heart.frame.grid_at(resolution)
    assert differ(labels_on(MODEL, heart, grid), in_the_balls(grid)) < 0.03


@settings(max_examples=15, deadline=None)
@given(grids(min_size=8, max_size=14))
def test_on_any_grid_of_any_orientation(grid: Grid) -> None:
    """Flipped, permuted, oblique: moved so that its middle is the frame's, and as coarse as 4 mm."""
    steps = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0) * 4.0
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = -steps @ (np.array(grid.shape) - 1) / 2
    placed = Grid(grid.shape, affine)
    wanted = in_the_balls(placed)
    found = labels_on(MODEL, MODEL.heart("a"), placed)
    assert (found != wanted).sum() <= 0.06 * max((wanted > 0).sum(), 40)


def test_beyond_the_frame_there_is_nothing() -> None:
    wide = Grid((50, 40, 40), np.array([[4.0, 0, 0, -100], [0, 4, 0, -80], [0, 0, 4, -80], [0, 0, 0, 1]]))
    heart = MODEL.heart("a")
    assert differ(labels_on(MODEL, heart, wide), in_the_balls(wide)) < 0.08
    fields = fields_on(MODEL, heart, wide)
    assert (fields["LV"][0] == -CLIP_MM).all()
    away = Grid((8, 8, 8), np.array([[1.0, 0, 0, 500], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    assert not labels_on(MODEL, heart, away).any()


def test_slab_by_slab_is_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = two_balls()
    heart = model.heart("b")
    grid = heart.frame.grid_at((40, 31, 29))
    whole = labels_on(model, heart, grid)
    monkeypatch.setattr("heartmend.models.heart_model.SLAB_VOXELS", 9 * 31 * 29)
    assert (labels_on(model, heart, grid) == whole).all()
    fields = fields_on(model, heart, grid)
    assert ((fields["LV"] >= 0) == (whole == 3)).all()


def test_an_absent_structure_stays_absent() -> None:
    model = replace(MODEL, absent={"a": ("RV",)})
    grid = MODEL.frames["a"].grid
    assert set(np.unique(labels_on(model, model.heart("a"), grid))) == {0, 3}
    assert set(np.unique(labels_on(model, model.heart("b"), grid))) == {0, 3, 5}


def test_a_heart_lies_where_its_frame_lies() -> None:
    moved = np.diag([2.0, 2.0, 2.0, 1.0])
    moved[:3, 3] = (100, 0, -40)
    roi = Roi(Grid((32, 32, 32), moved), (0, 0, 0), (32, 32, 32))
    heart = Heart(MODEL.heart("a").code, roi)
    labels = labels_on(MODEL, heart, roi.grid)
    middle = roi.grid.index_to_world(np.argwhere(labels == 3).mean(axis=0))
    # The frame's middle lies at the faces' middle, half a voxel before the middle of voxels 0 to 31.
    assert middle == pytest.approx(np.array([131, 31, -9]) + CENTRES_MM["LV"], abs=0.5)
    assert torch.is_tensor(heart.code["affine"])
