"""Tests of corrections by hand, with voxels derived by hand."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.repair.editing.session import EditedCase, Operation, apply_operation
from heartmend.repair.editing.strokes import Stroke, stroke_mask
from heartmend.repair.editing.tools import bridge, erase, grow_to_edge, interpolate_slices, paint

# Voxels of 1 x 1 x 2 mm, x to the left.
GRID = Grid((24, 20, 12), np.array([[-1.0, 0, 0, 10], [0, 1, 0, -5], [0, 0, 2, 3], [0, 0, 0, 1]]))


def at(*index: float) -> np.ndarray:
    return GRID.index_to_world([index])


def empty() -> np.ndarray:
    return np.zeros(GRID.shape, np.uint8)


coordinate = st.floats(-4, 28)


@given(
    st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=1, max_size=3), st.floats(0.4, 6),
    st.sampled_from([None, 0, 1, 2]),
)  # fmt: skip
def test_a_stroke_is_the_voxels_within_its_radius(points: list, radius: float, axis: int | None) -> None:
    line = GRID.index_to_world(points)
    # The middle between two slices may be either.
    assume(axis is None or abs(points[0][axis] % 1 - 0.5) > 1e-6)
    box, mask = stroke_mask(Stroke(line, radius, axis), GRID)
    drawn = np.zeros(GRID.shape, bool)
    drawn[box] = mask
    ends = np.array(points, float)
    if axis is not None:
        ends[:, axis] = np.rint(ends[0, axis])
    spacing = np.array(GRID.spacing_mm)
    centres = np.indices(GRID.shape).reshape(3, -1).T * spacing
    distance = np.full(len(centres), np.inf)
    for a, b in zip(ends * spacing, (ends * spacing)[[*range(1, len(ends)), -1]], strict=True):
        way = b - a
        t = np.clip((centres - a) @ way / max(way @ way, 1e-12), 0, 1)
        distance = np.minimum(distance, np.linalg.norm(centres - a - t[:, None] * way, axis=1))
    near = distance.reshape(GRID.shape)
    expected = near <= radius
    if axis is not None:
        expected &= np.indices(GRID.shape)[axis] == ends[0, axis]
    # The line is sampled at a quarter of a voxel: an error of up to 0.06 mm for the smallest brush.
    uncertain = np.abs(near - radius) < 0.06
    assert (drawn == expected)[~uncertain].all()


def test_the_eraser_takes_its_own_structure_only() -> None:
    labels = empty()
    labels[5:10], labels[10:15] = 3, 4
    erased = erase(labels, GRID, Stroke(at(10, 10, 5), 3.0), 3)
    assert (erased[9, 10, 5], erased[10, 10, 5], erased[5, 10, 5]) == (0, 4, 3)
    assert (labels[9, 10, 5]) == 3
    assert paint(labels, GRID, Stroke(at(10, 10, 5), 0.5), 3)[10, 10, 5] == 3


def test_growth_stops_at_the_edge_of_the_ct() -> None:
    """The label is 4 voxels short of the edge on the right, and 3 too far on the left of another edge."""
    image = np.where(np.indices(GRID.shape)[0] < 15, 300.0, -50.0)
    labels = empty()
    labels[2:11] = 3
    grown = grow_to_edge(labels, image, GRID, Stroke(at(13, 10, 6), 4.0), 3)
    assert (grown[11:15, 10, 6] == 3).all() and grown[15, 10, 6] == 0
    assert (grown[:, 0, 0] == labels[:, 0, 0]).all()
    too_wide = empty()
    too_wide[2:18] = 3
    shrunk = grow_to_edge(too_wide, image, GRID, Stroke(at(16, 10, 6), 4.0), 3)
    assert (shrunk[13:15, 10, 6] == 3).all() and (shrunk[15:18, 10, 6] == 0).all()
    with pytest.raises(BadInputError, match="must cross the boundary"):
        grow_to_edge(labels, image, GRID, Stroke(at(21, 10, 6), 2.0), 3)


def test_slices_between_two_drawn_ones_are_interpolated() -> None:
    """Squares with half sides of 2 and 6 at slices 2 and 6: 4 at slice 4."""
    labels = empty()
    labels[8:13, 8:13, 2], labels[4:17, 4:17, 6] = 3, 3
    labels[0, 0, 4] = 5
    found = interpolate_slices(labels, GRID, 2, [6, 2], 3)
    assert found[10, :, 4].nonzero()[0].tolist() == list(range(6, 15))
    assert found[10, :, 3].nonzero()[0].tolist() == list(range(7, 14))
    assert (found[..., [0, 1, 2, 6, 7]] == labels[..., [0, 1, 2, 6, 7]]).all() and found[0, 0, 4] == 5
    with pytest.raises(BadInputError, match="at least two slices"):
        interpolate_slices(labels, GRID, 2, [2, 2], 3)


def test_a_bridge_follows_the_lumen() -> None:
    """The lumen makes a detour by y = 14 between two ends at y = 8."""
    grid = Grid((40, 24, 9), np.eye(4))
    image = np.full(grid.shape, -50.0)
    lumen = np.zeros(grid.shape, bool)
    lumen[0:12, 7:10, 3:6], lumen[28:40, 7:10, 3:6] = True, True
    lumen[9:12, 7:17, 3:6], lumen[28:31, 7:17, 3:6], lumen[9:31, 14:17, 3:6] = True, True, True
    image[lumen] = 350.0
    labels = np.zeros(grid.shape, np.uint8)
    labels[0:9, 7:10, 3:6], labels[31:40, 7:10, 3:6] = 9, 9
    ends = np.array([[8.0, 8, 4], [31.0, 8, 4]])
    joined = bridge(labels, image, grid, ends, 9)
    added = (joined == 9) & (labels == 0)
    assert added[20, 15, 4] and not added[20, 8, 4]
    assert lumen[added].mean() > 0.85
    straight = bridge(labels, None, grid, ends, 9)
    assert straight[20, 8, 4] == 9 and straight[20, 15, 4] == 0
    blocked = labels.copy()
    blocked[18:20, :, :] = 4
    assert (bridge(blocked, None, grid, ends, 9)[18:20] == 4).all()
    with pytest.raises(BadInputError, match="at neither end"):
        bridge(labels, image, grid, np.array([[20.0, 20, 4], [22.0, 20, 4]]), 9)


def apply_operations(case: EditedCase, operations: list[Operation]) -> np.ndarray:
    """The label map of a case after some operations in order."""
    labels = case.labels
    for number, operation in enumerate(operations):
        labels = apply_operation(case, labels, operation, operations[:number])
    return labels


def test_operations_are_undone_by_leaving_them_out() -> None:
    image = np.where(np.indices(GRID.shape)[0] < 15, 300.0, -50.0)
    case = EditedCase(empty(), GRID, image)
    first = Operation("paint", 3, at(10, 10, 2), 4.0, 2)
    second = Operation("paint", 3, at(10, 10, 6), 4.0, 2)
    between = Operation("interpolate", 3, np.zeros((0, 3)), axis=2)
    all_of_them = apply_operations(case, [first, second, between])
    assert (all_of_them[10, 10, 2:7] == 3).all() and not all_of_them[..., [1, 7]].any()
    assert (apply_operations(case, [first, second])[10, 10, 3:6] == 0).all()
    with pytest.raises(BadInputError, match="at least two slices"):
        # The slices of another structure do not count.
        apply_operations(case, [first, Operation("paint", 4, at(10, 10, 6), 4.0, 2), between])
    assert not case.labels.any()
