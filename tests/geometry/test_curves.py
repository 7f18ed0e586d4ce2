"""Tests of curves with frames, and of straightened views."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.geometry.curves import frame_curve

RADIUS_MM = 20.0


def arc(count: int = 200) -> np.ndarray:
    """A quarter of a circle about the origin, in the plane z = 7."""
    angle = np.linspace(0, np.pi / 2, count)
    return np.stack([RADIUS_MM * np.cos(angle), RADIUS_MM * np.sin(angle), np.full(count, 7.0)], axis=1)


def test_a_straight_line_is_a_regular_grid() -> None:
    curve = frame_curve(np.array([[0.0, 0, 0], [0, 0, 10]]), step_mm=2)
    assert curve.length_mm == pytest.approx(10) and len(curve.points_mm) == 6
    rows = curve.straightened(half_width_mm=3, count=3)
    assert rows.shape == (6, 3, 3) and rows[:, 1] == pytest.approx(curve.points_mm)
    assert rows[:, 2] - rows[:, 0] == pytest.approx(np.tile(6 * curve.normal[0], (6, 1)))
    # A quarter of a turn: from the normal to the binormal.
    quarter = curve.straightened(3, 3, np.pi / 2)
    assert quarter[2, 2] - quarter[2, 1] == pytest.approx(3 * curve.binormal[2])


def test_an_arc_keeps_its_length_and_its_plane() -> None:
    curve = frame_curve(arc(), step_mm=0.5)
    assert curve.length_mm == pytest.approx(RADIUS_MM * np.pi / 2, rel=1e-3)
    # The frame of a plane curve does not turn: its part along z stays as it is.
    assert curve.normal[:, 2] == pytest.approx(np.full(len(curve.normal), curve.normal[0, 2]), abs=1e-3)


def test_a_bent_tube_is_straight_and_as_wide_as_it_is() -> None:
    """A point of the straightened view is in the tube exactly if its offset is below the radius of the tube."""
    curve, tube_mm = frame_curve(arc(), step_mm=0.5), 3.0
    for angle in (0.0, 0.6, np.pi / 2):
        points = curve.straightened(half_width_mm=8, count=17, angle=angle)
        to_circle = np.hypot(np.linalg.norm(points[..., :2], axis=-1) - RADIUS_MM, points[..., 2] - 7)
        offsets = np.abs(np.linspace(-8, 8, 17))
        assert np.array_equal(to_circle[1:-1] < tube_mm + 0.1, np.tile(offsets < tube_mm + 0.1, (len(points) - 2, 1)))


def test_smoothing_keeps_the_ends() -> None:
    rough = arc(40) + np.random.default_rng(0).normal(0, 0.3, (40, 3))
    smooth = frame_curve(rough, smooth_mm=2)
    assert smooth.points_mm[[0, -1]] == pytest.approx(rough[[0, -1]])
    rms_mm = [np.sqrt(np.mean((np.linalg.norm(p[:, :2], axis=1) - RADIUS_MM) ** 2)) for p in (rough, smooth.points_mm)]
    assert rms_mm[1] < 0.6 * rms_mm[0]


@pytest.mark.parametrize("step_mm", [0.5, 2.0, 10.0])
def test_a_short_curve_that_returns_to_its_start_has_a_length_and_directions(step_mm: float) -> None:
    curve = frame_curve(np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]]), step_mm=step_mm)
    assert 0.5 < curve.length_mm <= 2 + 2**0.5
    assert np.linalg.norm(curve.tangent, axis=1) == pytest.approx(np.ones(len(curve.tangent)))


@settings(max_examples=30)
@given(st.lists(st.tuples(*[st.floats(-50, 50)] * 3), min_size=2, max_size=8))
def test_the_frames_are_orthonormal(points: list[tuple[float, float, float]]) -> None:
    given_points = np.array(points)
    if (np.linalg.norm(np.diff(given_points, axis=0), axis=1) < 2).any():
        return
    curve = frame_curve(given_points, smooth_mm=1)
    assert np.linalg.norm(curve.normal, axis=1) == pytest.approx(np.ones(len(curve.normal)))
    assert np.linalg.norm(curve.tangent, axis=1) == pytest.approx(np.ones(len(curve.normal)))
    assert (curve.normal * curve.tangent).sum(axis=1) == pytest.approx(np.zeros(len(curve.normal)), abs=1e-6)
