"""Coarse lattices, with answers derived by hand."""

from pathlib import Path

import nibabel as nib
import numpy as np
from coarse_cases import CoarseFolder, coarse_grid, coarse_image, coarse_labels, on_grid

from heartmend.geometry.grid import Grid

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def test_the_lattice_has_the_faces_of_the_volume() -> None:
    lattice = coarse_grid(Grid((6, 6, 8), LPS), 2.0)
    # The voxels 0 to 5 of 1 mm reach from 0.5 to -5.5 mm.
    assert lattice.shape == (3, 3, 4)
    np.testing.assert_allclose(lattice.affine @ [0, 0, 0, 1], [-4.5, -4.5, 0.5, 1])


def test_the_most_frequent_label_of_a_voxel() -> None:
    # A voxel of 3 mm has exactly 27 voxels of 1 mm; the axes are reversed.
    labels = np.zeros((6, 3, 3), np.uint8)
    labels[:3] = 4
    labels[2] = 7
    labels[3:, :2, :2] = 11
    np.testing.assert_array_equal(coarse_labels(labels, Grid((6, 3, 3), LPS), 3.0), [[[0]], [[4]]])
    labels[3:, :2] = 11
    np.testing.assert_array_equal(coarse_labels(labels, Grid((6, 3, 3), LPS), 3.0), [[[11]], [[4]]])


def test_a_voxel_is_the_mean_of_the_ct_and_outside_is_air() -> None:
    hu = np.arange(27, dtype=np.int16).reshape(3, 3, 3) * 10
    assert coarse_image(hu, Grid((3, 3, 3), LPS), 3.0).item() == 130
    # A lattice voxel of 4 mm over a volume of 3 mm: the samples at its far face are outside.
    assert coarse_image(np.zeros((3, 3, 3), np.int16), Grid((3, 3, 3), LPS), 6.0).item() < -500


def test_oblique_volumes_keep_their_content() -> None:
    turn = np.deg2rad(30)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    grid = Grid((40, 40, 40), affine)
    centre = grid.index_to_world([20, 12, 25])
    at = np.stack(np.meshgrid(*[np.arange(40)] * 3, indexing="ij"), axis=-1)
    labels = (np.linalg.norm(grid.index_to_world(at.reshape(-1, 3)) - centre, axis=1) < 6).reshape((40,) * 3)
    found = coarse_labels(labels.astype(np.uint8) * 5, grid, 1.7)
    lattice = coarse_grid(grid, 1.7)
    assert set(np.unique(found)) == {0, 5}
    np.testing.assert_allclose(lattice.index_to_world(np.argwhere(found == 5)).mean(axis=0), centre, atol=0.2)
    assert abs(np.count_nonzero(found) * 1.7**3 / np.count_nonzero(labels) - 1) < 0.05
    back = on_grid((found == 5).astype(np.float32), lattice, grid) > 0.5
    assert np.count_nonzero(back != labels) < 0.15 * np.count_nonzero(labels)


def test_volumes_are_resampled_once(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.full((4, 4, 4), 150, np.int16), np.eye(4)), tmp_path / "ct.nii.gz")
    folder = CoarseFolder(tmp_path / "coarse", 2.0)
    first = folder.image(tmp_path / "ct.nii.gz", "own/images/1")
    # -200 to 500 HU are 0 to 1.
    np.testing.assert_allclose(first, np.full((2, 2, 2), 0.5))
    (tmp_path / "ct.nii.gz").unlink()
    np.testing.assert_array_equal(folder.image(tmp_path / "ct.nii.gz", "own/images/1"), first)
