"""Time of a correction: shapes whose length is known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartmend.repair.editing.correction_time import LOOK_MINUTES, correction_minutes


@pytest.mark.parametrize("radius_mm", [0.8, 1.5, 4.0])
def test_a_tube_takes_as_long_whatever_its_radius(radius_mm: float) -> None:
    """100 mm of vessel are 20 outlines of a quarter of a minute, beside half a minute of looking: 5.5 minutes."""
    length_mm = 100.0
    volume, wall = math.pi * radius_mm**2 * length_mm, 2 * math.pi * radius_mm * length_mm
    assert correction_minutes(volume, wall) == pytest.approx(5.5)


def test_a_ball_counts_as_one_and_a_half_times_its_diameter() -> None:
    """Diameter 50 mm: 75 mm, 15 outlines."""
    assert correction_minutes(4 / 3 * math.pi * 25**3, 4 * math.pi * 25**2) == pytest.approx(0.5 + 15 * 0.25)


def test_an_empty_structure_takes_the_look_alone() -> None:
    assert correction_minutes(0.0, 0.0) == LOOK_MINUTES


@given(st.floats(1, 1e6), st.floats(1, 1e5), st.floats(1.01, 10))
def test_a_larger_surface_takes_longer(mm3: float, mm2: float, factor: float) -> None:
    assert LOOK_MINUTES < correction_minutes(mm3, mm2) < correction_minutes(mm3, factor * mm2)
