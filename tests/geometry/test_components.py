"""Connected components, and the box around the main components of several structures."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import generate_binary_structure, label

from heartmend.geometry.boxes import full_box
from heartmend.geometry.components import (
    count_components,
    find_components,
    in_small_components,
    label_components,
    largest_component,
    main_components_box,
    without_small_components,
)

ONE_MM = (1.0, 1.0, 1.0)
SHAPE = (80, 60, 50)


def heart() -> np.ndarray:
    """A chamber, a wall around it, and a thin vessel beside them."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[20:50, 20:45, 15:40] = 1
    labels[25:45, 25:40, 20:35] = 3
    labels[50:52, 30:32, 15:45] = 9
    return labels


HEART_BOX = [[20, 20, 15], [52, 45, 45]]
ALL = (1, 3, 9, 10)


def box(labels: np.ndarray, ids: tuple[int, ...] = ALL, spacing: tuple[float, ...] = ONE_MM) -> list[list[int]] | None:
    found = main_components_box(labels, ids, spacing)
    return None if found is None else [[side.start for side in found], [side.stop for side in found]]


def test_the_box_contains_all_structures_and_is_tight() -> None:
    assert box(heart()) == HEART_BOX


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_box_does_not_depend_on_the_memory_order(order: str) -> None:
    assert box(np.asarray(heart(), order=order)) == HEART_BOX
    assert box(np.ascontiguousarray(heart().transpose(2, 0, 1)).transpose(1, 2, 0)) == HEART_BOX


@pytest.mark.parametrize("id", [1, 3, 9])
@pytest.mark.parametrize("corner", [(slice(0, 3),) * 3, (slice(74, 80), slice(54, 60), slice(44, 50))])
def test_a_false_component_in_a_corner_does_not_move_the_box(id: int, corner: tuple[slice, ...]) -> None:
    labels = heart()
    labels[corner] = id
    assert box(labels) == HEART_BOX


def test_a_far_component_of_an_otherwise_absent_structure_does_not_move_the_box() -> None:
    labels = heart()
    labels[70:76, 50:56, 44:50] = 10
    assert box(labels) == HEART_BOX


def test_a_small_component_nearby_does_not_move_the_box() -> None:
    labels = heart()
    labels[54, 30, 20] = 9
    assert box(labels) == HEART_BOX


def test_both_parts_of_an_interrupted_structure_count() -> None:
    labels = heart()
    labels[:, :, 30:33] = 0
    assert box(labels) == HEART_BOX


def test_a_large_far_component_counts() -> None:
    labels = heart()
    labels[70:80, 0:14, 0:50] = 6
    assert box(labels, (*ALL, 6)) == [[20, 0, 0], [80, 45, 50]]


def test_the_next_segment_of_an_interrupted_vessel_counts() -> None:
    labels = heart()
    labels[50:52, 45:53, 43:45] = 9
    assert box(labels) == [[20, 20, 15], [52, 53, 45]]


def test_distances_between_components_are_in_mm() -> None:
    labels = heart()
    labels[60:62, 30:32, 15:35] = 9
    assert box(labels, spacing=ONE_MM) == [[20, 20, 15], [62, 45, 45]]
    assert box(labels, spacing=(2.0, 1.0, 1.0)) == HEART_BOX


def test_other_ids_and_unknown_voxels_are_ignored() -> None:
    labels = heart()
    labels[0], labels[-1] = 77, 255
    assert box(labels) == HEART_BOX
    assert box(labels, (3,)) == [[25, 25, 20], [45, 40, 35]]


@pytest.mark.parametrize("ids", [(), (5,)])
def test_absent_structures_have_no_box(ids: tuple[int, ...]) -> None:
    assert box(heart(), ids) is None
    assert box(np.zeros(SHAPE, dtype=np.uint8)) is None


def test_a_single_voxel_can_be_the_largest_component() -> None:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[7, 8, 9] = 3
    assert box(labels) == [[7, 8, 9], [8, 9, 10]]


@settings(max_examples=40, deadline=None)
@given(arrays(bool, (6, 5, 4)))
@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_components_agree_with_scipy(connectivity: int, mask: np.ndarray) -> None:
    expected, count = label(mask, generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[connectivity]))
    labels, sizes = label_components(mask, connectivity)  # type: ignore[arg-type]
    assert count_components(mask, connectivity) == count == len(sizes) - 1  # type: ignore[arg-type]
    assert sizes[0] == 0 and sorted(sizes[1:]) == sorted(np.bincount(expected.ravel())[1:])
    assert ((labels > 0) == mask).all()
    found = find_components(mask, connectivity=connectivity)  # type: ignore[arg-type]
    assert [c.voxels for c in found] == sorted(sizes[1:], reverse=True)
    rebuilt = [c.in_box(full_box(mask.shape)) for c in found]
    assert (np.sum(rebuilt, axis=0) == mask).all() if rebuilt else not mask.any()
    assert largest_component(mask, connectivity).sum() == sizes.max()  # type: ignore[arg-type]
    assert without_small_components(mask, share=1.0).sum() % max(label_components(mask)[1].max(), 1) == 0


def test_boxes_of_components_are_in_the_indices_of_the_volume() -> None:
    volume = np.zeros((9, 9, 9), bool)
    volume[4:6, 7, 8] = True
    box = (slice(3, 8), slice(5, 9), slice(8, 9))
    (component,) = find_components(volume[box], box)
    assert component.box == (slice(4, 6), slice(7, 8), slice(8, 9)) and component.voxels == 2
    assert component.at_border(volume.shape) and not component.at_border((10, 10, 10))


def test_small_components_are_removed_and_parts_of_an_interrupted_vessel_are_kept() -> None:
    mask = np.zeros((40, 12, 12), dtype=bool)
    mask[2:12, 3:8, 3:8] = True
    mask[15:25, 3:8, 3:6] = True
    mask[30, 3, 3] = True
    kept = without_small_components(mask)
    assert kept[:27].sum() == mask[:27].sum()
    assert not kept[30].any()


@settings(max_examples=150)
@given(
    arrays(np.uint8, (6, 5, 7), elements=st.sampled_from([0, 0, 1, 2, 255])), st.integers(1, 5), st.sampled_from("CF")
)
def test_voxels_of_small_components_are_those_of_all_components(
    labels: np.ndarray, max_voxels: int, order: str
) -> None:
    expected = np.zeros(labels.shape, dtype=bool)
    for id in np.unique(labels):
        numbers, _ = label(labels == id)
        expected |= (np.bincount(numbers.ravel()) <= max_voxels)[numbers] & (labels == id)
    found = in_small_components(np.asarray(labels, order=order), max_voxels)
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=100)
@given(arrays(bool, (6, 5, 7)), st.sampled_from([6, 18, 26]), st.sampled_from("CF"))
def test_components_are_found_in_their_own_box_as_in_the_whole_volume(mask: np.ndarray, n: int, order: str) -> None:
    volume = np.zeros((16, 15, 17), dtype=bool, order=order)
    volume[3:9, 6:11, 5:12] = mask
    numbers, count = label(volume, generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[n]))
    labels, sizes = label_components(volume, n)
    assert labels.shape == volume.shape
    assert sorted(sizes[1:]) == sorted(np.bincount(numbers[volume], minlength=1)[1:])
    assert sizes[0] == 0
    # The same voxels are together: each number of one labelling goes with one of the other.
    pairs = set(zip(labels[volume].tolist(), numbers[volume].tolist(), strict=True))
    assert len(pairs) == count == len(sizes) - 1 == count_components(volume, n)
    parts = find_components(volume, connectivity=n)
    assert [part.voxels for part in parts] == sorted(sizes[1:], reverse=True)
    together = np.zeros_like(volume)
    for part in parts:
        assert int(part.mask.sum()) == part.voxels
        together[part.box] |= part.mask
    np.testing.assert_array_equal(together, volume)


@pytest.mark.parametrize("shape", list(product((1, 2, 3, 5, 6), repeat=3)))
def test_single_voxels_in_thin_boxes_are_components(shape: tuple[int, int, int]) -> None:
    """cc3d 4.1 fails on such masks: its estimate of their number is too low."""
    mask = (np.indices(shape) % 2 == 0).all(axis=0)
    assert count_components(mask) == int(mask.sum())
    assert [part.voxels for part in find_components(mask)] == [1] * int(mask.sum())
