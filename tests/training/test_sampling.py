"""Samples of a case, compared with hand calculations."""

import numpy as np
import pytest
import torch

from heartmend.geometry.distance import STEP_MM, signed_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.training.point_set import PointSet
from heartmend.training.sampling import BAND_MM, sample_case
from heartmend.types import UNKNOWN
from support.hearts import ellipsoid, samples_of


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


def test_a_limited_number_of_points_represents_the_same_volume() -> None:
    labels = off_centre()
    full, part = (
        samples_of("a", labels, [3], far_share=0.25),
        samples_of("a", labels, [3], far_share=0.25, max_points=2000),
    )
    assert len(part.voxels) == pytest.approx(2000, abs=1)
    assert part.band / full.band == pytest.approx(2000 / len(full.voxels), rel=0.01)
    assert set(part.voxels[: part.band]) <= set(full.voxels[: full.band])
    assert part.volumes == pytest.approx(full.volumes, rel=0.05)
    points = PointSet.from_cases([full, part], torch.device("cpu"))
    assert points.volumes()[1].tolist() == pytest.approx(points.volumes()[0].tolist(), rel=0.05)
    assert samples_of("a", labels, [3], far_share=0.25, max_points=len(full.voxels)).shares == (1.0, 0.25)


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
