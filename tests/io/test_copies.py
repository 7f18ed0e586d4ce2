"""Copies of label maps are found whatever their files are; other label maps are not."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartmend.geometry.grid import Grid, Orientation
from heartmend.io.copies import Content, content_of, describe_copies

ORIENTATIONS = [
    Orientation((x, y, z), (a, b, c))
    for x, y, z in permutations(range(3)) for a, b, c in product((False, True), repeat=3)
]  # fmt: skip


def small_map(seed: int) -> np.ndarray:
    labels = np.zeros((9, 10, 11), dtype=np.uint8)
    labels[2:7, 1:8, 3:9] = np.random.default_rng(seed).integers(0, 5, (5, 7, 6))
    return labels


@given(st.integers(0, 50), st.sampled_from(ORIENTATIONS), st.integers(0, 3))
def test_order_and_direction_of_the_axes_and_the_margin_do_not_count(
    seed: int, orientation: Orientation, margin: int
) -> None:
    labels, grid = small_map(seed), Grid((9, 10, 11), np.diag([-0.7, -0.8, 1.2, 1.0]))
    turned = np.pad(orientation.apply(labels), margin)
    moved = orientation.apply_to_grid(grid)
    padded = Grid(turned.shape, moved.affine)
    assert content_of(turned, padded) == content_of(labels, grid)


@pytest.mark.parametrize("orientation", ORIENTATIONS[1:])
def test_a_copy_whose_grid_was_lost_is_mirrored_or_turned(orientation: Orientation) -> None:
    labels = small_map(3)
    turned = orientation.apply(labels)
    first, second = content_of(labels, Grid(labels.shape, np.eye(4))), content_of(turned, Grid(turned.shape, np.eye(4)))
    assert first is not None and second is not None
    assert first.digest == second.digest and first.axes != second.axes
    texts = describe_copies({"1": first, "2": second, "3": Content("other", first.axes)})
    assert texts["2"] == "the same label map as 1, which is mirrored or turned beside it; remove all but one"
    assert set(texts) == {"1", "2"}


def test_one_other_voxel_makes_another_label_map() -> None:
    labels = small_map(1)
    changed = labels.copy()
    changed[4, 4, 5] = 6
    grid = Grid(labels.shape, np.eye(4))
    first, second = content_of(labels, grid), content_of(changed, grid)
    assert first is not None and second is not None and first.digest != second.digest
    assert content_of(np.zeros_like(labels), grid) is None
