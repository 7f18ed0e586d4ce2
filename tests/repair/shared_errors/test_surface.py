"""Tests of the patches of a surface and of its samples, on spheres."""

import numpy as np
import pytest

from heartmend.geometry.distance import DistanceMap
from heartmend.repair.shared_errors.surface import MAX_PATCH_MM, PATCH_MM, divide_surface, sample_surface

SIZE_MM = np.full(3, 96.0)


def sphere_mm(side: int, radius_mm: float, spacing_mm: float = 1.0, centre: float | None = None) -> np.ndarray:
    """Signed distance to a sphere in the middle of a cube, in mm."""
    middle = (side - 1) / 2 if centre is None else centre
    at = np.indices((side,) * 3) - middle
    return (radius_mm - spacing_mm * np.sqrt((at**2).sum(axis=0))).astype(np.float32)


def test_patches_lie_on_the_surface_and_apart_from_each_other() -> None:
    patches = divide_surface(sphere_mm(48, 24.0, 2.0), SIZE_MM)
    assert patches is not None
    places = patches.centres * 48
    assert np.linalg.norm(places, axis=1) == pytest.approx(24.0, abs=0.5)
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + 1e9 * np.eye(len(places))
    assert apart.min() >= PATCH_MM
    # Every place of the sphere is nearer to a centre than the distance of two centres.
    directions = np.random.default_rng(0).normal(size=(500, 3))
    on_sphere = 24 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    assert np.linalg.norm(on_sphere[:, None] - places[None], axis=-1).min(axis=1).max() < PATCH_MM + 0.5


def test_a_point_far_from_the_surface_has_no_patch() -> None:
    patches = divide_surface(sphere_mm(48, 24.0, 2.0), SIZE_MM)
    assert patches is not None
    on, far = np.array([[0.5, 0.0, 0.0]]), np.array([[0.5 + (MAX_PATCH_MM + 5) / 48, 0.0, 0.0]])
    assert patches.nearest(on)[0] == patches.nearest(on * 1.01)[0] >= 0
    assert patches.nearest(far)[0] == -1


def test_a_structure_that_the_template_lacks_has_no_patches() -> None:
    assert divide_surface(np.full((8, 8, 8), -5.0), SIZE_MM) is None


def test_samples_lie_on_the_surface_with_outward_normals() -> None:
    distance = sphere_mm(41, 14.0)
    samples = sample_surface(
        DistanceMap.of_mm(distance), (distance > 0).astype(np.uint8), 1, np.ones(3), np.random.default_rng(0)
    )
    assert samples is not None
    outward = samples.points - 20
    assert np.linalg.norm(outward, axis=1) == pytest.approx(14.0, abs=0.8)
    assert np.linalg.norm(outward, axis=1).mean() == pytest.approx(14.0, abs=0.1)
    assert np.einsum("ij,ij->i", samples.normals, outward / 14).min() > 0.94
    assert set(samples.neighbours) == {0} and samples.in_contact.all()
    # The middle lies 14 mm deep; the depth is measured at voxels, up to 6 mm.
    assert samples.thickness_mm.min() > 5.0 and samples.thickness_mm.max() <= 6.0


def test_the_neighbour_is_what_lies_outside() -> None:
    distance = sphere_mm(41, 12.0)
    labels = (distance > 0).astype(np.uint8)
    x, y, _ = np.indices(labels.shape)
    labels[(labels == 0) & (x > 20)] = 2
    # On one side a gap of nearly two voxels lies between the two.
    labels[(labels == 2) & (distance > -1.6) & (y > 20)] = 0
    samples = sample_surface(DistanceMap.of_mm(distance), labels, 1, np.ones(3), np.random.default_rng(0))
    assert samples is not None
    high_x, high_y = samples.normals[:, 0] > 0.6, samples.normals[:, 1] > 0.4
    assert np.mean(samples.neighbours[high_x] == 2) > 0.85
    assert samples.in_contact[high_x & (samples.normals[:, 1] < -0.4)].all()
    assert np.mean(samples.in_contact[high_x & high_y]) < 0.3
    assert np.mean(samples.neighbours[samples.normals[:, 0] < -0.6] == 0) > 0.95


def test_a_structure_of_a_few_voxels_has_no_samples() -> None:
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[4, 4, 4] = 1
    found = sample_surface(DistanceMap.of_mask(labels == 1, (1, 1, 1)), labels, 1, np.ones(3), np.random.default_rng(0))
    assert found is None
