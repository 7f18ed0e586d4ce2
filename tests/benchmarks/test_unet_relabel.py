"""Relabelling with a U-Net: it follows the image and not the noise, and writes the original grids."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("monai", reason="MONAI is an extra: pip install '.[benchmarks]'")

from unet_relabel import UNetSettings, relabel, relabel_cohort

from support.hearts import small_heart

SMALL = UNetSettings(steps=50, patch=32, channels=(8, 16), rate=1e-2)


def pair(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make an image, noisy labels and the truth, which determines the brightness of the image."""
    truth = small_heart(seed)
    rng = np.random.default_rng(seed)
    noisy = np.where(rng.random(truth.shape) < 0.3, 0, truth).astype(np.uint8)
    return (truth / 5 + rng.normal(0, 0.03, truth.shape)).astype(np.float32), noisy, truth


def test_relabelled_maps_are_more_accurate_than_the_noisy_ones() -> None:
    images, noisy, truth = zip(*(pair(seed) for seed in range(4)), strict=True)
    found = relabel(images, noisy, SMALL)
    for relabelled, before, true in zip(found, noisy, truth, strict=True):
        assert relabelled.shape == true.shape
        assert (relabelled != true).sum() < (before != true).sum()


def test_a_cohort_is_written_on_its_original_grids(tmp_path: Path) -> None:
    for seed in range(2):
        image, noisy, _ = pair(seed)
        affine = np.diag([-1.5, 1.5, 2.0, 1.0])
        affine[:3, 3] = (4, 5, seed)
        for folder, values in (("labels", noisy), ("images", (image * 300).astype(np.int16))):
            (tmp_path / folder).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(values, affine), tmp_path / folder / f"{seed}.nii.gz")
    settings = UNetSettings(steps=2, patch=16, channels=(4, 8))
    relabel_cohort(tmp_path / "labels", tmp_path / "images", tmp_path / "out", "heart", settings, None)
    for seed in range(2):
        before, after = (nib.load(tmp_path / folder / f"{seed}.nii.gz") for folder in ("labels", "out"))
        np.testing.assert_array_equal(before.affine, after.affine)
        assert after.shape == before.shape
        assert set(np.unique(after.dataobj)) <= {0, *range(1, 11)}
