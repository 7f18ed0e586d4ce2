"""Phantom cohorts: reproducible cases, varying grids, and the written files."""

from __future__ import annotations

import csv
from pathlib import Path

import cc3d
import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from heartmend.compute.progress import as_progress
from heartmend.phantom.cohort import PhantomSettings, _reorient, make_case, make_cohort, write_cohort
from heartmend.phantom.plan import VENAE_CAVAE, Label

COARSE_MM = 3.0
COARSE = PhantomSettings(spacing_mm=COARSE_MM)


def test_a_case_depends_on_seed_and_index_only() -> None:
    first, second = make_cohort(2, seed=4, settings=COARSE)
    again = make_case(1, 4, COARSE)
    assert again.corruptions == second.corruptions and again.id == "002"
    for name in ("truth", "noisy", "image", "affine"):
        np.testing.assert_array_equal(getattr(again, name), getattr(second, name))
    assert first.truth.shape != second.truth.shape or (first.truth != second.truth).any()


def test_types_and_grid_of_a_case() -> None:
    case = make_case(0, 1, COARSE)
    assert case.truth.dtype == case.noisy.dtype == np.uint8 and case.image.dtype == np.int16
    assert case.truth.shape == case.noisy.shape == case.image.shape
    assert set(np.unique(case.truth)) == set(range(11))
    assert set(np.unique(case.noisy)) <= set(range(11))
    assert np.prod(case.spacing_mm) == pytest.approx(COARSE_MM**3, rel=0.25)


def test_venae_cavae_are_added_to_the_same_hearts() -> None:
    plain, case = (
        make_case(1, 4, PhantomSettings(2.0, faults="harsh", vary_grid=False, venae_cavae=v)) for v in (False, True)
    )
    added = np.isin(case.truth, VENAE_CAVAE)
    np.testing.assert_array_equal(np.where(added, 0, case.truth), plain.truth)
    assert case.corruptions[: len(plain.corruptions)] == plain.corruptions
    assert [name for name in case.corruptions if "SVC" in name] and (case.noisy == Label.IVC).any()
    for label in VENAE_CAVAE:
        vein = case.truth == label
        assert 3 < vein.sum() * 0.008 < 40  # ml
        # Each is one tube that continues the right atrium.
        assert cc3d.connected_components(vein).max() == 1
        assert (binary_dilation(vein) & (case.truth == Label.RA)).any()
    height = [np.argwhere(case.truth == label)[:, 2].mean() for label in (Label.IVC, Label.RA, Label.SVC)]
    assert height == sorted(height)


def test_the_size_can_be_set() -> None:
    case = make_case(3, 2, PhantomSettings(COARSE_MM, size=(56, 54, 60)))
    assert case.truth.shape == (56, 54, 60)


def test_grids_vary_between_cases_unless_they_are_set() -> None:
    varied = [make_case(i, 9, PhantomSettings(4.0)) for i in range(12)]
    assert len({nib.aff2axcodes(case.affine) for case in varied}) > 1
    oblique = [np.abs(case.affine[:3, :3] / np.array(case.spacing_mm)).max(axis=0).min() < 0.9999 for case in varied]
    assert any(oblique) and not all(oblique)
    assert len({case.spacing_mm for case in varied}) > 6
    plain = make_case(0, 9, PhantomSettings(4.0, vary_grid=False))
    np.testing.assert_allclose(plain.affine[:3, :3], np.diag([-4.0, -4.0, 4.0]))


@pytest.mark.parametrize("seed", range(12))
def test_a_reoriented_grid_keeps_all_distances(seed: int) -> None:
    volume = np.zeros((5, 6, 7), np.uint8)
    places = {1: (0, 0, 0), 2: (4, 1, 2), 3: (2, 5, 3), 4: (1, 2, 6)}
    for label, place in places.items():
        volume[place] = label
    affine = np.array([[-0.9, 0, 0, 10], [0, -1.1, 0, 5], [0, 0, 2.0, -7], [0, 0, 0, 1.0]])
    (turned,), moved = _reorient([volume], affine, np.random.default_rng(seed), keep_shape=False)

    def world(of: np.ndarray, grid: np.ndarray) -> np.ndarray:
        return np.array([nib.affines.apply_affine(grid, np.argwhere(of == label)[0]) for label in places])

    before, after = world(volume, affine), world(turned, moved)
    rigid, *_ = np.linalg.lstsq(np.c_[before, np.ones(4)], after, rcond=None)
    np.testing.assert_allclose(rigid[:3] @ rigid[:3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rigid[:3]) == pytest.approx(1)


def test_the_files_of_a_written_cohort(tmp_path: Path) -> None:
    reports: list[tuple[str, int, int, str]] = []
    progress = as_progress(lambda *report: reports.append(report))
    ids = write_cohort(tmp_path, 2, 5, COARSE, progress=progress)
    assert reports == [("phantom", 0, 2, ""), ("phantom", 1, 2, "001"), ("phantom", 2, 2, "002")]
    assert ids == ["001", "002"]
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    folders = ("images", "labels_noisy", "labels_true")
    assert files == sorted(["cases.csv", *(f"{folder}/{case}.nii.gz" for folder in folders for case in ids)])
    case = make_case(1, 5, COARSE)
    for folder, volume in zip(folders, (case.image, case.noisy, case.truth), strict=True):
        image = nib.load(tmp_path / folder / "002.nii.gz")
        assert image.get_data_dtype() == volume.dtype
        np.testing.assert_array_equal(np.asarray(image.dataobj), volume)
        np.testing.assert_allclose(image.affine, case.affine, atol=1e-4)
    with (tmp_path / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ids and rows[1]["corruptions"] == ";".join(case.corruptions)


def test_without_images_the_label_maps_are_the_same(tmp_path: Path) -> None:
    # The axes of this case are flipped.
    full, labels = (make_case(0, 9, PhantomSettings(COARSE_MM, images=images)) for images in (True, False))
    assert full.image is not None and labels.image is None and labels.corruptions == full.corruptions
    assert nib.aff2axcodes(full.affine) != ("L", "P", "S")
    for name in ("truth", "noisy", "affine"):
        np.testing.assert_array_equal(getattr(labels, name), getattr(full, name))
    write_cohort(tmp_path, 1, 9, PhantomSettings(COARSE_MM, images=False))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cases.csv", "labels_noisy", "labels_true"]


def test_the_ct_has_the_contrast_of_the_heart() -> None:
    case = make_case(2, 6, PhantomSettings(2.0, vary_grid=False))
    mean = {label: float(case.image[case.truth == label].mean()) for label in Label if label not in VENAE_CAVAE}
    assert mean[Label.LV] > 200 > mean[Label.MYOCARDIUM] > 40 > mean[Label.BACKGROUND]
    assert case.image.min() < -700
