"""Cohort of small hearts on disk, with different grids, and settings that repair it in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from support.hearts import ellipsoid
from support.volumes import save_nifti

CONFIG = """\
prior = "none"

[prepare]
resolution = 32
margin_voxels = 4

[fit]
points = 300
checkpoint_seconds = 0
phases = [
  {steps = 20, code_lr = 0.01, shape_lr = 0.1, side = 16, controls = 5, tolerance_mm = 3.0},
  {steps = 20, code_lr = 0.006, shape_lr = 0.05, side = 24, controls = 6},
]

[unify]
points = 300
positives = 60
resolution = 32
side = 8
channels = 4
width = 16
template_phases = [{steps = 10, code_lr = 0.004, shape_lr = 0.05, side = 24, controls = 6}]
phases = [{steps = 20, code_lr = 0.06, shape_lr = 0.003, loss = "joint", tolerance_mm = 1.0, regularisation = 1e-4}]
"""
SHAPE = (34, 36, 30)
TURNED = np.array([[0, -2.0, 0.2, 40], [-2.0, 0, 0, 60], [0, 0.2, 2.0, -30], [0, 0, 0, 1]])


def small_map(seed: int, *, absent: tuple[int, ...] = ()) -> np.ndarray:
    """Make LA, LV, RA and RV as ellipsoids, with speckle noise in the LV and a far false-positive component."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for id, centre, radii in (
        (3, (12, 20, 11), (5, 6, 6)), (5, (21, 16, 11), (5, 6, 6)), (2, (12, 20, 20), (5, 5, 4)),
        (4, (22, 17, 20), (4, 5, 4)),
    ):  # fmt: skip
        at = tuple(np.array(centre) + rng.uniform(-1, 1, 3))
        if id not in absent:
            labels[ellipsoid(SHAPE, at, radii) & (labels == 0)] = id
    labels[(rng.random(SHAPE) < 0.03) & (labels == 3)] = 0
    labels[0, 0, 0] = 3
    return labels


def write_cohort(folder: Path, count: int = 3) -> Path:
    """Write labels/1.nii.gz and so on: the first has another affine and dtype, the second no RA."""
    for n in range(1, count + 1):
        affine = TURNED if n == 1 else np.diag([-2.0, -2.0, 2.0, 1.0])
        values = small_map(n, absent=(4,) if n == 2 else ())
        save_nifti(folder / "labels" / f"{n}.nii.gz", values, np.int16 if n == 1 else np.uint8, affine)
    (folder / "small.toml").write_text(CONFIG)
    return folder / "labels"
