"""Signed distances and distance maps, compared with hand calculations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.geometry.distance import CLIP_MM, STEP_MM, DistanceMap, signed_distance_mm, unit_frame_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi


def half_space(axis: int, shape: tuple[int, int, int] = (10, 9, 8), count: int = 4) -> np.ndarray:
    return np.indices(shape)[axis] < count


def test_the_boundary_is_on_the_faces_between_voxels() -> None:
    line = signed_distance_mm(half_space(0), (1, 1, 1))[:, 4, 4]
    assert line.tolist() == pytest.approx([3.5, 2.5, 1.5, 0.5, -0.5, -1.5, -2.5, -3.5, -4.5, -5.5])


def test_the_distance_to_a_single_voxel() -> None:
    mask = np.zeros((7, 7, 7), dtype=bool)
    mask[3, 3, 3] = True
    distance = signed_distance_mm(mask, (2, 2, 2))
    assert distance[3, 3, 3] == pytest.approx(1)
    assert distance[3, 3, 5] == pytest.approx(-3)
    assert distance[4, 4, 3] == pytest.approx(1 - 2 * np.sqrt(2))
    assert distance[0, 0, 0] == pytest.approx(max(1 - 6 * np.sqrt(3), -CLIP_MM))


@pytest.mark.parametrize("axis", range(3))
def test_distances_of_thick_slices_are_in_mm(axis: int) -> None:
    """Exact along the finest axis; the sign is that of the mask everywhere."""
    spacing = [3.0, 3.0, 3.0]
    spacing[axis] = 0.5
    mask = half_space(axis)
    line = np.moveaxis(signed_distance_mm(mask, spacing), axis, 0)[:, 3, 3]
    assert line[:6].tolist() == pytest.approx([1.75, 1.25, 0.75, 0.25, -0.25, -0.75])
    coarse = half_space((axis + 1) % 3)
    distance = signed_distance_mm(coarse, spacing)
    assert ((distance > 0) == coarse).all()
    line = np.moveaxis(distance, (axis + 1) % 3, 0)[:, 3, 3]
    assert line[2] - line[3] == pytest.approx(3)
    assert line[3] == -line[4]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(1, 1, 1), (0.4, 0.7, 3.0)]))
def test_the_sign_is_that_of_the_mask_and_values_are_clipped(seed: int, spacing: tuple[float, float, float]) -> None:
    mask = np.random.default_rng(seed).random((9, 8, 7)) < 0.4
    distance = signed_distance_mm(mask, spacing)
    assert distance.dtype == np.float32
    assert ((distance > 0) == mask).all()
    assert abs(distance).max() <= CLIP_MM


def test_far_from_the_mask_the_distance_is_clipped() -> None:
    mask = np.zeros((60, 5, 5), dtype=bool)
    mask[:2] = True
    distance = signed_distance_mm(mask, (1, 1, 1))
    assert (distance[20:] == -CLIP_MM).all()
    assert distance[5, 2, 2] == pytest.approx(-3.5)
    assert (signed_distance_mm(np.zeros((4, 4, 4), dtype=bool), (1, 1, 1)) == -CLIP_MM).all()


def test_the_end_of_the_volume_is_not_a_boundary() -> None:
    """A structure that leaves the field of view is not closed there."""
    distance = signed_distance_mm(half_space(0, (12, 5, 5), 6), (1, 1, 1))[:, 2, 2]
    assert distance[:8].tolist() == pytest.approx([5.5, 4.5, 3.5, 2.5, 1.5, 0.5, -0.5, -1.5])


def test_distances_at_cells_between_voxels_are_exact() -> None:
    """A plane between voxels of 1 mm, sampled at cells of 1.6 mm: not the distance of the nearest voxel."""
    source = half_space(0, (16, 16, 16), 6).astype(np.uint8)
    roi = Roi(Grid(source.shape, np.eye(4)), (0, 0, 0), (16, 16, 16))
    line = unit_frame_distance_mm(source, roi, 10, 1)[:, 5, 5]
    inner = slice(1, 7)
    assert line[inner].tolist() == pytest.approx([6 - 1.6 * (i + 0.5) for i in range(1, 7)], abs=0.07)


@pytest.mark.parametrize("keep_inside", [False, True])
def test_a_distance_map_is_exact_to_half_a_step(keep_inside: bool) -> None:
    distance = np.random.default_rng(0).uniform(-9, 9, (6, 5, 4)).astype(np.float32)
    distance[0, 0] = [1e-3, -1e-3, 0.0, 20.0]
    stored = DistanceMap.of_mm(distance, keep_inside=keep_inside)
    tolerance = STEP_MM if keep_inside else 0.5 * STEP_MM
    assert stored.shape == distance.shape and stored.mm.dtype == np.float32
    assert np.abs(stored.mm - np.clip(distance, -CLIP_MM, CLIP_MM)).max() <= 1.001 * tolerance
    assert stored.inside[0, 0].tolist() == [keep_inside, False, False, True]


def test_the_distance_map_of_a_mask_has_its_voxels_inside() -> None:
    mask = half_space(0)
    assert (DistanceMap.of_mask(mask, (1, 1, 1)).inside == mask).all()
