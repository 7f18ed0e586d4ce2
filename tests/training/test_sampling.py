"""Signed distances and samples of a case, compared with values derived by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.geometry.components import without_small_components
from heartmend.geometry.distance import CLIP_MM, STEP_MM, signed_distance_mm, unit_frame_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.training.point_set import PointSet
from heartmend.training.sampling import BAND_MM, sample_case
from heartmend.types import UNKNOWN
from support.hearts import ellipsoid, samples_of


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


def test_small_components_are_removed_and_parts_of_an_interrupted_vessel_are_kept() -> None:
    mask = np.zeros((40, 12, 12), dtype=bool)
    mask[2:12, 3:8, 3:8] = True
    mask[15:25, 3:8, 3:6] = True
    mask[30, 3, 3] = True
    kept = without_small_components(mask)
    assert kept[:27].sum() == mask[:27].sum()
    assert not kept[30].any()


def off_centre(side: int = 32) -> np.ndarray:
    """Make an LV at different offsets along each axis, and an unknown end of the volume."""
    labels = np.zeros((side,) * 3, dtype=np.uint8)
    labels[ellipsoid(labels.shape, (9, 16, 21), (5, 6, 8))] = 3
    labels[-4:] = UNKNOWN
    return labels


def test_the_samples_of_a_case() -> None:
    labels = off_centre()
    case = samples_of("a", labels, [3, 5], far_share=0.25)
    assert case.present.tolist() == [True, False]
    assert case.centroids[0].tolist() == pytest.approx([(c + 0.5) / 16 - 1 for c in (9, 16, 21)], abs=0.01)
    assert np.isnan(case.centroids[1]).all()
    exact = signed_distance_mm(labels == 3, (2, 2, 2)).reshape(-1)
    assert np.allclose(case.distances[:, 0] * STEP_MM, exact[case.voxels], atol=STEP_MM)
    assert (case.distances[:, 1] == -127).all()
    near = abs(exact[case.voxels]) < BAND_MM
    assert near[: case.band].all() and not near[case.band :].any()
    known = labels.reshape(-1) != UNKNOWN
    assert known[case.voxels].all()
    assert case.band == ((abs(exact) < BAND_MM) & known).sum()
    assert len(np.unique(case.voxels)) == len(case.voxels)
    far = ((abs(exact) >= BAND_MM) & known).sum()
    assert len(case.voxels) - case.band == round(0.25 * far)


def test_a_flipped_and_permuted_source_gives_the_same_samples() -> None:
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


def test_a_structure_cut_by_the_field_of_view_has_no_centroid() -> None:
    labels = off_centre()
    labels[10:] = UNKNOWN
    assert np.isnan(samples_of("a", labels, [3]).centroids).all()


def test_samples_at_the_native_resolution_are_exact() -> None:
    """With any number and size of voxels along each axis."""
    labels = np.zeros((20, 14, 9), dtype=np.uint8)
    labels[5:12, 4:9, 3:6] = 3
    grid = Grid(labels.shape, np.diag([-1.0, 1.5, 2.5, 1.0]))
    roi = Roi(grid, (2, 1, 0), (20, 14, 9))
    inner = labels[2:, 1:]
    case = sample_case("a", inner, roi, [3], resolution=roi.native_resolution(64))
    assert case.counts == (18, 13, 9)
    points = PointSet.from_cases([case, case], torch.device("cpu"))
    index = torch.arange(len(case.voxels))[None].expand(2, -1) + points.starts[:, None]
    at = roi.unit_to_index(points.centres(index, torch.tensor([0, 1])).numpy())
    voxels = np.round(at).astype(int)
    assert np.abs(at - voxels).max() < 1e-4
    assert np.array_equal(voxels[0], voxels[1])
    exact = signed_distance_mm(inner == 3, grid.spacing_mm)[tuple((voxels[0] - [2, 1, 0]).T)]
    assert np.abs(points.distances_mm(index[0])[:, 0].numpy() - exact).max() <= STEP_MM / 2 + 1e-5
