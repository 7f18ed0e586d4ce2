"""Stretches of a vessel that run inside a chamber."""

import numpy as np
import pytest

from heartmend.geometry.centrelines.tree import chain
from heartmend.repair.vessels.verdicts import stretches_in_chambers


@pytest.mark.parametrize(("blood_voxels", "expected"), [(3, 0), (4, 1)])
def test_a_wall_more_than_3_mm_deep_is_inside(blood_voxels: int, expected: int) -> None:
    """The axis has a radius of 1.5 mm, so it must be more than 4.5 mm from the background: 4 mm is not, 5 mm is."""
    chamber = np.zeros((40, 31, 31), bool)
    inner = slice(15 - blood_voxels, 16 + blood_voxels)
    chamber[5:35, inner, inner] = True
    lead = np.zeros_like(chamber)
    lead[:, 14:17, 14:17] = True
    axis = np.stack([np.arange(40.0), np.full(40, 15.0), np.full(40, 15.0)], axis=1)
    found = stretches_in_chambers(chain(axis, np.full(40, 1.5)), lead, chamber & ~lead, (1.0, 1.0, 1.0))
    assert len(found) == expected
    for part in found:
        # Before x = 5 the background is 2 mm beside the axis: the points 9 to 30 are far enough from both ends.
        assert part.length_mm == 21.0


def test_no_chamber_and_no_tree_have_no_stretches() -> None:
    nothing = np.zeros((5, 5, 5), bool)
    line = chain(np.array([[0.0, 2, 2], [4, 2, 2]]), np.ones(2))
    assert stretches_in_chambers(line, ~nothing, nothing, (1.0, 1.0, 1.0)) == []
