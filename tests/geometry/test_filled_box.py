"""The box about what is filled, on blocks whose corners are known."""

import numpy as np
import pytest

from heartmend.geometry.boxes import filled_box, widen

BLOCK = (slice(2, 5), slice(0, 3), slice(6, 8))


def block() -> np.ndarray:
    volume = np.zeros((7, 9, 8), np.uint8)
    volume[BLOCK] = 3
    return volume


@pytest.mark.parametrize("volume", [block(), np.asfortranarray(block())])
def test_the_box_is_tight_however_memory_lies(volume: np.ndarray) -> None:
    assert filled_box(volume) == BLOCK
    assert filled_box(np.zeros_like(volume)) is None
    assert filled_box(np.zeros_like(volume), 2) is None


def test_a_margin_ends_with_the_volume() -> None:
    assert filled_box(block(), 1) == (slice(1, 6), slice(0, 4), slice(5, 8))
    assert filled_box(block(), (3, 2, 0)) == (slice(0, 7), slice(0, 5), slice(6, 8))
    assert filled_box(block(), (3, 2, 0)) == widen(BLOCK, (3, 2, 0), block().shape)
