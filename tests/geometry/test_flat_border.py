"""Flat borders, on balls that are cut by planes."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.geometry.flat_border import find_flat_border

SHAPE = (72, 72, 72)
SPACING = (1.0, 1.0, 1.0)


def heart(normal: np.ndarray | None = None, height: float = 0.0) -> np.ndarray:
    """A ball of three structures, side by side, without what is beyond a plane through the middle of the array."""
    points = np.indices(SHAPE) - 36.0
    labels = np.where(np.linalg.norm(points, axis=0) <= 30, 1, 0).astype(np.uint8)
    labels[(labels > 0) & (points[0] > 8)] = 2
    labels[(labels > 0) & (points[0] < -8)] = 3
    if normal is not None:
        labels[np.tensordot(normal, points, axes=1) > height] = 0
    return labels


@pytest.mark.parametrize("degrees", [0.0, 25.0, 40.0])
def test_an_oblique_plane_is_found_with_its_normal(degrees: float) -> None:
    angle = np.deg2rad(degrees)
    normal = np.array([0.0, np.sin(angle), np.cos(angle)])
    found = find_flat_border(heart(normal, 15.0), SPACING)
    assert found is not None and set(found.areas_mm2) == {1, 2, 3}
    assert float(found.normal @ normal) > np.cos(np.deg2rad(2))
    assert found.height_mm == pytest.approx(15.0 + float(normal.sum()) * 36, abs=1.5)
    assert found.is_oblique == (degrees > 0) and not found.at_border(SHAPE, SPACING)
    # A circle of radius 26 (30 and 15 are two sides of its triangle).
    assert sum(found.areas_mm2.values()) == pytest.approx(np.pi * 26**2, rel=0.25)


def test_a_round_heart_has_no_flat_border() -> None:
    assert find_flat_border(heart(), SPACING) is None


def test_the_border_of_the_array_is_recognised() -> None:
    cut = np.ascontiguousarray(heart()[:, :, :50])
    found = find_flat_border(cut, SPACING)
    assert found is not None and found.at_border(cut.shape, SPACING)


def test_a_single_structure_may_end_flat() -> None:
    labels = heart(np.array([0.0, 0.0, 1.0]), 15.0)
    assert find_flat_border(np.where(labels > 0, 1, 0).astype(np.uint8), SPACING) is None


def test_a_map_without_labels_has_none() -> None:
    assert find_flat_border(np.zeros((9, 9, 9), np.uint8), SPACING) is None
