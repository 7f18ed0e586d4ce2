"""Tests of the data formats of the review page."""

import gzip

import nibabel as nib
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from skimage.color import rgb2lab

from heartmend.anatomy.load import load_anatomy
from heartmend.figures.style import ADDED, RELABELLED, REMOVED
from heartmend.geometry.grid import Grid
from heartmend.review.page_data import LOWEST_HU, STEP_HU, Crop, image_file, pack_maps, unpack_maps
from support.grids import grids


@settings(max_examples=60, deadline=None)
@given(grids(min_size=2), st.data())
def test_every_displayed_voxel_keeps_its_position(grid: Grid, data: st.DataObject) -> None:
    numbers = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    mask = np.zeros(grid.shape, dtype=bool)
    for _ in range(data.draw(st.integers(0, 3))):
        mask[tuple(data.draw(st.integers(0, n - 1)) for n in grid.shape)] = True
    crop = Crop.around(mask, grid, margin_mm=1.0)
    displayed = crop.apply(numbers)
    assert displayed.shape == crop.grid.shape
    assert all(crop.grid.affine[i, i] > 0 or abs(crop.grid.affine[i]).max() > 0 for i in range(3))
    assert crop.apply(mask).sum() == mask.sum()
    for at in np.ndindex(*displayed.shape):
        index = np.rint(grid.world_to_index(crop.grid.index_to_world(at))).astype(int)
        assert numbers[tuple(index)] == displayed[at]
    assert (Crop.from_grid(crop.grid, grid).apply(numbers) == displayed).all()


def test_packed_maps_are_byte_pairs_with_x_fastest() -> None:
    before = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    pairs = np.frombuffer(gzip.decompress(pack_maps(before, before + 100)), np.uint8)
    x, y, z = 1, 0, 2
    at = 2 * (x + 2 * (y + 3 * z))
    assert (pairs[at], pairs[at + 1]) == (before[x, y, z], before[x, y, z] + 100)
    unpacked = unpack_maps(pack_maps(before, before + 100), (2, 3, 4))
    assert np.array_equal(unpacked, (before, before + 100))


def test_no_change_has_the_colour_of_a_structure() -> None:
    """Differences in CIELAB; 10 is a difference that is clear at a glance, two structures can be nearer."""
    changes = rgb2lab(np.array([to_rgb(colour) for colour in (ADDED, REMOVED, RELABELLED)]))
    structures = rgb2lab(np.array([s.colour for s in load_anatomy("heart").structures]) / 255)
    assert np.linalg.norm(changes[:, None] - structures, axis=-1).min() > 10


def test_the_ct_is_stored_in_steps_of_six_hu() -> None:
    grid = Grid((2, 2, 1), np.diag([1.0, 2.0, 3.0, 1.0]))
    hu = np.array([[-2000.0, 40.0], [400.0, 3000.0]])[..., None]
    image = nib.Nifti1Image.from_bytes(image_file(hu, grid))
    assert np.allclose(image.get_fdata()[..., 0], [[-500, 40], [400, 1030]], atol=STEP_HU / 2)
    assert np.array_equal(image.affine, grid.affine)
    assert nib.Nifti1Image.from_bytes(image_file(None, grid)).get_fdata().max() == LOWEST_HU


def test_the_ct_is_converted_to_steps_of_the_display() -> None:
    values = np.random.default_rng(0).normal(0, 700, (5, 6, 7)).astype(np.float32)
    values[0, 0, 0], values[0, 0, 1], values[0, 0, 2] = np.nan, np.inf, -np.inf
    grid = Grid((5, 6, 7), np.eye(4))
    image = nib.Nifti1Image.from_bytes(image_file(values, grid))
    finite = np.nan_to_num(values, nan=LOWEST_HU)
    expected = np.clip(np.rint((finite - LOWEST_HU) / STEP_HU), 0, 255)
    assert np.array_equal(np.asarray(image.dataobj.get_unscaled()), expected)
    assert np.abs(image.get_fdata() - values)[np.abs(values) < 450].max() <= STEP_HU / 2
    assert not np.asarray(nib.Nifti1Image.from_bytes(image_file(None, grid)).dataobj.get_unscaled()).any()
