"""Tests of the views of a case beyond the planes of its axes."""

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.centrelines.vessel_paths import find_vessel_paths
from heartmend.geometry.grid import Grid
from heartmend.review.views import describe_views
from support.hearts import upright_heart

GRID = Grid((80, 60, 80), np.eye(4))
ARC_MM = 30 * np.pi / 2


def test_the_views_of_a_heart_with_known_axes() -> None:
    found = describe_views(upright_heart(), GRID, load_anatomy("heart"))
    assert [p["name"] for p in found["planes"]] == ["short axis", "four-chamber", "two-chamber"]
    assert found["planes"][1]["right"] == pytest.approx([-1, 0, 0])
    assert found["planes"][1]["up"] == pytest.approx([0, 0, -1])
    (vessel,) = found["vessels"]
    assert vessel["structure"] == "Coronary" and vessel["length_mm"] == pytest.approx(ARC_MM, abs=5)
    points = np.reshape(vessel["points"], (-1, 3))
    # It begins at the aorta, and is on the axis of the vessel.
    assert np.linalg.norm(points[0] - (70, 8, 50)) < 4 and np.linalg.norm(points[-1] - (40, 8, 20)) < 4
    off_axis = np.hypot(np.hypot(points[:, 0] - 40, points[:, 2] - 50) - 30, points[:, 1] - 8)
    assert off_axis[4:-4].max() < 1.0
    assert len(vessel["normals"]) == len(vessel["points"])


def test_an_anatomy_without_a_heart_has_no_views() -> None:
    labels = np.ones((8, 8, 8), np.uint8)
    assert describe_views(labels, Grid((8, 8, 8), np.eye(4)), load_anatomy("adrenal")) == {"planes": [], "vessels": []}


def test_each_branch_has_a_path_from_the_origin_and_short_ones_have_none() -> None:
    """A trunk of 20 mm along x that forks into branches of 30 and 20 mm, with a stub of 6 mm."""
    mask = np.zeros((70, 60, 9), bool)
    for length, way in ((30, (1, 1)), (20, (1, -1))):
        for step in np.arange(0, length, 0.25):
            x, y = 24 + step * way[0] / np.sqrt(2), 30 + step * way[1] / np.sqrt(2)
            mask[round(x) - 1 : round(x) + 2, round(y) - 1 : round(y) + 2, 3:6] = True
    mask[4:25, 29:32, 3:6] = True
    mask[14:17, 30:37, 3:6] = True
    origin = np.zeros_like(mask)
    origin[0:3, 28:33, 3:6] = True
    paths = find_vessel_paths(mask, Grid(mask.shape, np.eye(4)), origin)
    assert [path.length_mm for path in paths] == pytest.approx([50, 40], abs=4)
    for path in paths:
        assert path.points_mm[0] == pytest.approx((4, 30, 4), abs=2)
    # Without an origin a tree begins at its thickest end.
    thick = mask.copy()
    thick[2:9, 27:34, 1:8] = True
    paths = find_vessel_paths(thick, Grid(mask.shape, np.eye(4)), np.zeros_like(mask))
    assert all(path.points_mm[0, 0] < 12 for path in paths) and len(paths) == 2
    assert find_vessel_paths(np.zeros_like(mask), Grid(mask.shape, np.eye(4)), origin) == []
