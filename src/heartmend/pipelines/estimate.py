"""What a run will cost: time and disk space, by the measured cost of a case and of a step of the fits."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from heartmend.errors import BadInputError
from heartmend.io.dataset import Case, Cohort
from heartmend.io.forms.files import files_of
from heartmend.io.volume import read_image_grid

if TYPE_CHECKING:
    from heartmend.pipelines.config import Config

Stage = Literal["prepare", "fit", "refine", "correct", "fuse", "unify"]

# Measured on hearts of ten structures on two cores (docs/results/performance.md): CPU seconds of a case whose box about
# the heart has 4.9 million voxels, and seconds of both cores for a sample of 2,500 points of a case in a step.
REFERENCE_VOXELS = 4.9e6
CASE_SECONDS = {"prepare": 0.95, "fit": 1.35, "refine": 1.4, "fuse": 1.2}
FIT_SAMPLE_SECONDS, UNIFY_SAMPLE_SECONDS = 0.0018, 0.0066
REFERENCE_POINTS, REFERENCE_CORES = 2500, 2
IMAGE_SECONDS = {"correct": 3.0, "fuse": 10.0}
"""The same for what a CT adds. Label maps of a failed network take up to three times as long."""
MAX_FIT_CORES = 8
"""More cores are not counted for a fit, whose steps are short."""
HEART_MM3 = 3.6e6
"""Volume of the box about the heart, where the label map is not smaller."""

# Measured in five runs of twenty hearts each at 0.9 mm: distances and labels took 0.43 to 0.68 bytes per voxel of the
# heart's bounding box, codes and change logs 40 kB per case, and the repaired map as much as the original. The shape
# has 32 MB, and there are five copies of it while the fit writes checkpoints.
BYTES_PER_VOXEL = 0.7
CASE_BYTES = 50_000
RESULT_FACTOR = 1.2
RUN_BYTES = 170_000_000
SAMPLED_CASES = 12
"""Headers of so many label maps are read."""


@dataclass(frozen=True)
class RunEstimate:
    """What a run will work on, and what it will cost.

    Attributes:
        n_cases: number of cases.
        n_structures: number of structures to repair, without optional ones.
        n_optional: number of structures that are repaired where a case has them.
        has_images: whether there are CTs.
        device: device of the fits, such as `cpu`.
        processes: worker processes for the work on single cases.
        seconds: expected time; None where a fit on a GPU is part of it, which is not measured.
        bytes: expected disk space of a new run.
        continues: whether a run that is there is continued, which costs less.
        last_stage: the last stage.
    """

    n_cases: int
    n_structures: int
    n_optional: int
    has_images: bool
    device: str
    processes: int
    seconds: float | None
    bytes: int
    continues: bool
    last_stage: Stage


def case_bytes(box_voxels: float, file_bytes: int) -> int:
    """Estimate how many bytes a run writes for one case.

    Args:
        box_voxels: voxels of the box about its heart.
        file_bytes: size of its label map.

    Returns:
        Number of bytes.
    """
    return round(CASE_BYTES + BYTES_PER_VOXEL * box_voxels + RESULT_FACTOR * file_bytes)


def run_bytes(cohort: Cohort) -> int:
    """Estimate how many bytes a run of a data set writes, temporary files included.

    Args:
        cohort: the data set; the headers of a few label maps are read.

    Returns:
        Number of bytes.
    """
    size = statistics.mean([_file_bytes(case) for case in _some(cohort)] or [0])
    return RUN_BYTES + len(cohort) * case_bytes(_box_voxels(cohort), round(size))


def run_seconds(cohort: Cohort, config: Config, last_stage: Stage, device: str, processes: int) -> float | None:
    """Estimate how long a run takes.

    Args:
        cohort: the data set; the headers of a few label maps are read.
        config: settings of the run.
        last_stage: the last stage.
        device: device of the fits.
        processes: worker processes for the work on single cases.

    Returns:
        Seconds; None if there is a fit on a GPU, which is not measured.
    """
    stages: tuple[Stage, ...] = ("prepare", "fit", "refine", "correct", "fuse", "unify")
    wanted = stages[: stages.index(last_stage) + 1]
    if device != "cpu" and "fit" in wanted:
        return None
    n, size = len(cohort), _box_voxels(cohort) / REFERENCE_VOXELS
    alone = sum(seconds for stage, seconds in CASE_SECONDS.items() if stage in wanted)
    if any(case.image_path for case in cohort):
        alone += sum(seconds for stage, seconds in IMAGE_SECONDS.items() if stage in wanted)
    seconds = alone * size * n / min(processes, n)
    share = REFERENCE_CORES / min(processes, MAX_FIT_CORES)
    if "fit" in wanted:
        steps = sum(phase.steps for phase in config.fit.phases_for(n))
        samples = steps * config.fit.gradient_accumulation * min(config.fit.cases_per_step, n)
        seconds += samples * FIT_SAMPLE_SECONDS * config.fit.points / REFERENCE_POINTS * share
    if "unify" in wanted:
        unify = config.unify.for_cases(n)
        steps = sum(phase.steps for phase in (*unify.template_phases, *unify.phases))
        samples = steps * min(unify.cases_per_step, n)
        seconds += samples * UNIFY_SAMPLE_SECONDS * unify.points / REFERENCE_POINTS * share
    return seconds


def _some(cohort: Cohort) -> list[Case]:
    step = max(len(cohort) // SAMPLED_CASES, 1)
    return list(islice(cohort, 0, None, step))[:SAMPLED_CASES]


def _box_voxels(cohort: Cohort) -> float:
    """Voxels of the box about the heart, the median of a few cases."""
    found = []
    for case in _some(cohort):
        if case.labels_path.is_dir():
            continue
        try:
            grid, _ = read_image_grid(case.labels_path)
        except (BadInputError, OSError):
            # Reported when the case is read.
            continue
        x, y, z = grid.shape
        found.append(min(float(x * y * z), HEART_MM3 / grid.voxel_mm3))
    return statistics.median(found) if found else REFERENCE_VOXELS


def _file_bytes(case: Case) -> int:
    try:
        return sum(Path(path).stat().st_size for path in files_of(case.labels_path))
    except OSError:
        return 0
