"""Grids: affine, spacing and comparison."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from support.grids import grids


def test_the_position_of_a_voxel_agrees_with_a_hand_calculation() -> None:
    grid = Grid((4, 5, 6), [[0, -2.0, 0, 10], [0.5, 0, 0, 20], [0, 0, 3.0, 30], [0, 0, 0, 1]])
    assert grid.spacing_mm == (0.5, 2.0, 3.0)
    assert grid.voxel_mm3 == pytest.approx(3.0)
    assert grid.axcodes == ("A", "L", "S")
    assert grid.index_to_world((1, 2, 3)).tolist() == [6.0, 20.5, 39.0]
    assert grid.world_to_index((6.0, 20.5, 39.0)).tolist() == [1, 2, 3]


@given(grids(), st.lists(st.floats(-50, 50), min_size=3, max_size=3))
def test_conversions_of_indices_and_grids_are_invertible(grid: Grid, index: list[float]) -> None:
    assert np.allclose(grid.world_to_index(grid.index_to_world(index)), index, atol=1e-6)
    assert Grid.from_dict(json.loads(json.dumps(grid.to_dict()))) == grid


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.diag([1, 1, 0, 1]), "spacing"),
        (np.diag([1, 1, 1e-4, 1]), "spacing"),
        (np.diag([1, 1, 1000, 1]), "spacing"),
        (np.diag([1, 1, np.nan, 1]), "finite"),
        (np.diag([1, 1, 1, 2]), "last row"),
        (np.eye(3), "affine"),
        ([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "parallel"),
        ([[1, 0.03, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "sheared affine: its voxel axes are 1.7 degrees"),
    ],
)
def test_an_invalid_affine_is_an_error(affine: object, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        Grid((2, 2, 2), np.asarray(affine, dtype=float))


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 0), (2, 2, 2, 2)])
def test_a_shape_other_than_three_positive_numbers_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match="three positive numbers"):
        Grid(shape, np.eye(4))  # type: ignore[arg-type]


def test_a_grid_is_immutable_and_hashable() -> None:
    affine = np.eye(4)
    grid = Grid((2, 3, 4), affine)
    affine[0, 3] = 5
    assert grid == Grid((2, 3, 4), np.eye(4))
    assert len({grid, Grid((2, 3, 4), np.eye(4)), Grid((2, 3, 5), np.eye(4))}) == 2
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 2


def test_grids_are_close_within_a_twentieth_of_a_voxel_at_every_corner() -> None:
    grid = Grid((101, 101, 101), np.eye(4))
    assert grid.is_close(Grid((101, 101, 101), np.diag([1.0004, 1, 1, 1])))
    assert not grid.is_close(Grid((101, 101, 101), np.diag([1.001, 1, 1, 1])))
    assert not grid.is_close(Grid((101, 101, 100), np.eye(4)))


def test_the_overlap_share_agrees_with_a_hand_calculation() -> None:
    grid = Grid((10, 4, 4), np.diag([2.0, 1, 1, 1]))
    assert grid.overlap_share(grid) == 1
    # Shifted by four voxels, six are left; a voxel belongs to the grid up to its face.
    shifted = np.diag([2.0, 1, 1, 1])
    shifted[0, 3] = 8
    assert grid.overlap_share(Grid((10, 4, 4), shifted)) == pytest.approx(0.6)
    shifted[0, 3] = 19.1
    assert grid.overlap_share(Grid((10, 4, 4), shifted)) == 0
    assert grid.overlap_share(Grid((10, 4, 4), np.diag([-2.0, -1, -1, 1]))) == pytest.approx(1 / 160)


def test_a_degree_of_shear_is_accepted() -> None:
    Grid((2, 2, 2), np.array([[1, 0.017, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
