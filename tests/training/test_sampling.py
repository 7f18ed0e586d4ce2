"""Signed distances and targets, by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.geometry.components import without_small_components
from heartmend.geometry.distance import CLIP_MM, STEP_MM, signed_distance_mm, unit_frame_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.training.case_samples import BAND_MM
from heartmend.training.point_set import PointSet
from heartmend.training.sampling import sample_case
from heartmend.types import UNKNOWN
from support.hearts import ellipsoid, target_of


def half_space(axis: int, shape: tuple[int, int, int] = (10, 9, 8), count: int = 4) -> np.ndarray:
    return np.indices(shape)[axis] < count


def test_the_boundary_runs_on_the_faces_between_voxels() -> None:
    line = signed_distance_mm(half_space(0), (1, 1, 1))[:, 4, 4]
    assert line.tolist() == pytest.approx([3.5, 2.5, 1.5, 0.5, -0.5, -1.5, -2.5, -3.5, -4.5, -5.5])


def test_a_corner_by_hand() -> None:
    mask = np.zeros((7, 7, 7), dtype=bool)
    mask[3, 3, 3] = True
    distance = signed_distance_mm(mask, (2, 2, 2))
    assert distance[3, 3, 3] == pytest.approx(1)
    assert distance[3, 3, 5] == pytest.approx(-3)
    assert distance[4, 4, 3] == pytest.approx(1 - 2 * np.sqrt(2))
    assert distance[0, 0, 0] == pytest.approx(max(1 - 6 * np.sqrt(3), -CLIP_MM))


@pytest.mark.parametrize("axis", range(3))
def test_thick_slices(axis: int) -> None:
    """Millimetres along each axis, exact along the finest; the sign is the mask's everywhere."""
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
def test_sign_and_clip(seed: int, spacing: tuple[float, float, float]) -> None:
    mask = np.random.default_rng(seed).random((9, 8, 7)) < 0.4
    distance = signed_distance_mm(mask, spacing)
    assert distance.dtype == np.float32
    assert ((distance > 0) == mask).all()
    assert abs(distance).max() <= CLIP_MM


def test_beyond_the_clip_and_beyond_its_own_box() -> None:
    mask = np.zeros((60, 5, 5), dtype=bool)
    mask[:2] = True
    distance = signed_distance_mm(mask, (1, 1, 1))
    assert (distance[20:] == -CLIP_MM).all()
    assert distance[5, 2, 2] == pytest.approx(-3.5)
    assert (signed_distance_mm(np.zeros((4, 4, 4), dtype=bool), (1, 1, 1)) == -CLIP_MM).all()


def test_where_the_volume_ends_there_is_no_boundary() -> None:
    """A structure that leaves the field of view is not closed there."""
    distance = signed_distance_mm(half_space(0, (12, 5, 5), 6), (1, 1, 1))[:, 2, 2]
    assert distance[:8].tolist() == pytest.approx([5.5, 4.5, 3.5, 2.5, 1.5, 0.5, -0.5, -1.5])


def test_cells_between_voxels_know_the_surface_better_than_to_half_a_cell() -> None:
    """A plane between voxels of 1 mm, seen by cells of 1.6 mm: exact at each, and not its nearest voxel's distance."""
    source = half_space(0, (16, 16, 16), 6).astype(np.uint8)
    roi = Roi(Grid(source.shape, np.eye(4)), (0, 0, 0), (16, 16, 16))
    line = unit_frame_distance_mm(source, roi, 10, 1)[:, 5, 5]
    inner = slice(1, 7)
    assert line[inner].tolist() == pytest.approx([6 - 1.6 * (i + 0.5) for i in range(1, 7)], abs=0.07)


def test_crumbs_go_and_parts_of_a_cut_vessel_stay() -> None:
    mask = np.zeros((40, 12, 12), dtype=bool)
    mask[2:12, 3:8, 3:8] = True
    mask[15:25, 3:8, 3:6] = True
    mask[30, 3, 3] = True
    kept = without_small_components(mask)
    assert kept[:27].sum() == mask[:27].sum()
    assert not kept[30].any()


def off_centre(side: int = 32) -> np.ndarray:
    """An LV that lies off the centre, another way along each axis, and an end of which nothing is known."""
    labels = np.zeros((side,) * 3, dtype=np.uint8)
    labels[ellipsoid(labels.shape, (9, 16, 21), (5, 6, 8))] = 3
    labels[-4:] = UNKNOWN
    return labels


def test_a_target_by_hand() -> None:
    labels = off_centre()
    target = target_of("a", labels, [3, 5], far_share=0.25)
    assert target.present.tolist() == [True, False]
    assert target.centroids[0].tolist() == pytest.approx([(c + 0.5) / 16 - 1 for c in (9, 16, 21)], abs=0.01)
    assert np.isnan(target.centroids[1]).all()
    whole = signed_distance_mm(labels == 3, (2, 2, 2)).reshape(-1)
    assert np.allclose(target.distances[:, 0] * STEP_MM, whole[target.voxels], atol=STEP_MM)
    assert (target.distances[:, 1] == -127).all()
    near = abs(whole[target.voxels]) < BAND_MM
    assert near[: target.band].all() and not near[target.band :].any()
    known = labels.reshape(-1) != UNKNOWN
    assert known[target.voxels].all()
    assert target.band == ((abs(whole) < BAND_MM) & known).sum()
    assert len(np.unique(target.voxels)) == len(target.voxels)
    far = ((abs(whole) >= BAND_MM) & known).sum()
    assert len(target.voxels) - target.band == round(0.25 * far)


def test_a_flipped_and_permuted_source_is_the_same_target() -> None:
    labels = off_centre()[:28]
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    plain = sample_case("a", labels, Roi(Grid(labels.shape, affine), (0, 0, 0), labels.shape), [3], resolution=24)
    turned = np.ascontiguousarray(labels.transpose(2, 0, 1)[:, ::-1])
    turn = np.zeros((4, 4))
    turn[2, 0] = turn[1, 2] = 2
    turn[0, 1], turn[0, 3], turn[3, 3] = -2, 54, 1
    roi = Roi(Grid(turned.shape, turn), (0, 0, 0), turned.shape)
    other = sample_case("a", turned, roi, [3], resolution=24)
    assert np.array_equal(plain.voxels, other.voxels)
    assert np.array_equal(plain.distances, other.distances)
    assert np.allclose(plain.centroids, other.centroids, atol=1e-6)


def test_a_structure_that_the_field_of_view_cuts_has_no_centroid() -> None:
    labels = off_centre()
    labels[10:] = UNKNOWN
    assert np.isnan(target_of("a", labels, [3]).centroids).all()


def test_on_its_own_voxels_a_case_is_told_exactly_what_its_labels_say() -> None:
    """Any number of voxels along each axis, of any size; the listing says where each one is."""
    labels = np.zeros((20, 14, 9), dtype=np.uint8)
    labels[5:12, 4:9, 3:6] = 3
    grid = Grid(labels.shape, np.diag([-1.0, 1.5, 2.5, 1.0]))
    roi = Roi(grid, (2, 1, 0), (20, 14, 9))
    inner = labels[2:, 1:]
    target = sample_case("a", inner, roi, [3], resolution=roi.cells_of_voxels(64))
    assert target.counts == (18, 13, 9)
    listing = PointSet.of([target, target], torch.device("cpu"))
    listed = torch.arange(len(target.voxels))[None].expand(2, -1) + listing.starts[:, None]
    at = roi.unit_to_index(listing.centres(listed, torch.tensor([0, 1])).numpy())
    voxels = np.round(at).astype(int)
    assert np.abs(at - voxels).max() < 1e-4
    assert np.array_equal(voxels[0], voxels[1])
    exact = signed_distance_mm(inner == 3, grid.spacing_mm)[tuple((voxels[0] - [2, 1, 0]).T)]
    assert np.abs(listing.distances_mm(listed[0])[:, 0].numpy() - exact).max() <= STEP_MM / 2 + 1e-5
