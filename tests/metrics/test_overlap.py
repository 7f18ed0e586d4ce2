"""Overlap of masks whose values are derived by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from heartmend.metrics.overlap import dice, iou


def test_overlap_of_two_slabs_that_share_a_half() -> None:
    a, b = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    a[:2], b[1:3] = True, True
    assert dice(a, b) == 0.5
    assert iou(a, b) == pytest.approx(1 / 3)


def test_overlap_of_empty_masks() -> None:
    empty, full = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    assert dice(empty, empty) == iou(empty, empty) == 1
    assert dice(full, empty) == iou(full, empty) == 0


@settings(max_examples=40, deadline=None)
@given(arrays(bool, (5, 4, 3)), arrays(bool, (5, 4, 3)))
def test_dice_follows_from_iou(a: np.ndarray, b: np.ndarray) -> None:
    assert dice(a, b) == dice(b, a) == pytest.approx(2 * iou(a, b) / (1 + iou(a, b)))
