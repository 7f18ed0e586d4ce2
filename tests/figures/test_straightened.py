"""Straightened vessels: samples on the cut, and the figure."""

import numpy as np
import pytest

from heartmend.figures.straightened import (
    ACROSS_MM,
    HALF_WIDTH_MM,
    StraightVessel,
    straightened,
    straightened_figure,
)
from heartmend.geometry.curves import frame_curve
from heartmend.geometry.grid import Grid

GRID = Grid((60, 40, 40), np.diag([0.5, 0.5, 0.5, 1.0]))
CURVE = frame_curve(np.array([[3.0, 10, 10], [25, 10, 10]]))


def test_a_straight_vessel_is_cut_through_its_middle() -> None:
    """A rod of 3 mm around the curve: 1.5 mm on each side in both planes, along its whole length."""
    at = np.indices(GRID.shape) * 0.5
    rod = np.hypot(at[1] - 10, at[2] - 10) < 1.5
    for angle in (0.0, np.pi / 2):
        cut = straightened(rod, GRID, CURVE, angle, order=0)
        assert cut.shape == (2 * round(HALF_WIDTH_MM / ACROSS_MM) + 1, len(CURVE.points_mm))
        width_mm = cut.sum(axis=0) * ACROSS_MM
        assert width_mm == pytest.approx(3.0, abs=0.6)
        assert cut[cut.shape[0] // 2].all()


def test_the_planes_are_at_a_right_angle() -> None:
    """A sheet in the plane of the axes x and y fills one cut along the vessel, and is a line in the other."""
    at = np.indices(GRID.shape) * 0.5
    sheet = np.abs(at[2] - 10) < 0.4
    filled = [straightened(sheet, GRID, CURVE, angle, order=0).mean() for angle in (0.0, np.pi / 2)]
    assert min(filled) < 0.1 and max(filled) > 0.9


def test_each_vessel_has_two_strips_with_its_name_and_length() -> None:
    at = np.indices(GRID.shape) * 0.5
    rod = np.hypot(at[1] - 10, at[2] - 10) < 1.5
    image = np.where(rod, 350.0, -90.0)
    vessels = [StraightVessel("LAD", CURVE), StraightVessel("RCA", CURVE)]
    figure = straightened_figure(vessels, rod & (at[0] < 15), rod, GRID, image)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == ["LAD\n22 mm", "at a right\nangle", "RCA\n22 mm", "at a right\nangle"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["label before", "label after"]
