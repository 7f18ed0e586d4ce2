"""Signed distance primitives, compared with known distances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartmend.phantom.sdf import Canvas, Plane, add_ellipsoid, add_tube, smooth_max, smooth_min, smooth_noise, spline


@pytest.fixture
def canvas() -> Canvas:
    lines = [np.arange(40) - 20.0] * 3
    points = np.stack(np.meshgrid(*lines, indexing="ij")).astype(np.float32)
    return Canvas(np.full(3, -20.0), np.ones(3), points, 0.0)


def test_the_distance_of_a_ball_is_exact_near_its_surface(canvas: Canvas) -> None:
    field, centre = canvas.empty(), np.array([2.0, -3.0, 1.0])
    add_ellipsoid(field, canvas, centre, np.eye(3), np.full(3, 9.0))
    exact = np.linalg.norm(canvas.points - centre[:, None, None, None], axis=0) - 9
    near = np.abs(exact) < 4
    np.testing.assert_allclose(field[near], exact[near], atol=1e-4)
    assert ((field < 0) == (exact < 0)).all()


def test_a_straight_tube_is_a_capsule_of_varying_radius(canvas: Canvas) -> None:
    field = canvas.empty()
    add_tube(field, canvas, np.array([[-10.0, 0, 0], [10, 0, 0]]), np.array([3.0, 5.0]))
    middle = field[20, 20, 20:]
    np.testing.assert_allclose(middle[:9], np.arange(9) - 4.0, atol=1e-5)
    assert field[10 - 2, 20, 20] == pytest.approx(-1) and field[30 + 4, 20, 20] == pytest.approx(-1)


def test_primitives_are_united_with_the_field(canvas: Canvas) -> None:
    field = canvas.empty()
    for x in (-8.0, 8.0):
        add_ellipsoid(field, canvas, np.array([x, 0, 0]), np.eye(3), np.full(3, 6.0))
    assert field[12, 20, 20] < 0 and field[28, 20, 20] < 0 < field[20, 20, 20]


def test_the_distance_of_a_plane_grows_along_its_normal(canvas: Canvas) -> None:
    plane = Plane(np.array([0.0, 5, 0]), np.array([0.0, 1, 0]))
    np.testing.assert_allclose(plane.distance(canvas)[0, :, 0], np.arange(40) - 25.0)


@given(st.floats(-50, 50), st.floats(-50, 50), st.just(0.0) | st.floats(0.01, 9))
def test_the_smooth_minimum_is_at_most_a_quarter_of_the_blend_below(a: float, b: float, blend: float) -> None:
    one, two = np.array([a], np.float32), np.array([b], np.float32)
    low = float(smooth_min(one, two, blend)[0])
    assert min(a, b) - blend / 4 - 1e-3 <= low <= min(a, b) + 1e-3
    assert float(smooth_max(one, two, blend)[0]) == pytest.approx(-float(smooth_min(-one, -two, blend)[0]))


@pytest.mark.parametrize("length_mm", [1.5, 4.0, 12.0])
def test_noise_has_unit_variance_and_the_given_length(length_mm: float) -> None:
    noise = smooth_noise((70, 70, 70), (1.0, 1.0, 1.0), length_mm, np.random.default_rng(0))
    assert noise.dtype == np.float32 and noise.var() == pytest.approx(1, abs=0.35)

    def agreement(steps: int) -> float:
        return float((noise[steps:] * noise[:-steps]).mean() / noise.var())

    assert agreement(1) > (0.3 if length_mm < 2 else 0.8)
    assert abs(agreement(int(5 * length_mm))) < 0.3


def test_a_spline_keeps_its_ends_and_step() -> None:
    path, radii = spline([[0.0, 0, 0], [10, 5, 0], [20, 0, 0]], [4.0, 3.0, 1.0], step_mm=2.0)
    np.testing.assert_allclose(path[[0, -1]], [[0, 0, 0], [20, 0, 0]], atol=1e-9)
    assert radii[0] == 4 and radii[-1] == 1 and (np.diff(radii) < 0).all()
    assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() < 2.8
