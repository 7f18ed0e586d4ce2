"""Conversion between the voxels of a source and the unit frame of its ROI."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from support.grids import grids

# A scanner's usual order: x to the left, y to the back, z up.
LPS = np.diag([-1.0, -1.0, 2.0, 1.0])


@st.composite
def rois(draw: st.DrawFn, max_tilt_degrees: float = 40) -> Roi:
    """A box on any grid: inside, across the border, or around the full volume."""
    grid = draw(grids(min_size=2, max_tilt_degrees=max_tilt_degrees))
    start = tuple(draw(st.integers(-4, n - 1)) for n in grid.shape)
    stop = tuple(draw(st.integers(max(a, 0) + 1, n + 4)) for a, n in zip(start, grid.shape, strict=True))
    return Roi(grid, start, stop)


def random_labels(grid: Grid, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 11, grid.shape, dtype=np.uint8)


def reoriented(roi: Roi, array: np.ndarray) -> tuple[Roi, np.ndarray]:
    """The same box of the same volume, stored with permuted and flipped axes."""
    axes, flips = (2, 0, 1), (True, False, True)
    shape = [roi.grid.shape[a] for a in axes]
    start, stop = [roi.start[a] for a in axes], [roi.stop[a] for a in axes]
    to_old = np.zeros((4, 4))
    to_old[3, 3] = 1
    for new, (old, flip) in enumerate(zip(axes, flips, strict=True)):
        to_old[old, new] = -1 if flip else 1
        if flip:
            to_old[old, 3] = roi.grid.shape[old] - 1
            start[new], stop[new] = shape[new] - stop[new], shape[new] - start[new]
    stored = array.transpose(axes)[tuple(slice(None, None, -1) if f else slice(None) for f in flips)]
    return Roi(Grid(tuple(shape), roi.grid.affine @ to_old), tuple(start), tuple(stop)), stored


def test_the_unit_frame_agrees_with_a_hand_calculation() -> None:
    """Ten voxels of 1 mm along x, stored leftwards: -1 is the face of the last voxel, 1 that of the first."""
    roi = Roi(Grid((10, 6, 4), LPS), start=(0, 0, 0), stop=(10, 6, 4))
    assert roi.axes == (0, 1, 2)
    assert roi.signs == (-1, -1, 1)
    assert roi.size_mm == (10, 6, 8)
    assert roi.unit_to_index([[-1, -1, -1], [0, 0, 0], [1, 1, 1]]).tolist() == [
        [9.5, 5.5, -0.5], [4.5, 2.5, 1.5], [-0.5, -0.5, 3.5],
    ]  # fmt: skip
    assert roi.index_to_unit((0, 0, 0)).tolist() == pytest.approx([0.9, 5 / 6, -0.75])


@given(rois(), st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3))
def test_conversions_of_coordinates_and_rois_are_invertible(roi: Roi, point: list[float]) -> None:
    assert np.allclose(roi.index_to_unit(roi.unit_to_index(point)), point, atol=1e-12)
    assert Roi.from_dict(json.loads(json.dumps(roi.to_dict()))) == roi


@given(rois(max_tilt_degrees=30))
def test_unit_axes_point_right_anterior_and_superior(roi: Roi) -> None:
    steps = roi.grid.index_to_world(roi.unit_to_index(np.eye(3))) - roi.grid.index_to_world(
        roi.unit_to_index([0, 0, 0])
    )
    assert (np.diag(steps) > 0).all()
    assert np.allclose(2 * np.linalg.norm(steps, axis=1), roi.size_mm)


@given(rois())
def test_source_axes_are_the_unit_coordinates_of_the_voxels_in_the_box(roi: Roi) -> None:
    box, separable = roi.source_box(), roi.source_axes()
    voxels = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"), axis=-1)
    points = roi.index_to_unit(voxels)
    assert (np.abs(points) < 1).all()
    for unit_axis, source_axis in enumerate(separable.axes):
        along = np.moveaxis(points[..., unit_axis], source_axis, 0)
        coordinates = separable.coordinates[source_axis]
        assert coordinates.dtype == np.float32
        assert np.allclose(along, coordinates[:, None, None], atol=1e-6)


@given(rois(), st.integers(1, 9))
def test_each_cell_has_the_label_of_the_voxel_at_its_centre(roi: Roi, resolution: int) -> None:
    labels = random_labels(roi.grid)
    cells = roi.resample_labels(labels, resolution)
    centres = (np.stack(np.meshgrid(*[np.arange(resolution)] * 3, indexing="ij"), axis=-1) + 0.5) / resolution * 2 - 1
    index = roi.unit_to_index(centres)
    voxel = np.rint(index).astype(int)
    decided = (np.abs(index - voxel) < 0.499).all(axis=-1)
    inside = ((voxel >= 0) & (voxel < roi.grid.shape)).all(axis=-1)
    expected = np.full(cells.shape, 255)
    expected[inside] = labels[tuple(voxel[inside].T)]
    assert cells.dtype == np.uint8
    assert (cells[decided] == expected[decided]).all()


@given(rois())
def test_at_the_resolution_of_the_source_resampling_is_invertible(roi: Roi) -> None:
    labels = random_labels(roi.grid)
    counts = tuple(roi.stop[a] - roi.start[a] for a in roi.axes)
    cells = roi.resample_labels(labels, counts)
    voxels = np.argwhere(np.ones(roi.grid.shape, bool))
    of_voxel = np.floor((roi.index_to_unit(voxels) + 1) / 2 * counts + 1e-9).astype(int)
    inside = ((of_voxel >= 0) & (of_voxel < counts)).all(axis=1)
    assert (cells[tuple(of_voxel[inside].T)] == labels[tuple(voxels[inside].T)]).all()
    assert (cells != 255).sum() == labels[roi.source_box()].size
    image = np.random.default_rng(1).uniform(-200, 500, roi.grid.shape).astype(np.float32)
    back = roi.image_to_source(roi.resample_image(image, counts))
    assert np.allclose(back * 700 - 200, image[roi.source_box()], atol=0.05)


@given(rois())
def test_cells_of_the_native_resolution_are_voxels_up_to_a_limit(roi: Roi) -> None:
    counts = roi.native_resolution(10_000)
    cells_mm = np.array(roi.size_mm) / counts
    assert np.allclose(cells_mm, np.array(roi.grid.spacing_mm)[list(roi.axes)])
    fewer = roi.native_resolution(2)
    assert max(fewer) <= 2 and min(fewer) >= 1


@given(rois(), st.integers(1, 9))
def test_the_grid_of_the_cells_agrees_with_the_unit_frame(roi: Roi, resolution: int) -> None:
    grid = roi.grid_at(resolution)
    cell = np.random.default_rng(0).integers(0, resolution, (5, 3))
    world = roi.grid.index_to_world(roi.unit_to_index((cell + 0.5) / resolution * 2 - 1))
    assert grid.shape == (resolution,) * 3
    assert np.allclose(grid.index_to_world(cell), world, atol=1e-6)
    assert np.allclose(np.multiply(grid.spacing_mm, resolution), roi.size_mm)


@given(rois(max_tilt_degrees=30), st.integers(1, 9))
def test_resampling_does_not_depend_on_the_order_of_the_stored_axes(roi: Roi, resolution: int) -> None:
    labels = random_labels(roi.grid)
    other, stored = reoriented(roi, labels)
    assert (other.resample_labels(stored, resolution) == roi.resample_labels(labels, resolution)).all()
    image = labels.astype(np.float32) * 40
    same = np.allclose(
        other.resample_image(stored * 40.0, resolution), roi.resample_image(image, resolution), atol=1e-5
    )
    assert same
    assert np.allclose(other.size_mm, roi.size_mm)


@settings(max_examples=30)
@given(rois(), st.integers(1, 12))
def test_a_linear_image_stays_linear(roi: Roi, resolution: int) -> None:
    """Linear interpolation preserves a linear image where its kernel does not reach the border."""
    slope = np.array([3.0, -5.0, 7.0])
    image = np.moveaxis(np.indices(roi.grid.shape), 0, -1) @ slope
    cells = roi.resample_image(image, resolution, window_hu=(-400, 400))
    centres = (np.stack(np.meshgrid(*[np.arange(resolution)] * 3, indexing="ij"), axis=-1) + 0.5) / resolution * 2 - 1
    index = roi.unit_to_index(centres)
    reach = np.maximum(1, np.subtract(roi.stop, roi.start) / resolution)
    box = roi.source_box()
    low, high = np.array([s.start for s in box]) + reach, np.array([s.stop for s in box]) - 1 - reach
    clear = ((index >= low) & (index <= high)).all(axis=-1)
    # Between voxels a widened triangle is linear to a few percent of its width only.
    slack = 1e-4 if (reach == 1).all() else 0.03
    assert np.allclose(cells[clear], ((index @ slope + 400) / 800)[clear], atol=slack)


@given(rois(), st.integers(2, 12), st.data())
def test_a_part_of_a_field_is_resampled_as_the_whole_is(roi: Roi, resolution: int, data: st.DataObject) -> None:
    shape = tuple(side.stop - side.start for side in roi.source_box())
    starts = [data.draw(st.integers(0, n)) for n in shape]
    x, y, z = (slice(start, data.draw(st.integers(start, n))) for start, n in zip(starts, shape, strict=True))
    whole = np.full(shape, -8.0, dtype=np.float32)
    whole[x, y, z] = np.random.default_rng(0).normal(size=whole[x, y, z].shape)
    found = roi.resample_field(whole[x, y, z], resolution, (x, y, z), -8.0)
    assert np.allclose(found, roi.resample_field(whole, resolution), atol=1e-4)


def test_a_ct_is_windowed_and_0_outside() -> None:
    grid = Grid((4, 4, 4), np.eye(4))
    image = np.full(grid.shape, 150, dtype=np.int16)
    image[0], image[3] = -3000, 3000
    cells = Roi(grid, (0, 0, -2), (4, 4, 4)).resample_image(image, (4, 4, 6))
    assert cells.dtype == np.float32
    assert (cells[:, :, :2] == 0).all()
    assert np.allclose(cells[:, 0, 4], [0, 0.5, 0.5, 1])


def test_stripes_finer_than_a_cell_are_averaged_and_do_not_alias() -> None:
    """Two voxels of eight are bright, those around the centres of the cells."""
    grid = Grid((64, 64, 64), np.eye(4))
    image = np.where(np.isin(np.indices(grid.shape)[0] % 8, (3, 4)), 500, -200)
    cells = Roi(grid, (0, 0, 0), grid.shape).resample_image(image, 8)
    assert np.allclose(cells[1:-1], 0.25, atol=1e-5)


def test_nan_in_an_image_is_air() -> None:
    grid = Grid((2, 2, 2), np.eye(4))
    image = np.array([np.nan, np.inf, -np.inf, 150] * 2).reshape(2, 2, 2)
    cells = Roi(grid, (0, 0, 0), (2, 2, 2)).resample_image(image, 2)
    assert np.allclose(np.unique(cells), [0, 0.5, 1])


def test_the_margin_of_an_roi_may_extend_beyond_the_volume() -> None:
    labels = np.zeros((30, 30, 12), dtype=np.uint8)
    labels[12:18, 14:20, 0:6] = 3
    roi = Roi.around(labels, Grid(labels.shape, LPS), load_anatomy("heart"), margin_voxels=10)
    assert (roi.start, roi.stop) == ((2, 4, -10), (28, 30, 16))
    assert roi.source_box() == (slice(2, 28), slice(4, 30), slice(0, 12))
    cells = roi.resample_labels(labels, (26, 26, 26))
    assert (cells[:, :, :10] == 255).all()
    assert (cells[:, :, 22:] == 255).all()
    assert (cells[:, :, 10:22] != 255).all()
    assert Roi.around(labels, roi.grid, [3]) == roi


def test_a_far_component_does_not_move_the_roi() -> None:
    labels = np.zeros((64, 64, 64), dtype=np.uint8)
    labels[20:40, 20:40, 20:40] = 3
    clean = Roi.around(labels, Grid(labels.shape, LPS), load_anatomy("heart"))
    labels[0:4, 0:4, 0:4] = 3
    labels[60:64, 60:64, 60:64] = 8
    assert Roi.around(labels, clean.grid, load_anatomy("heart")) == clean


def test_an_empty_map_has_no_roi() -> None:
    labels = np.zeros((4, 4, 4), dtype=np.uint8)
    with pytest.raises(BadInputError, match="none of the structures 2, 3"):
        Roi.around(labels, Grid(labels.shape, LPS), [2, 3])


def test_a_volume_of_another_shape_is_an_error() -> None:
    roi = Roi(Grid((4, 4, 4), LPS), (0, 0, 0), (4, 4, 4))
    for resample in (roi.resample_labels, roi.resample_image):
        with pytest.raises(BadInputError, match="does not fit the ROI's grid"):
            resample(np.zeros((4, 4, 5)))
    with pytest.raises(BadInputError, match="start < stop"):
        Roi(roi.grid, (0, 0, 0), (4, 0, 4))
    with pytest.raises(BadInputError, match="resolution"):
        roi.grid_at(0)
