"""Label maps that were made on a coarser grid, interpolated from it."""

import numpy as np
import pytest

from heartmend.repair.slice_staircase.coarse_grid import without_coarse_grid
from heartmend.repair.slice_staircase.detection import SliceStaircase, find_slice_staircases
from heartmend.repair.slice_staircase.interpolation import without_slice_staircase
from support.staircases import SHAPE, from_coarse_grid, smooth_heart

UNIT = (1, 1, 1)
IDS = (3, 5)


@pytest.mark.parametrize("coarse", [1.7, 2, 2.2, 2.6])
def test_a_coarse_map_comes_nearer_to_the_truth_than_axis_by_axis(coarse: float) -> None:
    true = smooth_heart()
    labels = from_coarse_grid(coarse)
    original = labels.copy()
    staircases = find_slice_staircases(labels)
    result = without_coarse_grid(labels, staircases, UNIT, IDS)
    one_by_one = labels
    for staircase in staircases:
        one_by_one = without_slice_staircase(one_by_one, staircase, UNIT, IDS)
    assert (labels == original).all()
    assert result.shape == labels.shape and result.dtype == np.uint8
    assert (result != true).sum() < 0.55 * (labels != true).sum()
    assert (result != true).sum() < 0.8 * (one_by_one != true).sum()


def test_a_slanted_plane_is_a_plane_again() -> None:
    """Blocks of two voxels, whose centres have sums of 59.5 inside and 61.5 outside: the plane is half-way, at 60.5."""
    x, y, z = np.indices((40, 40, 40))
    labels = np.where(sum(2 * (v // 2) + 0.5 for v in (x, y, z)) < 60, 3, 0).astype(np.uint8)
    result = without_coarse_grid(labels, [SliceStaircase(axis, 2, 0) for axis in range(3)], UNIT, IDS)
    inner = (slice(6, -6),) * 3
    expected = x + y + z < 60.5
    assert ((labels == 3) != expected)[inner].sum() > 200
    assert ((result == 3) == expected)[inner].all()


def test_volumes_stay() -> None:
    labels = from_coarse_grid(2.2)
    result = without_coarse_grid(labels, find_slice_staircases(labels), UNIT, IDS)
    for id in IDS:
        assert (result == id).sum() == pytest.approx((labels == id).sum(), rel=0.02)


def test_a_structure_that_the_scan_cuts_stays_cut() -> None:
    """A box from the first slice on: nothing of its first slice is lost but at its edges."""
    labels = np.zeros((40, 40, 40), dtype=np.uint8)
    labels[:20, 10:30, 10:30] = 3
    result = without_coarse_grid(labels, [SliceStaircase(axis, 2, 0) for axis in range(3)], UNIT, IDS)
    assert (result[0, 13:27, 13:27] == 3).all()


def test_other_structures_do_not_change() -> None:
    labels = from_coarse_grid(2.2)
    labels[5:40, 24:26, 25] = 9
    staircases = find_slice_staircases(labels, IDS)
    assert ((without_coarse_grid(labels, staircases, UNIT, IDS) == 9) == (labels == 9)).all()
    assert (without_coarse_grid(labels, staircases, UNIT, (4,)) == labels).all()


def test_an_axis_without_a_staircase_is_not_made_coarser() -> None:
    """Two axes of blocks of three: a plate five voxels thick along the third axis keeps its thickness."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[9:30, 9:30, 18:23] = 3
    result = without_coarse_grid(labels, [SliceStaircase(0, 3, 0), SliceStaircase(1, 3, 0)], UNIT, IDS)
    assert set(np.flatnonzero(result.any(axis=(0, 1)))) == set(range(18, 23))
    assert (result[12:27, 12:27, 18:23] == 3).all()
