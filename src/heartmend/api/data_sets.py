"""Data sets: `make_phantoms`, `crop` and `centrelines`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from heartmend.anatomy.schema import Anatomy
from heartmend.api.arguments import ProgressLike, StrPath, as_anatomy, as_ids, as_path
from heartmend.compute.progress import as_progress
from heartmend.errors import ConfigError

if TYPE_CHECKING:
    from heartmend.pipelines.result import CropResult, Phantoms


def make_phantoms(
    output: StrPath, *, count: int = 12, seed: int = 1, spacing_mm: float = 0.9, venae_cavae: bool = False,
    faults: Literal["realistic", "harsh"] = "realistic", workers: int = 0, progress: ProgressLike = None,
) -> Phantoms:  # fmt: skip
    """Generate phantom hearts with CTs, true and corrupted label maps, as `heartmend phantom`.

    Args:
        output: folder for the result; gets labels_noisy/, labels_true/, images/ and cases.csv.
        count: number of hearts.
        seed: seed of the random numbers. A larger cohort of the same seed starts with the same hearts.
        spacing_mm: voxel size in mm, 0.4 to 3.
        venae_cavae: whether the hearts have the superior and inferior vena cava, with the values 11 and 12.
        faults: errors of the label maps: as of a data set that a network labelled, or all kinds of errors at once.
        workers: number of worker processes; 0: one per CPU core.
        progress: as for `run`.

    Returns:
        The folders and the ids of the cases.

    Raises:
        ConfigError: if the count or the spacing is out of range, or there are no such faults.
    """
    from heartmend.compute.workers import available_cores
    from heartmend.phantom.cohort import PhantomSettings, write_cohort
    from heartmend.pipelines.result import Phantoms

    if count < 1:
        raise ConfigError(f"count={count}: give the number of hearts, at least 1")
    if not 0.4 <= spacing_mm <= 3:
        raise ConfigError(f"spacing_mm={spacing_mm}: give a voxel size from 0.4 to 3 mm")
    if faults not in ("realistic", "harsh"):
        raise ConfigError(f'faults="{faults}": give "realistic" or "harsh"')
    folder, settings = Path(output), PhantomSettings(spacing_mm, venae_cavae=venae_cavae, faults=faults)
    ids = write_cohort(folder, count, seed, settings, workers or available_cores(), as_progress(progress))
    return Phantoms(folder / "labels_noisy", folder / "labels_true", folder / "images", tuple(ids))


def crop(
    labels: StrPath, output: StrPath, *, images: StrPath | None = None, anatomy: StrPath | Anatomy = "heart",
    resolution: int = 256, workers: int = 0, progress: ProgressLike = None,
    ids: StrPath | Mapping[int, str] | None = None, preset_ids: str = "",
) -> CropResult:  # fmt: skip
    """Crop every case to its ROI and resample it to a cube, as `heartmend crop`; nothing is repaired.

    Args:
        labels: folder of label maps, or an nnU-Net v2 data set.
        output: folder for the result; gets labels/ and images/.
        images: folder of CTs.
        anatomy: name of a built-in anatomy, path of an anatomy file, or an anatomy.
        resolution: voxels along each side of the cubes, at least 2.
        workers: number of worker processes; 0: one per CPU core.
        progress: as for `run`.
        ids: as for `run`.
        preset_ids: as for `run`.

    Returns:
        The cropped cases, and those that were skipped with the reasons.

    Raises:
        ConfigError: if the resolution is too low.
        BadInputError: if there is no case.
        RunError: if the output folder overlaps an input folder, or contains a run.
    """
    from heartmend.pipelines.crop import CropRequest, crop_cohort
    from heartmend.pipelines.result import CropResult

    if resolution < 2:
        raise ConfigError(f"resolution={resolution}: give the voxels along each side, at least 2")
    request = CropRequest(
        Path(labels), Path(output), as_anatomy(anatomy), resolution, as_path(images), workers, as_ids(ids), preset_ids
    )
    return CropResult.of(Path(output), dict(crop_cohort(request, as_progress(progress))))


def centrelines(
    labels: StrPath, output: StrPath, *, anatomy: StrPath | Anatomy = "heart", formats: Sequence[str] = ("vtp",),
    segments: bool = False, workers: int = 0, progress: ProgressLike = None,
    ids: StrPath | Mapping[int, str] | None = None, preset_ids: str = "",
) -> CropResult:  # fmt: skip
    """Write the centrelines of thin vessels with their radius, as `heartmend centrelines`; nothing is repaired.

    Args:
        labels: folder of label maps, an nnU-Net v2 data set, or the output folder of a run.
        output: folder for the result.
        anatomy: name of a built-in anatomy, path of an anatomy file, or an anatomy.
        formats: of vtp, swc and mrk.json.
        segments: whether label maps of the named coronary segments are written too.
        workers: number of worker processes; 0: one per CPU core.
        progress: as for `run`.
        ids: as for `run`.
        preset_ids: as for `run`.

    Returns:
        The traced cases, and those that were skipped with the reasons.

    Raises:
        BadInputError: if there is no case.
        ConfigError: if a format is unknown, or the anatomy has no thin vessel.
        RunError: if the output folder overlaps the input folder, or contains a run.
    """
    from heartmend.pipelines.centrelines import CentrelinesRequest, trace_cohort
    from heartmend.pipelines.result import CropResult

    request = CentrelinesRequest(
        Path(labels), Path(output), as_anatomy(anatomy), tuple(formats), segments, workers, as_ids(ids), preset_ids
    )
    return CropResult.of(Path(output), dict(trace_cohort(request, as_progress(progress))))
