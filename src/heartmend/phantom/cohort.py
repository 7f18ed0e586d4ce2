"""Cohorts of phantom hearts: every case another heart, coronary tree, scan, grid and set of faults.

A case depends on (seed, index) and the asked grid alone: cohorts of any size or number of workers begin alike.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from heartmend.phantom import coronary, ct, heart
from heartmend.phantom.label_corruption import Recipe, corrupt
from heartmend.phantom.plan import Vector, draw_plan

DEFAULT_SPACING_MM = 0.9
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class PhantomCase:
    """One heart: truth, the corrupt_mask map and the CT share a grid; `modes` names the faults of the corrupt_mask map."""

    id: str
    truth: NDArray[np.uint8]
    noisy: NDArray[np.uint8]
    image: NDArray[np.int16]
    affine: NDArray[np.float64]
    modes: tuple[str, ...]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        x, y, z = (float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))
        return x, y, z


def make_case(
    index: int,
    seed: int,
    spacing_mm: float = DEFAULT_SPACING_MM,
    size: Shape | None = None,
    recipe: Recipe | None = None,
    vary_grid: bool = True,
) -> PhantomCase:
    """Make case `index` of the cohort of a seed.

    `size` fixes the grid's shape; without it the field of view is a cardiac scan's. `vary_grid` lets spacing, axis
    order, flips, obliqueness and a cropped field of view differ between cases; without it all are LPS at `spacing_mm`.
    """
    shape_rng, tree_rng, scan_rng, fault_rng, grid_rng = (
        np.random.default_rng([seed, index, part]) for part in range(5)
    )
    spacing = _draw_spacing(spacing_mm, grid_rng) if vary_grid else np.full(3, spacing_mm)
    built = heart.build(draw_plan(shape_rng), spacing, shape_rng, size)
    truth = coronary.grow(built, tree_rng)
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(truth.shape) - 1) / 2
    modes: tuple[str, ...] = ()
    if vary_grid and size is None and grid_rng.random() < 0.3:
        truth, affine, cut_mm = _crop_field_of_view(truth, affine, spacing, grid_rng)
        modes = (f"field_of_view@{cut_mm:.0f}mm",)
    image = ct.scan(truth, spacing, scan_rng)
    noisy, faults = corrupt(truth, spacing, fault_rng, recipe)
    volumes: list[NDArray[Any]] = [truth, noisy, image]
    if vary_grid:
        volumes, affine = _reorient(volumes, affine, grid_rng, keep_shape=size is not None)
    truth, noisy, image = volumes
    return PhantomCase(f"{index + 1:03d}", truth, noisy, image, affine, modes + faults)


def make_cohort(
    count: int,
    seed: int,
    spacing_mm: float = DEFAULT_SPACING_MM,
    size: Shape | None = None,
    recipe: Recipe | None = None,
    vary_grid: bool = True,
) -> Iterator[PhantomCase]:
    """The cases of a cohort one after the other; see `make_case`."""
    for index in range(count):
        yield make_case(index, seed, spacing_mm, size, recipe, vary_grid)


def write_cohort(
    folder: Path,
    count: int,
    seed: int,
    workers: int = 1,
    spacing_mm: float = DEFAULT_SPACING_MM,
    size: Shape | None = None,
    recipe: Recipe | None = None,
    vary_grid: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Write labels_true/, labels_noisy/, images/ (NNN.nii.gz each) and cases.csv under `folder`; returns the ids.

    progress: called with how many cases are made, and of how many.
    """
    folder = Path(folder)
    for name in ("labels_true", "labels_noisy", "images"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write = partial(
        _write_case, folder=folder, seed=seed, spacing_mm=spacing_mm, size=size, recipe=recipe, vary_grid=vary_grid
    )
    rows = []
    with ExitStack() as stack:
        made: Iterator[tuple[str, str]] = map(write, range(count))
        if workers > 1:
            pool = ProcessPoolExecutor(min(workers, count), mp_context=get_context("spawn"))
            made = stack.enter_context(pool).map(write, range(count))
        for row in made:
            rows.append(row)
            if progress is not None:
                progress(len(rows), count)
    _write_table(folder / "cases.csv", rows)
    return [case_id for case_id, _ in rows]


def _write_case(
    index: int,
    folder: Path,
    seed: int,
    spacing_mm: float,
    size: Shape | None,
    recipe: Recipe | None,
    vary_grid: bool,
) -> tuple[str, str]:
    case = make_case(index, seed, spacing_mm, size, recipe, vary_grid)
    for name, volume in (("labels_true", case.truth), ("labels_noisy", case.noisy), ("images", case.image)):
        _write_nifti(folder / name / f"{case.id}.nii.gz", volume, case.affine)
    return case.id, ";".join(case.modes)


def _write_nifti(path: Path, volume: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    image = nib.Nifti1Image(volume, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".nii.gz")
    os.close(handle)
    try:
        image.to_filename(name)
        _publish(Path(name), path)
    finally:
        Path(name).unlink(missing_ok=True)


def _write_table(path: Path, rows: list[tuple[str, str]]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".csv")
    try:
        with os.fdopen(handle, "w", newline="") as file:
            csv.writer(file).writerows([("case", "modes"), *rows])
        _publish(Path(name), path)
    finally:
        Path(name).unlink(missing_ok=True)


def _publish(whole: Path, path: Path) -> None:
    """Give a finished file its final name, on disk before it is seen."""
    with whole.open("rb") as file:
        os.fsync(file.fileno())
    whole.chmod(0o644)
    whole.replace(path)


def _draw_spacing(spacing_mm: float, rng: np.random.Generator) -> Vector:
    spacing = np.full(3, spacing_mm) * rng.uniform(0.93, 1.07)
    if rng.random() < 0.3:
        thick = rng.uniform(1.1, 1.4)
        spacing *= np.array([1, 1, thick]) / np.cbrt(thick)
    return np.asarray(np.round(spacing, 4))


def _crop_field_of_view(
    truth: NDArray[np.uint8], affine: NDArray[np.float64], spacing_mm: Vector, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64], float]:
    """Cut 5 to 25 mm off the heart at one face of the volume, as a scan that was planned too tight."""
    axis, at_end = int(rng.choice([0, 1, 2, 2, 2])), bool(rng.random() < 0.6)
    cut_mm = float(rng.uniform(5, 25))
    here = np.flatnonzero((truth > 0).any(axis=tuple(a for a in range(3) if a != axis)))
    step = int(np.ceil(cut_mm / spacing_mm[axis]))
    keep = slice(0, int(here[-1]) + 1 - step) if at_end else slice(int(here[0]) + step, truth.shape[axis])
    affine = affine.copy()
    affine[:3, 3] += affine[:3, axis] * keep.start
    return np.ascontiguousarray(np.moveaxis(np.moveaxis(truth, axis, 0)[keep], 0, axis)), affine, cut_mm


def _reorient(
    volumes: list[NDArray[Any]], affine: NDArray[np.float64], rng: np.random.Generator, keep_shape: bool
) -> tuple[list[NDArray[Any]], NDArray[np.float64]]:
    """Sometimes another axis order or direction in the file, sometimes a grid oblique to the scanner's axes."""
    if rng.random() < 0.3:
        order = np.arange(3) if keep_shape or rng.random() < 0.6 else rng.permutation(3)
        step = np.eye(4)[:, [*order, 3]]
        for axis in range(3):
            if rng.random() < 0.5:
                step[:3, 3] += step[:3, axis] * (volumes[0].shape[order[axis]] - 1)
                step[:, axis] *= -1
        flips = tuple(slice(None, None, -1) if step[:3, axis].sum() < 0 else slice(None) for axis in range(3))
        volumes = [np.ascontiguousarray(volume.transpose(order)[flips]) for volume in volumes]
        affine = affine @ step
    if rng.random() < 0.3:
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_rotvec(rng.normal(0, 7, 3), degrees=True).as_matrix()
        affine = turn @ affine
    return volumes, affine
