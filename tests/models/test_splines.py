"""Cubic B-splines, compared with values derived by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heartmend.models.splines import bending_energy, on_lattice, refine_controls, spline_weights

FLOAT64 = torch.float64


def at_controls(count: int) -> torch.Tensor:
    """Unit coordinates of the control points: the second is on the face -1, the last but one on 1."""
    return (torch.arange(count, dtype=FLOAT64) - 1) * 2 / (count - 3) - 1


def lattice(controls: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    weights = spline_weights(at, controls.shape[-1])
    return on_lattice(controls, weights, weights, weights).movedim(-1, 1)


def test_weights_at_knots_and_between_them() -> None:
    """At a knot 1/6, 4/6, 1/6; in the middle of an interval 1/48, 23/48, 23/48, 1/48."""
    knots = spline_weights(torch.tensor([-1.0, 0.0], dtype=FLOAT64), 7)
    assert knots[0].tolist() == pytest.approx([1 / 6, 4 / 6, 1 / 6, 0, 0, 0, 0])
    assert knots[1].tolist() == pytest.approx([0, 0, 1 / 6, 4 / 6, 1 / 6, 0, 0])
    middle = spline_weights(torch.tensor([-0.75], dtype=FLOAT64), 7)
    assert middle[0].tolist() == pytest.approx([1 / 48, 23 / 48, 23 / 48, 1 / 48, 0, 0, 0])


@given(st.integers(4, 30), st.lists(st.floats(-1.5, 1.5), min_size=1, max_size=8))
def test_weights_are_a_partition_of_unity(controls: int, at: list[float]) -> None:
    for dtype in (FLOAT64, torch.float32):
        weights = spline_weights(torch.tensor(at, dtype=dtype), controls)
        assert weights.shape == (len(at), controls)
        assert (weights >= -1e-7).all()
        assert weights.sum(dim=1).tolist() == pytest.approx([1] * len(at), abs=1e-5)


def test_outside_the_frame_the_value_at_the_face_is_used() -> None:
    at = torch.tensor([1.0, 1.7, -1.0, -4.0], dtype=FLOAT64)
    weights = spline_weights(at, 8)
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[2], weights[3])


@given(st.integers(4, 20))
def test_a_linear_field_is_reproduced(controls: int) -> None:
    c = at_controls(controls)
    x, y, z = torch.meshgrid(c, c, c, indexing="ij")
    field = torch.stack([2 * x - y + 0.5, z - 3 * y, x + y + z])[None]
    at = torch.linspace(-1, 1, 9, dtype=FLOAT64)
    x, y, z = torch.meshgrid(at, at, at, indexing="ij")
    expected = torch.stack([2 * x - y + 0.5, z - 3 * y, x + y + z])[None]
    torch.testing.assert_close(lattice(field, at), expected, atol=1e-4, rtol=0)
    assert bending_energy(field).item() == pytest.approx(0, abs=1e-18)


def random_controls(count: int) -> torch.Tensor:
    return torch.randn(2, 3, *(count,) * 3, dtype=FLOAT64, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize(("old", "new"), [(5, 7), (6, 9), (6, 12)])
def test_refinement_is_exact_where_the_new_knots_include_the_old_ones(old: int, new: int) -> None:
    coarse = random_controls(old)
    fine = refine_controls(coarse, new)
    assert fine.shape == (2, 3, new, new, new)
    at = torch.linspace(-1, 1, 23, dtype=FLOAT64)
    torch.testing.assert_close(lattice(fine, at), lattice(coarse, at), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("old", "new"), [(6, 8), (8, 10), (13, 17)])
def test_refinement_is_approximate_elsewhere(old: int, new: int) -> None:
    coarse = random_controls(old)
    at = torch.linspace(-1, 1, 31, dtype=FLOAT64)
    before = lattice(coarse, at)
    error = (lattice(refine_controls(coarse, new), at) - before).square().mean().sqrt()
    assert error < 0.15 * before.square().mean().sqrt()


def test_bending_energy_is_independent_of_the_resolution() -> None:
    """u = x²: its second derivative is 2 along x and 0 along y and z; the control points are c² - h²/3."""
    for count in (6, 11):
        c = at_controls(count)
        field = (c**2 - (2 / (count - 3)) ** 2 / 3)[:, None, None].expand(1, 1, -1, count, count)
        assert bending_energy(field).item() == pytest.approx(4)
        at = torch.linspace(-1, 1, 5, dtype=FLOAT64)
        torch.testing.assert_close(lattice(field, at)[0, 0, :, 0, 0], at**2, atol=1e-5, rtol=0)


def test_no_case_has_no_displacement() -> None:
    weights = spline_weights(torch.linspace(-1, 1, 7), 5)
    assert on_lattice(torch.zeros(0, 3, 5, 5, 5), weights, weights, weights).shape == (0, 7, 7, 7, 3)
