"""Centrelines of straight tubes, with values derived by hand."""

import numpy as np
import pytest
from skimage.morphology import skeletonize

from heartmend.metrics.centreline import centreline_overlap, centreline_precision, cldice
from heartmend.metrics.segment import segments


def tube(width: int, start: int = 5, stop: int = 55, at: int = 7) -> np.ndarray:
    mask = np.zeros((60, 15, 15), bool)
    half = width // 2
    mask[start:stop, at - half : at + half + 1, at - half : at + half + 1] = True
    return mask


def test_cldice_ignores_width_and_counts_a_missing_half() -> None:
    assert cldice(tube(3), tube(5)) > 0.95
    half = tube(3) & (np.arange(60) < 30)[:, None, None]
    assert cldice(half, tube(5)) == pytest.approx(2 / 3, abs=0.05)


def test_empty_masks() -> None:
    empty = np.zeros((60, 15, 15), bool)
    assert cldice(empty, empty) == 1
    assert cldice(tube(3), empty) == 0
    assert centreline_overlap(*segments((empty, empty), (1, 1, 1))) == 1
    assert centreline_overlap(*segments((tube(3), empty), (1, 1, 1))) == 0


def test_a_vessel_of_even_width_has_a_centreline() -> None:
    """Plain thinning removes it completely."""
    even = np.zeros((20, 8, 8), bool)
    even[4:13, 2:4, 2:4] = True
    assert not skeletonize(even).any()
    assert cldice(even, even) == centreline_overlap(*segments((even, even), (1, 1, 1))) == 1


def test_two_lines_overlap_within_the_tolerance_in_mm() -> None:
    beside = segments((tube(1), tube(1, at=9)), (1.0, 0.5, 0.5))  # two voxels apart along both axes: 1.41 mm
    assert centreline_overlap(*beside, tolerance_mm=1.5) == 1
    assert centreline_overlap(*beside, tolerance_mm=1.4) == 0
    assert centreline_overlap(*segments((tube(1), tube(1, at=9)), (0.1, 2, 2))) == 0


def test_half_a_line_overlaps_with_that_half_and_one_point() -> None:
    """25 of 25 points and 25 + 1 of 50."""
    found = centreline_overlap(*segments((tube(1, stop=30), tube(1)), (1.0, 1.0, 1.0)), tolerance_mm=1.5)
    assert found == pytest.approx((25 + 26) / 75, abs=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_the_definition_written_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = tube(5) & (rng.random((60, 15, 15)) < 0.97), tube(3, start=9, at=8)
    line_a, line_b = skeletonize(a) > 0, skeletonize(b) > 0
    precision, recall = b[line_a].mean(), a[line_b].mean()
    assert cldice(a, b) == pytest.approx(2 * precision * recall / (precision + recall))
    far_a, far_b = (
        np.linalg.norm(np.argwhere(x)[:, None] - np.argwhere(y)[None], axis=2).min(axis=1)
        for x, y in ((line_a, line_b), (line_b, line_a))
    )
    share = np.concatenate([far_a, far_b]) <= 1.5
    assert centreline_overlap(*segments((a, b), (1, 1, 1))) == pytest.approx(share.mean())


def test_precision_and_recall_of_half_a_line() -> None:
    """All 25 points of the half are on the line; 25 + 1 of its 50 points are within 1.5 mm of the half."""
    half, full = segments((tube(1, stop=30), tube(1)), (1.0, 1.0, 1.0))
    assert centreline_precision(half, full) == 1
    assert centreline_precision(full, half) == pytest.approx(26 / 50, abs=0.02)
    empty = segments((np.zeros_like(tube(1)), tube(1)), (1, 1, 1))[0]
    assert centreline_precision(empty, empty) == 1 and centreline_precision(empty, full) == 0
