"""The first alignment recovers an affine map that is known."""

from dataclasses import replace

import numpy as np
import pytest

from heartmend.training.alignment import affine_to, medoid
from heartmend.training.case_samples import CaseSamples

RNG = np.random.default_rng(2)
CENTROIDS = RNG.uniform(-0.8, 0.8, (10, 3))
TURN = np.array([[0.9, 0.3, 0.0], [-0.3, 0.9, 0.1], [0.05, 0.0, 1.1]])


def target(id: str, centroids: np.ndarray) -> CaseSamples:
    return CaseSamples(
        case_id=id, counts=(8, 8, 8), size_mm=(64, 64, 64), voxels=np.zeros(0, np.int32), band=0,
        distances=np.zeros((0, len(centroids)), np.int8), far_share=0.05,
        centroids=centroids.astype(np.float32), present=~np.isnan(centroids).any(axis=1),
    )  # fmt: skip


@pytest.mark.parametrize("mirror", [1, -1])
def test_a_known_turn_and_scale_is_recovered(mirror: int) -> None:
    turn = np.linalg.qr(TURN)[0]
    linear = 1.2 * turn @ np.diag([mirror * np.sign(np.linalg.det(turn)), 1, 1])
    shift = np.array([0.1, -0.2, 0.05])
    goal = target("b", CENTROIDS @ linear.T + shift)
    found = affine_to(target("a", CENTROIDS), goal)
    assert np.allclose(found[:, :3], linear, atol=1e-5)
    assert np.allclose(found[:, 3], shift, atol=1e-5)
    assert np.sign(np.linalg.det(found[:, :3])) == mirror


def test_a_shear_is_followed_part_of_the_way() -> None:
    found = affine_to(target("a", CENTROIDS), target("b", CENTROIDS @ TURN.T))
    assert np.abs(found[:, :3] - TURN).max() < 0.5 * np.abs(TURN - np.eye(3)).max()


def test_boxes_of_other_sizes_hold_hearts_of_the_same_size() -> None:
    """Twice the box: the same heart fills half of its unit frame."""
    small, large = target("a", CENTROIDS), replace(target("b", CENTROIDS / 2), size_mm=(128.0, 128.0, 128.0))
    assert np.allclose(affine_to(small, large)[:, :3], np.eye(3) / 2, atol=1e-6)


def test_what_only_one_of_them_shows_does_not_count() -> None:
    source, goal = CENTROIDS.copy(), CENTROIDS + 0.2
    source[0], goal[3] = np.nan, np.nan
    goal[0], source[3] = 50, -50
    found = affine_to(target("a", source), target("b", goal))
    assert np.allclose(found, np.c_[np.eye(3), [0.2] * 3], atol=0.02)


def test_where_centroids_determine_nothing_it_stays_near_the_identity() -> None:
    nowhere = np.full((10, 3), np.nan)
    assert np.allclose(affine_to(target("a", nowhere), target("b", CENTROIDS)), np.eye(3, 4))
    one = nowhere.copy()
    one[0] = (0.5, 0.0, 0.0)
    found = affine_to(target("a", one), target("b", one + 0.1))
    assert np.allclose(found[:, :3], np.eye(3), atol=0.15)
    assert np.allclose(found @ [0.5, 0, 0, 1], [0.6, 0.1, 0.1], atol=0.01)


def test_the_medoid_is_the_middle_case() -> None:
    shifts = (0.5, -0.3, 0.1, 0.0, -0.6)
    assert medoid([target(str(s), CENTROIDS + s) for s in shifts]) == 3


def test_a_whole_heart_is_preferred() -> None:
    cut = CENTROIDS.copy()
    cut[4] = np.nan
    assert medoid([target("0", CENTROIDS + 0.4), target("1", cut), target("2", CENTROIDS - 0.3)]) == 2
    assert medoid([target("0", cut + 0.4), target("1", cut), target("2", cut - 0.3)]) == 1
    assert medoid([target("only", CENTROIDS)]) == 0
