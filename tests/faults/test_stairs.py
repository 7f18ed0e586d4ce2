"""Stairs found and undone on maps made by hand, and none found where there are none."""

import numpy as np
import pytest

from heartmend.faults import Stairs, find_stairs, without_stairs
from support.hearts import ellipsoid

SHAPE = (48, 50, 52)


def smooth() -> np.ndarray:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[ellipsoid(SHAPE, (20, 25, 26), (13, 17, 20))] = 3
    labels[ellipsoid(SHAPE, (34, 24, 25), (9, 12, 16)) & (labels == 0)] = 5
    return labels


def stepped(labels: np.ndarray, stairs: Stairs) -> np.ndarray:
    """Each slice of a block is the one that was drawn."""
    slices = np.moveaxis(labels.copy(), stairs.axis, 0)
    for start, stop, drawn in stairs.drawn(len(slices)):
        slices[start:stop] = slices[drawn].copy()
    return np.ascontiguousarray(np.moveaxis(slices, 0, stairs.axis))


def test_blocks_by_hand() -> None:
    assert Stairs(0, 3, 0).drawn(7) == [(0, 3, 1), (3, 6, 4), (6, 7, 6)]
    assert Stairs(0, 3, 1).drawn(7) == [(0, 1, 0), (1, 4, 2), (4, 7, 5)]
    assert Stairs(2, 2, 0).drawn(4) == [(0, 2, 1), (2, 4, 3)]


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize(("thickness", "offset"), [(2, 1), (3, 0), (4, 2), (5, 3)])
def test_stairs_are_found_and_undone(axis: int, thickness: int, offset: int) -> None:
    true, stairs = smooth(), Stairs(axis, thickness, offset)
    noisy = stepped(true, stairs)
    assert find_stairs(noisy) == stairs
    before = noisy.copy()
    mended = without_stairs(noisy, stairs, (1, 1, 1), [3, 5])
    assert (noisy == before).all()
    assert mended.shape == noisy.shape and mended.dtype == np.uint8
    assert (mended != true).sum() < 0.9 * (noisy != true).sum()


def test_the_drawn_slices_stay() -> None:
    stairs = Stairs(2, 3, 0)
    noisy = stepped(smooth(), stairs)
    mended = without_stairs(noisy, stairs, (1, 1, 1), [3, 5])
    drawn = [middle for _, _, middle in stairs.drawn(SHAPE[2])]
    assert (mended[:, :, drawn] == noisy[:, :, drawn]).mean() > 0.999


def test_other_structures_are_left_as_they_are() -> None:
    stairs = Stairs(0, 4, 0)
    labels = stepped(smooth(), stairs)
    labels[5:40, 24:26, 25] = 9
    assert find_stairs(labels, [3, 5]) == stairs
    mended = without_stairs(labels, stairs, (1, 1, 1), [3, 5])
    assert ((mended == 9) == (labels == 9)).all()
    assert (without_stairs(labels, stairs, (1, 1, 1), [4]) == labels).all()


@pytest.mark.parametrize("radius", [8, 11.3, 15, 20, 23.5])
def test_a_smooth_ball_has_none(radius: float) -> None:
    for centre in ((24, 25, 26), (23.5, 25.2, 25.7)):
        assert find_stairs(np.where(ellipsoid(SHAPE, centre, (radius,) * 3), 3, 0).astype(np.uint8)) is None


def test_neither_has_a_smooth_heart_a_rough_one_or_nothing() -> None:
    assert find_stairs(smooth()) is None
    rough = smooth()
    rough[np.random.default_rng(0).random(SHAPE) < 0.05] = 0
    assert find_stairs(rough) is None
    assert find_stairs(np.zeros((20, 20, 20), dtype=np.uint8)) is None


def test_blocks_of_uneven_length_are_not_taken_for_stairs() -> None:
    """Nearest slices 1.7 voxels apart: blocks of one and of two, which no single thickness describes."""
    slab = np.floor(np.arange(SHAPE[2]) / 1.7)
    picks = np.clip(np.rint((slab + 0.5) * 1.7 - 0.5).astype(int), 0, SHAPE[2] - 1)
    assert find_stairs(np.ascontiguousarray(smooth()[:, :, picks])) is None


def test_what_moves_sideways_keeps_its_volume() -> None:
    """A thin slanting rod, drawn on every fourth slice: between two drawn slices its sections hardly overlap."""
    at = np.moveaxis(np.indices((60, 24, 60)), 0, -1).astype(float)
    rod = (np.hypot(at[..., 0] - at[..., 2], at[..., 1] - 12) < 4.5).astype(np.uint8) * 3
    stairs = Stairs(2, 4, 0)
    mended = without_stairs(stepped(rod, stairs), stairs, (1, 1, 1), [3])
    inner = slice(8, 52)
    assert (mended[:, :, inner] == 3).sum() == pytest.approx((rod[:, :, inner] == 3).sum(), rel=0.06)
