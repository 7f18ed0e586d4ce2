"""SliceStaircase found and undone on maps made by hand, and none found where there are none."""

import numpy as np
import pytest

from heartmend.repair.slice_staircase import SliceStaircase, _shortfall, find_slice_staircases, without_slice_staircase
from support.hearts import ellipsoid

SHAPE = (48, 50, 52)


def smooth() -> np.ndarray:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[ellipsoid(SHAPE, (20, 25, 26), (13, 17, 20))] = 3
    labels[ellipsoid(SHAPE, (34, 24, 25), (9, 12, 16)) & (labels == 0)] = 5
    return labels


def stepped(labels: np.ndarray, staircases: SliceStaircase) -> np.ndarray:
    """Each slice of a block is the one that was drawn."""
    slices = np.moveaxis(labels.copy(), staircases.axis, 0)
    for start, stop, drawn in staircases.blocks(len(slices)):
        slices[start:stop] = slices[round(drawn)].copy()
    return np.ascontiguousarray(np.moveaxis(slices, 0, staircases.axis))


def resampled(labels: np.ndarray, thickness: float, axes: tuple[int, ...]) -> np.ndarray:
    """Put onto slices `thickness` voxels apart and back, nearest neighbours in space both times."""
    for axis in axes:
        count = labels.shape[axis]
        drawn = (np.floor((np.arange(count) + 0.5) / thickness) + 0.5) * thickness
        labels = labels.take(np.clip(np.floor(drawn).astype(int), 0, count - 1), axis=axis)
    return np.ascontiguousarray(labels)


def test_blocks_by_hand() -> None:
    assert SliceStaircase(0, 3, 0).blocks(7) == [(0, 3, 1), (3, 6, 4), (6, 7, 6)]
    assert SliceStaircase(0, 3, 1).blocks(7) == [(0, 1, 0), (1, 4, 2), (4, 7, 5)]
    assert SliceStaircase(2, 2, 0).blocks(4) == [(0, 2, 1), (2, 4, 3)]  # between 0 and 1: the later


def test_uneven_blocks_by_hand() -> None:
    """Edges at -0.5, 2, 4.5 and 7: blocks of two, three and two slices, whose middles lie 2.5 apart."""
    assert SliceStaircase(0, 2.5, -0.5).blocks(7) == [(0, 2, 0.75), (2, 5, 3.25), (5, 7, 5.75)]


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize(("thickness", "offset"), [(2, 1), (3, 0), (4, 2), (5, 3)])
def test_stairs_are_found_and_undone(axis: int, thickness: int, offset: int) -> None:
    true, staircases = smooth(), SliceStaircase(axis, thickness, offset)
    noisy = stepped(true, staircases)
    assert find_slice_staircases(noisy) == (staircases,)
    before = noisy.copy()
    mended = without_slice_staircase(noisy, staircases, (1, 1, 1), [3, 5])
    assert (noisy == before).all()
    assert mended.shape == noisy.shape and mended.dtype == np.uint8
    assert (mended != true).sum() < 0.9 * (noisy != true).sum()


def test_the_drawn_slices_stay() -> None:
    staircases = SliceStaircase(2, 3, 0)
    noisy = stepped(smooth(), staircases)
    mended = without_slice_staircase(noisy, staircases, (1, 1, 1), [3, 5])
    drawn = [int(middle) for _, _, middle in staircases.blocks(SHAPE[2])]
    assert (mended[:, :, drawn] == noisy[:, :, drawn]).mean() > 0.999


def test_other_structures_are_left_as_they_are() -> None:
    staircases = SliceStaircase(0, 4, 0)
    labels = stepped(smooth(), staircases)
    labels[5:40, 24:26, 25] = 9
    assert find_slice_staircases(labels, [3, 5]) == (staircases,)
    mended = without_slice_staircase(labels, staircases, (1, 1, 1), [3, 5])
    assert ((mended == 9) == (labels == 9)).all()
    assert (without_slice_staircase(labels, staircases, (1, 1, 1), [4]) == labels).all()


@pytest.mark.parametrize("radius", [8, 11.3, 15, 20, 23.5])
def test_a_smooth_ball_has_none(radius: float) -> None:
    for centre in ((24, 25, 26), (23.5, 25.2, 25.7)):
        assert find_slice_staircases(np.where(ellipsoid(SHAPE, centre, (radius,) * 3), 3, 0).astype(np.uint8)) == ()


def test_neither_has_a_smooth_heart_a_rough_one_or_nothing() -> None:
    assert find_slice_staircases(smooth()) == ()
    rough = smooth()
    rough[np.random.default_rng(0).random(SHAPE) < 0.05] = 0
    assert find_slice_staircases(rough) == ()
    assert find_slice_staircases(np.zeros((20, 20, 20), dtype=np.uint8)) == ()


@pytest.mark.parametrize("thickness", [1.57, 1.72, 2.31, 2.6])
@pytest.mark.parametrize("flipped", [False, True])
def test_blocks_of_uneven_length_are_found_and_undone(thickness: float, flipped: bool) -> None:
    true = smooth()
    noisy = resampled(true, thickness, (1,))
    if flipped:
        true, noisy = true[:, ::-1], np.ascontiguousarray(noisy[:, ::-1])
    (staircases,) = find_slice_staircases(noisy)
    assert staircases.axis == 1
    assert staircases.thickness == pytest.approx(thickness, abs=0.03)
    mended = without_slice_staircase(noisy, staircases, (1, 1, 1), [3, 5])
    assert (mended != true).sum() < 0.75 * (noisy != true).sum()


def test_a_map_from_a_coarser_grid_has_stairs_along_every_axis() -> None:
    true = smooth()
    noisy = mended = resampled(true, 2.2, (0, 1, 2))
    found = find_slice_staircases(noisy)
    assert [staircases.axis for staircases in found] == [0, 1, 2]
    for staircases in found:
        mended = without_slice_staircase(mended, staircases, (1, 1, 1), [3, 5])
    assert (mended != true).sum() < 0.7 * (noisy != true).sum()


def test_a_volume_between_two_steps_takes_the_nearer() -> None:
    """Depths of an interpolated map are multiples of half a voxel: one step more may be far too much."""
    depth = np.array([0.5] * 10 + [0.0] * 4 + [-0.5] * 40, dtype=np.float32)
    assert ((depth + _shortfall(depth, 16, 0.5)) > 0).sum() == 14  # and not all 54
    assert ((depth + _shortfall(depth, 13, 0.5)) > 0).sum() == 14
    assert ((depth + _shortfall(depth, 11, 0.5)) > 0).sum() == 10


def test_what_moves_sideways_keeps_its_volume() -> None:
    """A thin slanting rod, drawn on every fourth slice: between two drawn slices its sections hardly overlap."""
    at = np.moveaxis(np.indices((60, 24, 60)), 0, -1).astype(float)
    rod = (np.hypot(at[..., 0] - at[..., 2], at[..., 1] - 12) < 4.5).astype(np.uint8) * 3
    staircases = SliceStaircase(2, 4, 0)
    mended = without_slice_staircase(stepped(rod, staircases), staircases, (1, 1, 1), [3])
    inner = slice(8, 52)
    assert (mended[:, :, inner] == 3).sum() == pytest.approx((rod[:, :, inner] == 3).sum(), rel=0.06)


@pytest.mark.parametrize("staircases", [SliceStaircase(2, 3, 1), SliceStaircase(0, 4, 2), SliceStaircase(1, 2.5, 0.5)])
def test_a_heart_in_a_long_scan_has_the_same_stairs(staircases: SliceStaircase) -> None:
    low, high = 120, 70
    ends = [(low, high) if axis == staircases.axis else (3, 40) for axis in range(3)]
    noisy = stepped(smooth(), staircases)
    (here,), (there,) = find_slice_staircases(noisy, [3, 5]), find_slice_staircases(np.pad(noisy, ends), [3, 5])
    assert (there.axis, there.thickness) == (here.axis, here.thickness)
    assert (there.offset - here.offset - low) % here.thickness == pytest.approx(0, abs=0.3)
    mended = without_slice_staircase(noisy, here, (1, 1, 1), [3, 5])
    moved = SliceStaircase(here.axis, here.thickness, here.offset + low)
    assert (without_slice_staircase(np.pad(noisy, ends), moved, (1, 1, 1), [3, 5]) == np.pad(mended, ends)).all()
