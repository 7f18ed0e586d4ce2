"""Post-DAE: the cube around a heart, and the auto-encoder."""

from pathlib import Path

import numpy as np
import pytest
from heart_cube import (
    CLASSES,
    SIDE,
    cube_grid,
    from_cube,
    mean_places,
    samples_in_cube,
    shares_of,
    through_cube,
    usual_places,
)
from scipy.spatial.transform import Rotation

from heartmend.geometry.grid import Grid
from heartmend.metrics.overlap import dice

pytest.importorskip("monai")
post_dae = pytest.importorskip("post_dae")


def heart_cube_samples(labels: np.ndarray, grid: Grid, places: np.ndarray | None) -> np.ndarray:
    return samples_in_cube(labels, grid, cube_grid(labels, grid, 3.0, places))


def ball(grid: Grid, centre_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    points = grid.index_to_world(np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 3))
    near = np.linalg.norm(points - centre_mm, axis=1) < radius_mm
    return near.reshape(grid.shape).astype(np.uint8)


@pytest.mark.parametrize("degrees", [0, 30])
def test_a_ball_comes_back_to_its_place_on_its_own_grid(degrees: float) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix() @ np.diag([1.0, 1.0, 2.0])
    affine[:3, 3] = (-30, 10, 5)
    grid = Grid((60, 60, 30), affine)
    label = ball(grid, tuple(grid.index_to_world((32, 28, 14))), 17.0)
    assert dice(through_cube(label, grid, 3.0) == 1, label == 1) > 0.97


def test_the_cube_is_centred_on_the_labelled_voxels_whatever_lies_far_away() -> None:
    grid = Grid((50, 50, 50), np.eye(4))
    label = ball(grid, (20, 20, 20), 8)
    label[48, 48, 48] = 3
    cube = cube_grid(label, grid, 3.0)
    np.testing.assert_allclose(cube.index_to_world((31.5, 31.5, 31.5)), (20, 20, 20), atol=0.5)
    with pytest.raises(ValueError, match="without a labelled voxel"):
        cube_grid(np.zeros((4, 4, 4), np.uint8), Grid((4, 4, 4), np.eye(4)), 3.0)


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1), (1, 1, -1)])
def test_the_cube_is_turned_to_the_usual_pose(flips: tuple[int, int, int]) -> None:
    """A heart whose header has axes reversed comes to the same places: turned by half a turn, or mirrored."""
    centres = {1: (20, 24, 16), 3: (44, 20, 24), 5: (24, 44, 28), 8: (30, 30, 46)}
    labels = np.zeros((60, 60, 60), np.uint8)
    for id, centre in centres.items():
        labels |= ball(Grid(labels.shape, np.eye(4)), centre, 7) * np.uint8(id)
    straight = Grid(labels.shape, np.eye(4))
    usual = usual_places([heart_cube_samples(labels, straight, None)], 3.0)
    other = Grid(labels.shape, np.diag([*flips, 1.0]))
    np.testing.assert_allclose(usual_places([heart_cube_samples(labels, other, usual)], 3.0), usual, atol=0.6)


def test_places_are_means_of_points() -> None:
    found = mean_places(np.array([[0.0, 0, 0], [2, 4, 6], [9, 9, 9]]), np.array([2, 2, 5], np.uint8))
    assert found.shape == (CLASSES - 1, 3) and np.isnan(found[0]).all()
    assert found[[1, 4]].tolist() == [[1, 2, 3], [9, 9, 9]]


def test_shares_are_those_of_the_samples_in_a_voxel() -> None:
    samples = np.zeros((4, 4, 4), np.uint8)
    samples[0, 0, :2], samples[1, 1, 1] = 2, 7
    shares = shares_of(samples)
    assert shares.shape == (CLASSES, 2, 2, 2)
    assert shares[[0, 2, 7], 0, 0, 0].tolist() == [5 / 8, 2 / 8, 1 / 8]
    np.testing.assert_allclose(shares.sum(axis=0), 1)


def test_a_label_map_whose_shares_do_not_change_stays_as_it_is() -> None:
    """However thin: a plate of one voxel, which the cube of 3 mm alone would lose."""
    grid = Grid((40, 40, 40), np.eye(4))
    label = ball(grid, (20, 20, 20), 9)
    label[20, 5:35, 5:35] = 9
    cube = cube_grid(label, grid, 3.0)
    nothing = np.zeros((CLASSES, *cube.shape), np.float32)
    np.testing.assert_array_equal(from_cube(nothing, cube, grid, label), label)
    # What is added by more than 1 replaces the label; outside the cube nothing changes.
    nothing[4] = 2.0
    assert (from_cube(nothing, cube, grid, label) == 4).all()


def test_the_loss_is_lowest_for_what_is_wanted() -> None:
    shares = shares_of(np.random.default_rng(0).integers(0, CLASSES, (8, 8, 8)).astype(np.uint8))
    wanted = post_dae.torch.from_numpy(shares)[None]
    found = [
        float(post_dae.entropy_and_dice(post_dae.torch.log(one + 1e-6), wanted)) for one in (wanted, wanted.roll(1, 2))
    ]
    assert found[0] < found[1]


def test_both_cubes_are_moved_alike() -> None:
    one = (np.random.default_rng(0).random((32, 32, 32)) > 0.5).astype(np.uint8)
    corrupted, clean = post_dae.varied((one, one), np.random.default_rng(1))
    np.testing.assert_array_equal(corrupted, clean)
    assert (corrupted != one).any()


@pytest.mark.slow
def test_training_brings_back_what_was_removed_and_is_kept(tmp_path: Path) -> None:
    """A block without a corner, learned from one pair; what was trained is read again."""
    clean = np.zeros((2 * SIDE,) * 3, np.uint8)
    clean[40:88, 40:88, 40:88] = 3
    corrupted = clean.copy()
    corrupted[40:64, 40:64, 40:64] = 0
    settings = post_dae.DaeSettings(phantoms=0, channels=(4, 8, 8, 8), code=8, batch=1, cpu_s=12.0)
    method = post_dae.PostDae(settings)
    method.train([(corrupted, clean)])
    assert method.steps > 3 and method.cpu_s >= 12.0
    grid = Grid(clean.shape, np.diag([1.5, 1.5, 1.5, 1]))
    assert dice(method(corrupted, grid) == 3, clean == 3) > 0.5


def test_what_was_trained_is_read_again(tmp_path: Path) -> None:
    settings = post_dae.DaeSettings(phantoms=1, channels=(4, 4, 4, 4), code=4, batch=1, cpu_s=0.5)
    first = post_dae.fitted(settings, tmp_path / "dae", lambda text: None)
    again = post_dae.fitted(settings, tmp_path / "dae", pytest.fail)
    assert again.places == pytest.approx(first.places, abs=0.01, nan_ok=True)
    assert again.steps == first.steps and again.cpu_s == pytest.approx(first.cpu_s, abs=0.1)
    grid = Grid((40, 40, 40), np.diag([3.0, 3, 3, 1]))
    label = ball(grid, (60, 60, 60), 30)
    np.testing.assert_array_equal(first(label, grid), again(label, grid))
