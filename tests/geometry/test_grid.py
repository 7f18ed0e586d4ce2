import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from support.grids import grids


def test_millimetres_of_a_voxel_by_hand() -> None:
    grid = Grid((4, 5, 6), [[0, -2.0, 0, 10], [0.5, 0, 0, 20], [0, 0, 3.0, 30], [0, 0, 0, 1]])
    assert grid.spacing_mm == (0.5, 2.0, 3.0)
    assert grid.voxel_mm3 == pytest.approx(3.0)
    assert grid.axcodes == ("A", "L", "S")
    assert grid.index_to_world((1, 2, 3)).tolist() == [6.0, 20.5, 39.0]
    assert grid.world_to_index((6.0, 20.5, 39.0)).tolist() == [1, 2, 3]


@given(grids(), st.lists(st.floats(-50, 50), min_size=3, max_size=3))
def test_there_and_back(grid: Grid, index: list[float]) -> None:
    assert np.allclose(grid.world_to_index(grid.index_to_world(index)), index, atol=1e-6)
    assert Grid.from_dict(json.loads(json.dumps(grid.to_dict()))) == grid


@pytest.mark.parametrize(
    ("affine", "told"),
    [
        (np.diag([1, 1, 0, 1]), "spacing"),
        (np.diag([1, 1, 1e-4, 1]), "spacing"),
        (np.diag([1, 1, 1000, 1]), "spacing"),
        (np.diag([1, 1, np.nan, 1]), "finite"),
        (np.diag([1, 1, 1, 2]), "last row"),
        (np.eye(3), "affine"),
        ([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "parallel"),
        ([[1, 0.03, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "sheared affine, its voxel axes are 1.7 degrees"),
    ],
)
def test_an_affine_that_is_none_is_refused(affine: object, told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        Grid((2, 2, 2), np.asarray(affine, dtype=float))


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 0), (2, 2, 2, 2)])
def test_a_shape_of_other_than_three_sizes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match="three positive sizes"):
        Grid(shape, np.eye(4))  # type: ignore[arg-type]


def test_it_is_a_value() -> None:
    affine = np.eye(4)
    grid = Grid((2, 3, 4), affine)
    affine[0, 3] = 5
    assert grid == Grid((2, 3, 4), np.eye(4))
    assert len({grid, Grid((2, 3, 4), np.eye(4)), Grid((2, 3, 5), np.eye(4))}) == 2
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 2


def test_close_means_within_a_twentieth_of_a_voxel_at_every_corner() -> None:
    grid = Grid((101, 101, 101), np.eye(4))
    assert grid.is_close(Grid((101, 101, 101), np.diag([1.0004, 1, 1, 1])))
    assert not grid.is_close(Grid((101, 101, 101), np.diag([1.001, 1, 1, 1])))
    assert not grid.is_close(Grid((101, 101, 100), np.eye(4)))


def test_the_share_of_a_grid_that_lies_in_another_by_hand() -> None:
    grid = Grid((10, 4, 4), np.diag([2.0, 1, 1, 1]))
    assert grid.overlap_share(grid) == 1
    # Moved by four voxels, six are left; and a voxel belongs to the grid up to its face.
    moved = np.diag([2.0, 1, 1, 1])
    moved[0, 3] = 8
    assert grid.overlap_share(Grid((10, 4, 4), moved)) == pytest.approx(0.6)
    moved[0, 3] = 19.1
    assert grid.overlap_share(Grid((10, 4, 4), moved)) == 0
    assert grid.overlap_share(Grid((10, 4, 4), np.diag([-2.0, -1, -1, 1]))) == pytest.approx(1 / 160)


def test_a_degree_of_shear_is_borne() -> None:
    Grid((2, 2, 2), np.array([[1, 0.017, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
