"""The box about the bulk of the structures: what moves it and what must not."""

import numpy as np
import pytest

from heartmend.geometry.boxes import bulk_box

ONE_MM = (1.0, 1.0, 1.0)
SHAPE = (80, 60, 50)


def heart() -> np.ndarray:
    """A chamber, a wall about it, and a thin vessel beside them."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[20:50, 20:45, 15:40] = 1
    labels[25:45, 25:40, 20:35] = 3
    labels[50:52, 30:32, 15:45] = 9
    return labels


WHOLE = [[20, 20, 15], [52, 45, 45]]
ALL = (1, 3, 9, 10)


def box(labels: np.ndarray, ids: tuple[int, ...] = ALL, spacing: tuple[float, ...] = ONE_MM) -> list[list[int]] | None:
    found = bulk_box(labels, ids, spacing)
    return None if found is None else found.tolist()


def test_it_is_the_smallest_box_about_all_structures() -> None:
    assert box(heart()) == WHOLE


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_order_in_memory_does_not_matter(order: str) -> None:
    assert box(np.asarray(heart(), order=order)) == WHOLE
    assert box(np.ascontiguousarray(heart().transpose(2, 0, 1)).transpose(1, 2, 0)) == WHOLE


@pytest.mark.parametrize("id", [1, 3, 9])
@pytest.mark.parametrize("corner", [(slice(0, 3),) * 3, (slice(74, 80), slice(54, 60), slice(44, 50))])
def test_an_island_in_a_corner_does_not_move_it(id: int, corner: tuple[slice, ...]) -> None:
    labels = heart()
    labels[corner] = id
    assert box(labels) == WHOLE


def test_nor_does_an_island_of_a_structure_that_is_not_there_otherwise() -> None:
    labels = heart()
    labels[70:76, 50:56, 44:50] = 10
    assert box(labels) == WHOLE


def test_nor_does_a_crumb_just_beside_it() -> None:
    labels = heart()
    labels[54, 30, 20] = 9
    assert box(labels) == WHOLE


def test_a_structure_cut_in_two_counts_in_full() -> None:
    labels = heart()
    labels[:, :, 30:33] = 0
    assert box(labels) == WHOLE


def test_a_large_piece_far_off_counts() -> None:
    labels = heart()
    labels[70:80, 0:14, 0:50] = 6
    assert box(labels, (*ALL, 6)) == [[20, 0, 0], [80, 45, 50]]


def test_a_broken_vessel_that_goes_on_nearby_counts() -> None:
    labels = heart()
    labels[50:52, 45:53, 43:45] = 9
    assert box(labels) == [[20, 20, 15], [52, 53, 45]]


def test_near_is_a_matter_of_millimetres() -> None:
    labels = heart()
    labels[60:62, 30:32, 15:35] = 9
    assert box(labels, spacing=ONE_MM) == [[20, 20, 15], [62, 45, 45]]
    assert box(labels, spacing=(2.0, 1.0, 1.0)) == WHOLE


def test_other_ids_and_unknown_voxels_do_not_matter() -> None:
    labels = heart()
    labels[0], labels[-1] = 77, 255
    assert box(labels) == WHOLE
    assert box(labels, (3,)) == [[25, 25, 20], [45, 40, 35]]


@pytest.mark.parametrize("ids", [(), (5,)])
def test_nothing_there_has_no_box(ids: tuple[int, ...]) -> None:
    assert box(heart(), ids) is None
    assert box(np.zeros(SHAPE, dtype=np.uint8)) is None


def test_a_single_voxel_is_a_structure_when_it_is_all_there_is() -> None:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[7, 8, 9] = 3
    assert box(labels) == [[7, 8, 9], [8, 9, 10]]
