"""Label maps whose slice staircases are repaired."""

import numpy as np
import pytest

from heartmend.repair.slice_staircase.detection import SliceStaircase, find_slice_staircases
from heartmend.repair.slice_staircase.interpolation import volume_offset_mm, without_slice_staircase
from support.staircases import SHAPE, resampled, smooth_heart, with_staircase

UNIT = (1, 1, 1)


def repaired(labels: np.ndarray, staircase: SliceStaircase, ids: tuple[int, ...] = (3, 5)) -> np.ndarray:
    return without_slice_staircase(labels, staircase, UNIT, ids)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize(("thickness", "offset"), [(2, 1), (3, 0), (4, 2), (5, 3)])
def test_a_staircase_is_repaired(axis: int, thickness: int, offset: int) -> None:
    true, staircase = smooth_heart(), SliceStaircase(axis, thickness, offset)
    labels = with_staircase(true, staircase)
    original = labels.copy()
    result = repaired(labels, staircase)
    assert (labels == original).all()
    assert result.shape == labels.shape and result.dtype == np.uint8
    assert (result != true).sum() < 0.9 * (labels != true).sum()


@pytest.mark.parametrize("thickness", [1.57, 1.72, 2.31, 2.6])
@pytest.mark.parametrize("flipped", [False, True])
def test_a_staircase_of_fractional_thickness_is_repaired(thickness: float, flipped: bool) -> None:
    true = smooth_heart()
    labels = resampled(true, thickness, (1,))
    if flipped:
        true, labels = true[:, ::-1], np.ascontiguousarray(labels[:, ::-1])
    (staircase,) = find_slice_staircases(labels)
    assert (repaired(labels, staircase) != true).sum() < 0.75 * (labels != true).sum()


def test_the_drawn_slices_do_not_change() -> None:
    staircase = SliceStaircase(2, 3, 0)
    labels = with_staircase(smooth_heart(), staircase)
    drawn = [int(middle) for _, _, middle in staircase.blocks(SHAPE[2])]
    assert (repaired(labels, staircase)[:, :, drawn] == labels[:, :, drawn]).mean() > 0.999


def test_other_structures_do_not_change() -> None:
    staircase = SliceStaircase(0, 4, 0)
    labels = with_staircase(smooth_heart(), staircase)
    labels[5:40, 24:26, 25] = 9
    assert ((repaired(labels, staircase) == 9) == (labels == 9)).all()
    assert (repaired(labels, staircase, ids=(4,)) == labels).all()


def test_the_offset_gives_the_nearest_possible_volume() -> None:
    """Interpolated distances are multiples of half a voxel: the next value may add far too many voxels."""
    depth_mm = np.array([0.5] * 10 + [0.0] * 4 + [-0.5] * 40, dtype=np.float32)
    assert ((depth_mm + volume_offset_mm(depth_mm, 16, 0.5)) > 0).sum() == 14  # and not all 54
    assert ((depth_mm + volume_offset_mm(depth_mm, 13, 0.5)) > 0).sum() == 14
    assert ((depth_mm + volume_offset_mm(depth_mm, 11, 0.5)) > 0).sum() == 10


def test_a_structure_that_shifts_sideways_keeps_its_volume() -> None:
    """A thin slanting rod, drawn on every fourth slice: the sections of two drawn slices hardly overlap."""
    at = np.moveaxis(np.indices((60, 24, 60)), 0, -1).astype(float)
    rod = (np.hypot(at[..., 0] - at[..., 2], at[..., 1] - 12) < 4.5).astype(np.uint8) * 3
    staircase = SliceStaircase(2, 4, 0)
    result = repaired(with_staircase(rod, staircase), staircase, ids=(3,))
    inner = slice(8, 52)
    assert (result[:, :, inner] == 3).sum() == pytest.approx((rod[:, :, inner] == 3).sum(), rel=0.06)


@pytest.mark.parametrize("staircase", [SliceStaircase(2, 3, 1), SliceStaircase(0, 4, 2), SliceStaircase(1, 2.5, 0.5)])
def test_a_long_scan_is_repaired_as_a_short_one(staircase: SliceStaircase) -> None:
    low, high = 120, 70
    ends = [(low, high) if axis == staircase.axis else (3, 40) for axis in range(3)]
    labels = with_staircase(smooth_heart(), staircase)
    (short,), (long,) = find_slice_staircases(labels, [3, 5]), find_slice_staircases(np.pad(labels, ends), [3, 5])
    assert (long.axis, long.thickness) == (short.axis, short.thickness)
    assert (long.offset - short.offset - low) % short.thickness == pytest.approx(0, abs=0.3)
    moved = SliceStaircase(short.axis, short.thickness, short.offset + low)
    assert (repaired(np.pad(labels, ends), moved) == np.pad(repaired(labels, short), ends)).all()
