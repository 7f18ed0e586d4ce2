"""Bounding boxes of blocks with known corners."""

import numpy as np
import pytest

from heartmend.geometry.boxes import bounding_box, boxes_by_id, expand_box

BLOCK = (slice(2, 5), slice(0, 3), slice(6, 8))


def block() -> np.ndarray:
    volume = np.zeros((7, 9, 8), np.uint8)
    volume[BLOCK] = 3
    return volume


@pytest.mark.parametrize("volume", [block(), np.asfortranarray(block())])
def test_the_bounding_box_is_tight_in_either_memory_order(volume: np.ndarray) -> None:
    assert bounding_box(volume) == BLOCK
    assert bounding_box(np.zeros_like(volume)) is None
    assert bounding_box(np.zeros_like(volume), 2) is None


def test_a_margin_is_clipped_to_the_volume() -> None:
    assert bounding_box(block(), 1) == (slice(1, 6), slice(0, 4), slice(5, 8))
    assert bounding_box(block(), (3, 2, 0)) == (slice(0, 7), slice(0, 5), slice(6, 8))
    assert bounding_box(block(), (3, 2, 0)) == expand_box(BLOCK, (3, 2, 0), block().shape)


@pytest.mark.parametrize("labels", [block(), np.asfortranarray(block()), block().transpose(2, 0, 1)])
def test_every_id_has_its_own_box(labels: np.ndarray) -> None:
    labels = labels.copy(order="K")
    labels[6, 0, 0] = 7
    boxes = boxes_by_id(labels)
    assert list(boxes) == [3, 7]
    assert boxes[3] == bounding_box(labels == 3) and boxes[7] == (slice(6, 7), slice(0, 1), slice(0, 1))
    assert boxes_by_id(labels, max_id=3) == {3: boxes[3]}
