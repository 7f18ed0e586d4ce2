"""Tubes: rods, arcs, sheets and balls of known size."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.geometry.elongation import measure_elongation

SPACING = (1.0, 1.0, 1.0)


def arc(radius: float, width: float) -> np.ndarray:
    """Half of a ring."""
    x, y, z = np.ogrid[-40:41, 0:41, -5:6]
    return (np.sqrt(x**2 + y**2) - radius) ** 2 + z**2 <= width**2


def test_length_and_radius_of_a_rod_are_its_own() -> None:
    rod = np.ones((61, 5, 5), dtype=bool)
    found = measure_elongation(rod, SPACING)
    # The way goes from one corner to the opposite one: 56 straight steps and 4 diagonal ones.
    assert found.length_mm == pytest.approx(56 + 4 * np.sqrt(3))
    assert found.radius_mm == pytest.approx(3.0)  # from the middle voxel to the first one outside
    assert found.volume_mm3 == 61 * 25


@pytest.mark.parametrize(
    ("mask", "is_tube"),
    [
        (np.ones((60, 4, 4), dtype=bool), True),
        (np.ones((20, 3, 3), dtype=bool), False),  # short
        (np.ones((40, 9, 9), dtype=bool), False),  # wide
        (np.ones((50, 50, 3), dtype=bool), False),  # a sheet
        (arc(30, 2.2), True),
        (np.linalg.norm(np.indices((31, 31, 31)) - 15, axis=0) <= 15, False),
    ],
)
def test_a_tube_is_long_thin_and_even(mask: np.ndarray, is_tube: bool) -> None:
    assert measure_elongation(mask, SPACING).is_tube is is_tube


def test_the_way_follows_the_part_and_not_its_box() -> None:
    # The outer voxels of half a ring of radius 30 with a width of 2.2; a way cuts the corners of a ring.
    assert np.pi * 27 < measure_elongation(arc(30, 2.2), SPACING).length_mm < np.pi * 33


def test_voxels_that_are_no_cubes_are_measured_in_mm() -> None:
    found = measure_elongation(np.ones((30, 4, 4), dtype=bool), (2.0, 1.0, 1.0))
    assert found.is_tube and found.length_mm > 58
