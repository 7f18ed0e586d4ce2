"""Initial alignment: known affine maps are recovered, and the medoid is found."""

from dataclasses import replace

import numpy as np
import pytest

from heartmend.training.alignment import find_medoid, fit_affine
from heartmend.training.sampling import CaseSamples

RNG = np.random.default_rng(2)
CENTROIDS = RNG.uniform(-0.8, 0.8, (10, 3))
MATRIX = np.array([[0.9, 0.3, 0.0], [-0.3, 0.9, 0.1], [0.05, 0.0, 1.1]])


def case(id: str, centroids: np.ndarray) -> CaseSamples:
    return CaseSamples(
        case_id=id, counts=(8, 8, 8), size_mm=(64, 64, 64), voxels=np.zeros(0, np.int32), band=0,
        distances=np.zeros((0, len(centroids)), np.int8), shares=(1.0, 0.05),
        centroids=centroids.astype(np.float32), present=~np.isnan(centroids).any(axis=1),
    )  # fmt: skip


@pytest.mark.parametrize("mirror", [1, -1])
def test_a_known_rotation_and_scale_is_recovered(mirror: int) -> None:
    rotation = np.linalg.qr(MATRIX)[0]
    linear = 1.2 * rotation @ np.diag([mirror * np.sign(np.linalg.det(rotation)), 1, 1])
    shift = np.array([0.1, -0.2, 0.05])
    goal = case("b", CENTROIDS @ linear.T + shift)
    found = fit_affine(case("a", CENTROIDS), goal)
    assert np.allclose(found[:, :3], linear, atol=1e-5)
    assert np.allclose(found[:, 3], shift, atol=1e-5)
    assert np.sign(np.linalg.det(found[:, :3])) == mirror


def test_a_shear_is_recovered_partly() -> None:
    found = fit_affine(case("a", CENTROIDS), case("b", CENTROIDS @ MATRIX.T))
    assert np.abs(found[:, :3] - MATRIX).max() < 0.5 * np.abs(MATRIX - np.eye(3)).max()


def test_the_size_of_the_box_is_taken_into_account() -> None:
    """In a box of twice the size the same heart fills half of the unit frame."""
    small, large = case("a", CENTROIDS), replace(case("b", CENTROIDS / 2), size_mm=(128.0, 128.0, 128.0))
    assert np.allclose(fit_affine(small, large)[:, :3], np.eye(3) / 2, atol=1e-6)


def test_structures_of_only_one_case_do_not_count() -> None:
    source, goal = CENTROIDS.copy(), CENTROIDS + 0.2
    source[0], goal[3] = np.nan, np.nan
    goal[0], source[3] = 50, -50
    found = fit_affine(case("a", source), case("b", goal))
    assert np.allclose(found, np.c_[np.eye(3), [0.2] * 3], atol=0.02)


def test_with_few_centroids_the_map_is_near_the_identity() -> None:
    nowhere = np.full((10, 3), np.nan)
    assert np.allclose(fit_affine(case("a", nowhere), case("b", CENTROIDS)), np.eye(3, 4))
    one = nowhere.copy()
    one[0] = (0.5, 0.0, 0.0)
    found = fit_affine(case("a", one), case("b", one + 0.1))
    assert np.allclose(found[:, :3], np.eye(3), atol=0.15)
    assert np.allclose(found @ [0.5, 0, 0, 1], [0.6, 0.1, 0.1], atol=0.01)


def test_the_medoid_is_the_central_case() -> None:
    shifts = (0.5, -0.3, 0.1, 0.0, -0.6)
    assert find_medoid([case(str(s), CENTROIDS + s) for s in shifts]) == 3


def test_a_complete_heart_is_preferred_as_medoid() -> None:
    cut = CENTROIDS.copy()
    cut[4] = np.nan
    assert find_medoid([case("0", CENTROIDS + 0.4), case("1", cut), case("2", CENTROIDS - 0.3)]) == 2
    assert find_medoid([case("0", cut + 0.4), case("1", cut), case("2", cut - 0.3)]) == 1
    assert find_medoid([case("only", CENTROIDS)]) == 0
