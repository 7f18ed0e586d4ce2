"""Cohorts of phantom hearts: each case has its own heart, coronary tree, CT, grid and label corruption.

A case depends on the seed, its index and the settings only, so a larger cohort starts with the same cases.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from heartmend.compute.progress import Progress, as_progress
from heartmend.compute.workers import each
from heartmend.io.atomic import write_text
from heartmend.io.tables import format_csv
from heartmend.phantom import coronary, ct, heart
from heartmend.phantom.corruption.realistic import corrupt_as_network, draw_tendency
from heartmend.phantom.corruption.recipe import CorruptionRecipe, corrupt
from heartmend.phantom.plan import Label, Vector, draw_plan
from heartmend.phantom.variants import make_variant

DEFAULT_SPACING_MM = 0.9
Shape = tuple[int, int, int]
Faults = Literal["realistic", "harsh"]
"""Errors of the label maps: those of a data set that a network labelled, or all kinds at once, more than are usual."""
_TENDENCY = 7


@dataclass(frozen=True)
class PhantomSettings:
    """Settings of a phantom cohort.

    Attributes:
        spacing_mm: voxel size in mm; the mean of the cases if the grids vary.
        size: shape (x, y, z) of every volume; None for the field of view of a cardiac scan.
        faults: errors of the label maps: "realistic", as of a data set that a network labelled, or "harsh", all kinds.
        recipe: ranges of the harsh errors.
        vary_grid: whether spacing, axis order, flips, obliqueness and a cropped field of view differ between the cases;
            otherwise all grids are LPS at `spacing_mm`.
        venae_cavae: whether the hearts have the venae cavae; everything else is the same without them.
        variants: rare anatomy of the first cases, one each, by names of `VARIANTS`.
        images: whether the cases have a CT; their label maps are the same without.
    """

    spacing_mm: float = DEFAULT_SPACING_MM
    size: Shape | None = None
    faults: Faults = "realistic"
    recipe: CorruptionRecipe = field(default_factory=CorruptionRecipe)
    vary_grid: bool = True
    venae_cavae: bool = False
    variants: tuple[str, ...] = ()
    images: bool = True


@dataclass(frozen=True)
class PhantomCase:
    """One phantom heart. All volumes share one grid.

    Attributes:
        id: case id, such as "001".
        truth: label map (x, y, z) in the ids of `Label`.
        noisy: the corrupted label map.
        image: contrast CT in HU; None without images.
        affine: (4, 4) voxel index to world (RAS) in mm.
        corruptions: name and strength of each corruption, in the order of application.
    """

    id: str
    truth: NDArray[np.uint8]
    noisy: NDArray[np.uint8]
    image: NDArray[np.int16] | None
    affine: NDArray[np.float64]
    corruptions: tuple[str, ...]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along x, y and z in mm."""
        x, y, z = (float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))
        return x, y, z


def make_case(index: int, seed: int, settings: PhantomSettings | None = None) -> PhantomCase:
    """Make one case of a phantom cohort.

    Args:
        index: number of the case, from 0.
        seed: seed of the cohort.
        settings: spacing, size, grids and label corruption; the defaults if None.

    Returns:
        The truth, its corrupted copy and the CT, where the settings have one.
    """
    settings = settings or PhantomSettings()
    shape_rng, tree_rng, scan_rng, corruption_rng, grid_rng = (
        np.random.default_rng([seed, index, part]) for part in range(5)
    )
    vary_grid = settings.vary_grid
    spacing = _draw_spacing(settings.spacing_mm, grid_rng) if vary_grid else np.full(3, settings.spacing_mm)
    built = heart.build(draw_plan(shape_rng), spacing, shape_rng, settings.size)
    truth = coronary.grow(built, tree_rng)
    if settings.venae_cavae:
        truth = heart.with_venae_cavae(built, truth)
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(truth.shape) - 1) / 2
    cropped, outside = tuple[str, ...](), None
    if vary_grid and settings.size is None and grid_rng.random() < 0.3:
        truth, affine, cut_mm = _crop_field_of_view(truth, affine, spacing, grid_rng)
        cropped = (f"field_of_view@{cut_mm:.0f}mm",)
    if index < len(settings.variants):
        name = settings.variants[index]
        heart_of_case = make_variant(name, truth, affine)
        truth, affine, outside = heart_of_case.labels, heart_of_case.affine, heart_of_case.outside
        cropped = (*cropped, f"variant:{name}")
    if settings.faults == "harsh":
        noisy, corruptions = corrupt(truth, spacing, corruption_rng, settings.recipe)
    else:
        # Drawn anew for each case, by the seed alone: all cases of a cohort share it.
        tendency = draw_tendency(np.random.default_rng([seed, _TENDENCY]))
        noisy, corruptions = corrupt_as_network(truth, spacing, corruption_rng, tendency)
    if outside is not None:
        noisy = np.where(outside, np.uint8(0), noisy)
    volumes: list[NDArray[Any]] = [truth, noisy]
    if settings.images:
        volumes.append(ct.scan(truth, spacing, scan_rng))
    if vary_grid:
        volumes, affine = _reorient(volumes, affine, grid_rng, keep_shape=settings.size is not None)
    truth, noisy, *images = volumes
    image = images[0] if images else None
    return PhantomCase(case_id(index), truth, noisy, image, affine, cropped + corruptions)


def case_id(index: int) -> str:
    """Return the id of a case of a phantom cohort.

    Args:
        index: number of the case, from 0.

    Returns:
        The id.

    Example:
        >>> case_id(0)
        '001'
    """
    return f"{index + 1:03d}"


def make_cohort(count: int, seed: int, settings: PhantomSettings | None = None) -> Iterator[PhantomCase]:
    """Make the cases of a phantom cohort one by one.

    Args:
        count: number of cases.
        seed: seed of the cohort.
        settings: as of `make_case`.

    Yields:
        The cases.
    """
    for index in range(count):
        yield make_case(index, seed, settings)


def write_cohort(
    folder: Path,
    count: int,
    seed: int,
    settings: PhantomSettings | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[str]:
    """Write a phantom cohort.

    Args:
        folder: output folder; gets labels_true/, labels_noisy/, images/ (NNN.nii.gz each) and cases.csv; with venae
            cavae also a dseg.tsv beside the label maps, which names the values; no images/ without images.
        count: number of cases.
        seed: seed of the cohort.
        settings: as of `make_case`.
        workers: number of worker processes; 0: one per CPU core.
        progress: receiver of progress reports, one step for each case.

    Returns:
        The ids of the cases.
    """
    folder, progress = Path(folder), as_progress(progress)
    settings = settings or PhantomSettings()
    jobs = [_CaseJob(index, folder, seed, settings) for index in range(count)]
    rows = list[tuple[str, str]]()
    progress.start("phantom", count)
    for _, row, error in each(_write_case, jobs, workers, local=True):
        if error is not None:
            raise error
        assert row is not None
        rows.append(row)
        progress.advance(len(rows), row[0])
    rows.sort(key=lambda row: int(row[0]))
    if rows and settings.venae_cavae:
        # Optional structures are read where a table names them.
        table = "\n".join(["index\tname", *(f"{int(label)}\t{label.name}" for label in Label if label)]) + "\n"
        for name in ("labels_true", "labels_noisy"):
            write_text(folder / name / "dseg.tsv", table)
    write_text(folder / "cases.csv", format_csv(("case", "corruptions"), rows))
    return [id for id, _ in rows]


def write_case(folder: Path, index: int, seed: int, settings: PhantomSettings | None = None) -> PhantomCase:
    """Write the volumes of one case of a phantom cohort.

    Args:
        folder: output folder of the cohort, as of `write_cohort`.
        index: number of the case, from 0.
        seed: seed of the cohort.
        settings: as of `make_case`.

    Returns:
        The case.
    """
    case = make_case(index, seed, settings)
    for name, volume in (("labels_true", case.truth), ("labels_noisy", case.noisy), ("images", case.image)):
        if volume is not None:
            (folder / name).mkdir(parents=True, exist_ok=True)
            _write_nifti(folder / name / f"{case.id}.nii.gz", volume, case.affine)
    return case


@dataclass(frozen=True)
class _CaseJob:
    index: int
    folder: Path
    seed: int
    settings: PhantomSettings


def _write_case(job: _CaseJob) -> tuple[str, str]:
    case = write_case(job.folder, job.index, job.seed, job.settings)
    return case.id, ";".join(case.corruptions)


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


def _publish(finished: Path, path: Path) -> None:
    """Rename a finished file to its final name, after its content is on the disk."""
    with finished.open("rb") as file:
        os.fsync(file.fileno())
    finished.chmod(0o644)
    finished.replace(path)


def _draw_spacing(spacing_mm: float, rng: np.random.Generator) -> Vector:
    spacing = np.full(3, spacing_mm) * rng.uniform(0.93, 1.07)
    if rng.random() < 0.3:
        thick = rng.uniform(1.1, 1.4)
        spacing *= np.array([1, 1, thick]) / np.cbrt(thick)
    return np.asarray(np.round(spacing, 4))


def _crop_field_of_view(
    truth: NDArray[np.uint8], affine: NDArray[np.float64], spacing_mm: Vector, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64], float]:
    """Crop the volume so that 5 to 25 mm of the heart are outside, as in a scan with a small field of view."""
    axis, at_end = int(rng.choice([0, 1, 2, 2, 2])), bool(rng.random() < 0.6)
    cut_mm = float(rng.uniform(5, 25))
    filled = np.flatnonzero((truth > 0).any(axis=tuple(a for a in range(3) if a != axis)))
    step = int(np.ceil(cut_mm / spacing_mm[axis]))
    keep = slice(0, int(filled[-1]) + 1 - step) if at_end else slice(int(filled[0]) + step, truth.shape[axis])
    affine = affine.copy()
    affine[:3, 3] += affine[:3, axis] * keep.start
    return np.ascontiguousarray(np.moveaxis(np.moveaxis(truth, axis, 0)[keep], 0, axis)), affine, cut_mm


def _reorient(
    volumes: list[NDArray[Any]], affine: NDArray[np.float64], rng: np.random.Generator, keep_shape: bool
) -> tuple[list[NDArray[Any]], NDArray[np.float64]]:
    """Change the order or direction of the axes of some cases, and turn the grid of some by a few degrees."""
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
