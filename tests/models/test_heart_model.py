"""Evaluation of a heart on any grid: its own, a rotated one, an oblique one, a larger one; render and mesh."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from heartmend.errors import ConfigError
from heartmend.geometry.distance import CLIP_MM
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.models.heart_model import Heart, evaluate_distances, evaluate_labels
from support.grids import grids
from support.models import CENTRES_MM, RADIUS_MM, SIZE_MM, two_balls

MODEL = two_balls(spread=0.0)


def expected_labels(grid: Grid) -> np.ndarray:
    """Compute the expected labels: two balls in mm, within the frame."""
    at = grid.index_to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for id, name in ((5, "RV"), (3, "LV")):
        labels[np.linalg.norm(at - np.array(CENTRES_MM[name]), axis=-1) < RADIUS_MM] = id
    labels[(np.abs(at) > SIZE_MM / 2).any(axis=-1)] = 0
    return labels


def label_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float((a != b).sum() / max(int((b > 0).sum()), 1))


@pytest.mark.parametrize("resolution", [20, 64, 101])
def test_labels_at_any_resolution(resolution: int) -> None:
    heart = MODEL.heart("a")
    grid = heart.frame.grid_at(resolution)
    assert label_difference(evaluate_labels(MODEL, heart, grid), expected_labels(grid)) < 0.03


@settings(max_examples=15, deadline=None)
@given(grids(min_size=8, max_size=14))
def test_labels_on_a_grid_of_any_orientation(grid: Grid) -> None:
    """Flipped, permuted or oblique, with the centre of the frame and a spacing of 4 mm."""
    steps = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0) * 4.0
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = -steps @ (np.array(grid.shape) - 1) / 2
    placed = Grid(grid.shape, affine)
    wanted = expected_labels(placed)
    found = evaluate_labels(MODEL, MODEL.heart("a"), placed)
    assert (found != wanted).sum() <= 0.06 * max((wanted > 0).sum(), 40)


def test_outside_the_frame_is_background() -> None:
    wide = Grid((50, 40, 40), np.array([[4.0, 0, 0, -100], [0, 4, 0, -80], [0, 0, 4, -80], [0, 0, 0, 1]]))
    heart = MODEL.heart("a")
    assert label_difference(evaluate_labels(MODEL, heart, wide), expected_labels(wide)) < 0.08
    fields = evaluate_distances(MODEL, heart, wide)
    assert (fields["LV"][0] == -CLIP_MM).all()
    away = Grid((8, 8, 8), np.array([[1.0, 0, 0, 500], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    assert not evaluate_labels(MODEL, heart, away).any()


def test_evaluation_by_slabs_equals_evaluation_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = two_balls()
    heart = model.heart("b")
    grid = heart.frame.grid_at((40, 31, 29))
    expected = evaluate_labels(model, heart, grid)
    monkeypatch.setattr("heartmend.models.heart_model.SLAB_VOXELS", 9 * 31 * 29)
    assert (evaluate_labels(model, heart, grid) == expected).all()
    fields = evaluate_distances(model, heart, grid)
    assert ((fields["LV"] >= 0) == (expected == 3)).all()


def test_an_absent_structure_stays_absent() -> None:
    model = replace(MODEL, absent={"a": ("RV",)})
    grid = MODEL.frames["a"].grid
    assert set(np.unique(evaluate_labels(model, model.heart("a"), grid))) == {0, 3}
    assert set(np.unique(evaluate_labels(model, model.heart("b"), grid))) == {0, 3, 5}


def test_a_heart_is_at_the_position_of_its_frame() -> None:
    moved = np.diag([2.0, 2.0, 2.0, 1.0])
    moved[:3, 3] = (100, 0, -40)
    roi = Roi(Grid((32, 32, 32), moved), (0, 0, 0), (32, 32, 32))
    heart = Heart(MODEL.heart("a").code, roi)
    labels = evaluate_labels(MODEL, heart, roi.grid)
    middle = roi.grid.index_to_world(np.argwhere(labels == 3).mean(axis=0))
    # The centre of the frame is between its faces, half a voxel before the centre of voxels 0 to 31.
    assert middle == pytest.approx(np.array([131, 31, -9]) + CENTRES_MM["LV"], abs=0.5)
    assert torch.is_tensor(heart.code["affine"])


def test_a_case_is_rendered_on_its_own_grid_by_spacing_or_on_a_given_grid() -> None:
    original = MODEL.render("a")
    assert original.grid == MODEL.frames["a"].grid
    assert original.labels.dtype == np.uint8
    assert label_difference(original.labels, expected_labels(original.grid)) < 0.05
    fine = MODEL.render("a", spacing_mm=1.1)
    assert max(fine.grid.spacing_mm) <= 1.1
    assert label_difference(fine.labels, expected_labels(fine.grid)) < 0.03
    assert (MODEL.render("a", grid=fine.grid).labels == fine.labels).all()
    with pytest.raises(ConfigError, match="either a spacing or a grid"):
        MODEL.render("a", 1.0, fine.grid)
    with pytest.raises(ConfigError, match="spacing is 0 mm; it must be more than 0"):
        MODEL.render("a", 0)
    with pytest.raises(ConfigError, match=r"a spacing of 0\.001 mm .* give a larger spacing"):
        MODEL.render("a", 0.001)
    with pytest.raises(ConfigError, match="does not contain case 'z'"):
        MODEL.render("z")


@pytest.mark.parametrize("suffix", ["stl", "vtp", "ply"])
def test_a_surface_of_a_case_is_written_in_the_format_of_its_suffix(tmp_path: Path, suffix: str) -> None:
    surfaces = MODEL.mesh("a", spacing_mm=3.0, structures=["LV"])
    assert set(surfaces) == {"LV"}
    surface = surfaces["LV"]
    assert (surface.name, surface.id, surface.colour) == ("LV", 3, MODEL.anatomy.by_name("LV").colour)
    path = surface.save(tmp_path / f"lv.{suffix}")
    assert path.stat().st_size > 1000
    with pytest.raises(ConfigError, match=r"'\.obj' is not a mesh format; use \.stl, \.vtp or \.ply"):
        surface.save(str(tmp_path / "lv.obj"))
