"""Cohort of small hearts whose labels all have the same error: the LV is a voxel too wide."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from support.cohorts import CONFIG
from support.hearts import ellipsoid
from support.volumes import save_nifti

SHAPE, COUNT, TRUSTED = (52, 50, 44), 6, 3
AFFINE = np.diag([-1.5, -1.5, 1.5, 1.0])


def hearts(seed: int, wider: float = 0.0) -> np.ndarray:
    """LV and RV as ellipsoids; the LV is wider by some voxels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint8)
    for id, centre, radii in ((3, (17, 25, 22), (9, 11, 10)), (5, (38, 25, 22), (8, 10, 10))):
        at, size = np.array(centre) + rng.uniform(-1, 1, 3), np.array(radii) + rng.uniform(-0.5, 0.5, 3)
        labels[ellipsoid(SHAPE, tuple(at), tuple(size + (wider if id == 3 else 0)))] = id
    return labels


def write_cohort_with_wide_lv(folder: Path) -> Path:
    """Write the labels, their CTs, the true maps, those of three cases once more (trusted), and settings."""
    for n in range(1, COUNT + 1):
        truth, rng = hearts(n), np.random.default_rng(n)
        save_nifti(folder / "labels" / f"{n}.nii.gz", hearts(n, wider=1.0), np.uint8, AFFINE)
        save_nifti(folder / "truth" / f"{n}.nii.gz", truth, np.uint8, AFFINE)
        hu = np.where(truth > 0, 350, -80) + rng.normal(0, 15, SHAPE)
        save_nifti(folder / "images" / f"{n}.nii.gz", hu.round(), np.int16, AFFINE)
        if n <= TRUSTED:
            save_nifti(folder / "trusted" / f"{n}.nii.gz", truth, np.uint8, AFFINE)
    (folder / "small.toml").write_text(CONFIG)
    return folder
