"""Interpolation of tables, compared with SciPy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from heartmend.models.feature_table import cell_centres, corners, read_table, resample_table


def random_table(side: int, features: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(side**3, features, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def random_points(count: int, reach: float) -> torch.Tensor:
    return (torch.rand(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(9)) * 2 - 1) * reach


@pytest.mark.parametrize("side", [2, 5, 16])
def test_interpolation_equals_that_of_scipy(side: int) -> None:
    """Also beyond the outermost cell centres, where the value at the border is used."""
    table, points = random_table(side), random_points(200, 1.3)
    found = read_table(table, points, side)
    at = ((points.numpy() + 1) / 2 * side - 0.5).T
    for feature in range(2):
        cube = table[:, feature].reshape(side, side, side).numpy()
        expected = map_coordinates(cube, at, order=1, mode="nearest")
        # The border is read a thousandth of a cell inside the cube.
        assert np.allclose(found[:, feature], expected, atol=0.01)
        inside = ((at > 0) & (at < side - 1.01)).all(axis=0)
        assert np.allclose(found[inside, feature], expected[inside], atol=1e-12)


def test_the_first_axis_is_x() -> None:
    table = torch.zeros(4**3, 1)
    table[3 * 16 + 0 * 4 + 1] = 1
    point = torch.tensor([[0.75, -0.75, -0.25]])
    assert read_table(table, point, 4).item() == pytest.approx(1, abs=0.01)
    assert read_table(table, point.flip(-1), 4).item() == 0


def test_stacked_tables_are_independent() -> None:
    tables = torch.cat([random_table(5, seed=seed) for seed in range(3)])
    points = random_points(30, 1.1)
    which = torch.arange(30) % 3
    found = read_table(tables, points, 5, which * 125)
    for row in range(3):
        alone = read_table(random_table(5, seed=row), points[which == row], 5)
        assert torch.equal(found[which == row], alone)


def test_gradients_of_table_and_points() -> None:
    table, points = random_table(4).requires_grad_(), random_points(12, 0.7).requires_grad_()
    assert torch.autograd.gradcheck(lambda t, p: read_table(t, p, 4), (table, points), eps=1e-7, atol=1e-5)


def test_without_gradients_the_values_are_the_same_to_the_last_bit() -> None:
    points, table = random_points(300, 1.3).float(), random_table(7).float()
    rows, weights = corners(points, 7)
    with torch.no_grad():
        plain_rows, plain_weights = corners(points, 7)
        assert torch.equal(plain_rows, rows) and torch.equal(plain_weights, weights)
        assert torch.equal(read_table(table, points, 7), read_table(table.requires_grad_(), points, 7))
        assert corners(torch.full((1, 3), torch.nan), 7)[1].isnan().all()


def test_a_resampled_table_is_the_same_function() -> None:
    """Interpolation between the outermost centres of the coarser table is exact for a linear function."""
    rise = torch.tensor([1.0, -2.0, 3.0])
    x, y, z = torch.meshgrid(*[cell_centres(6)] * 3, indexing="ij")
    table = (torch.stack([x, y, z], dim=-1) @ rise).reshape(-1, 1)
    fine = resample_table(table, 6, 9)
    assert fine.shape == (9**3, 1)
    points = random_points(50, 0.66).float()
    torch.testing.assert_close(read_table(fine, points, 9)[:, 0], points @ rise, atol=1e-5, rtol=0)
    assert resample_table(table, 6, 6) is table


def test_cell_centres_by_hand() -> None:
    assert cell_centres(4).tolist() == [-0.75, -0.25, 0.25, 0.75]


def test_no_points_have_no_gradient() -> None:
    """A process of a fit may have no case of a step."""
    table, points = torch.ones(27, 2, requires_grad=True), torch.zeros(0, 3, requires_grad=True)
    read_table(table, points, 3).sum().backward()
    assert table.grad is not None and points.grad is not None
    assert not table.grad.any() and points.grad.shape == (0, 3)
