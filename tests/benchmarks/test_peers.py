"""Tests of the post-processing of other tools, with answers derived by hand, and of the two scripts at a small size."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from peer_methods import (
    all_but_largest_removed,
    joint_smoothing,
    keep_largest_blobs,
    nnunet,
    nnunet_rule,
    remove_small_blobs,
    remove_small_components,
    shapekit,
)

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MM = (1.0, 1.0, 1.0)


@pytest.fixture
def truth() -> np.ndarray:
    labels = np.zeros((40, 20, 20), np.uint8)
    labels[4:14, 4:14, 4:14] = 1
    labels[14:20, 4:14, 4:14] = 2
    # The second part of structure 2 is real.
    labels[30:36, 4:10, 4:10] = 2
    return labels


@pytest.fixture
def noisy(truth: np.ndarray) -> np.ndarray:
    labels = truth.copy()
    labels[2, 16:18, 16:18] = 1
    # It touches structure 1 by an edge only.
    labels[14, 14, 4:8] = 1
    return labels


def test_largest_blobs_are_connected_by_faces(truth: np.ndarray, noisy: np.ndarray) -> None:
    expected = truth.copy()
    expected[30:36] = 0
    np.testing.assert_array_equal(keep_largest_blobs(noisy, MM), expected)


def test_blobs_are_small_by_their_volume(truth: np.ndarray, noisy: np.ndarray) -> None:
    np.testing.assert_array_equal(remove_small_blobs(noisy, MM), truth)
    # 216 voxels of 0.8 mm are 111 mm³.
    expected = truth.copy()
    expected[30:36] = 0
    np.testing.assert_array_equal(remove_small_blobs(noisy, (0.8, 0.8, 0.8)), expected)


def test_components_are_filtered_by_their_number_of_voxels(truth: np.ndarray, noisy: np.ndarray) -> None:
    # The real part of structure 2 has 216 voxels, the two false ones of structure 1 four each; one of them touches it.
    noisy[14, 14, 4:8] = 1
    found = remove_small_components(noisy, MM, 100)
    assert not found[2].any() and found[14, 14, 4:8].all()
    np.testing.assert_array_equal(found[30:36], truth[30:36])
    assert not remove_small_components(noisy, MM, 500)[30:36].any()


def test_shapekit_gives_a_large_part_to_the_nearer_neighbour_and_drops_a_tenth() -> None:
    labels = np.zeros((60, 20, 20), np.uint8)
    labels[2:12, 5:15, 5:15] = 4
    labels[40:50, 5:15, 5:15] = 5
    # 200 of 1,200 voxels of structure 4 are within structure 5, and 64 more far from everything.
    labels[44:46, 5:15, 5:15] = 4
    labels[24:28, 8:12, 8:12] = 4
    expected = np.zeros_like(labels)
    expected[2:12, 5:15, 5:15] = 4
    expected[40:50, 5:15, 5:15] = 5
    np.testing.assert_array_equal(shapekit(labels, MM), expected)
    # Vessels of several parts have no neighbours: a part of more than a tenth stays.
    vessel = np.zeros_like(labels)
    vessel[2:12, 5:8, 5:8], vessel[30:34, 5:8, 5:8], vessel[50, 5:8, 5:8] = 9, 9, 9
    expected = vessel.copy()
    expected[50] = 0
    np.testing.assert_array_equal(shapekit(vessel, MM), expected)


def test_nnunet_removes_components_only_where_that_raises_dice(truth: np.ndarray, noisy: np.ndarray) -> None:
    # Of the whole foreground, the real part of structure 2 would be lost.
    assert nnunet_rule([(truth, noisy)], (1, 2)) == [(1,)]
    expected = noisy.copy()
    expected[2] = 0
    np.testing.assert_array_equal(nnunet([(1,)])(noisy, MM), expected)
    np.testing.assert_array_equal(all_but_largest_removed(noisy, (1,)), expected)


def test_nnunet_removes_components_of_the_whole_foreground(truth: np.ndarray) -> None:
    truth[30:36] = 0
    far = truth.copy()
    far[30:32, 4:6, 4:6] = 1
    far[36:38, 4:6, 4:6] = 2
    assert nnunet_rule([(truth, far), (truth, truth)], (1, 2)) == [(1, 2)]
    np.testing.assert_array_equal(nnunet([(1, 2)])(far, MM), truth)
    assert nnunet_rule([(truth, truth)], (1, 2)) == []


def test_joint_smoothing_keeps_the_plane_between_structures(truth: np.ndarray) -> None:
    pytest.importorskip("vtk", reason="pip install vtk")
    smoothed = joint_smoothing(truth, MM)
    # Far from edges the planes stay; corners become round.
    np.testing.assert_array_equal(smoothed[6:18, 8:10, 8:10], truth[6:18, 8:10, 8:10])
    assert smoothed[4, 4, 4] == 0 and set(np.unique(smoothed)) == {0, 1, 2}
    assert 0.8 < np.count_nonzero(smoothed == 1) / np.count_nonzero(truth == 1) < 1.05


@pytest.mark.slow
def test_libraries_are_compared_at_a_small_size() -> None:
    command = [sys.executable, str(BENCHMARKS / "library_speed.py"), "--repeat", "1", "--spacing-mm", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for word in ("nibabel", "SimpleITK", "skeletonize", "centreline", "relative", "sizes, MB"):
        assert word in done.stdout
