"""audit: which labels of a data set are likely to be wrong, before anyone mends them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from heartmend.anatomy.calibre import Calibre
from heartmend.compute.workers import each
from heartmend.geometry.surface_noise import FEWEST_CASES, lowest_surface_noise_mm2
from heartmend.io.dataset import Case, Cohort
from heartmend.models.base import Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.lattice import evaluate_case
from heartmend.pipelines.config import Config
from heartmend.pipelines.run import Request, Watcher, run
from heartmend.quality.ranking import Ranking, rank
from heartmend.quality.error_indicators import ErrorIndicators, case_indicators
from heartmend.run_folder.finished import cohort_of
from heartmend.run_folder.folder import Run
from heartmend.run_folder.records import PreparedCase, calibres_of, surface_noises_mm2
from heartmend.training.checkpoint import load_model


def screen_labels(request: Request, config: Config, quick: bool = False, watcher: Watcher | None = None) -> Ranking:
    """Rank the structures and cases of `request.labels` by how likely they are wrong.

    They are prepared and, unless `quick`, a shape is fitted to them, in `request.out`; a later run in the same folder
    with the same settings goes on from there. Raises HeartmendError when nothing could be looked at.
    """
    result = run(replace(request, until="prepare" if quick else "fit"), config, watcher)
    return screen_run(result.out, quick, request.workers, watcher)


def screen_in_temporary_folder(request: Request, config: Config, quick: bool = False, watcher: Watcher | None = None) -> Ranking:
    """The same, in a folder that is gone afterwards; `request.out` is not used."""
    with TemporaryDirectory(prefix="heartmend-audit-") as folder:
        return screen_labels(replace(request, out=Path(folder) / "run"), config, quick, watcher)


def screen_run(out: Path, quick: bool = False, workers: int = 0, watcher: Watcher | None = None) -> Ranking:
    """Rank the labels that a run was given, from what it prepared and fitted; nothing of the run is changed."""
    watcher = watcher or Watcher()
    folder = Run.at(out)
    cohort, skipped = cohort_of(folder)
    ready = [case for case in cohort if case.id not in skipped]
    model = folder.root / "fit" / "model.safetensors"
    # With fewer the shapes of the cohort are those of its labels and say nothing against them.
    with_shapes = not quick and len(ready) >= FEWEST_CASES and model.is_file()
    ids = [case.id for case in ready]
    calibres = calibres_of(folder, ids)
    least = {name: lowest_surface_noise_mm2(found) for name, found in surface_noises_mm2(folder, ids).items()}
    jobs = [_Job(folder.out, cohort, case, model if with_shapes else None, calibres, least) for case in ready]
    watcher.verb("audit", len(jobs))
    signs: list[ErrorIndicators] = []
    for done, (job, found, error) in enumerate(each(_work, jobs, workers), start=1):
        if found is None:
            skipped[job.case.id] = str(error) or type(error).__name__
        else:
            signs += found
        watcher.advanced(done, job.case.id)
    return rank(signs, cohort.anatomy, with_shapes, skipped)


@dataclass(frozen=True, eq=False)
class _Job:
    run_out: Path
    cohort: Cohort
    case: Case
    model: Path | None
    calibres: dict[str, Calibre]
    least_mm2: dict[str, float]


_MODELS: dict[Path, tuple[Shape, CodeBook]] = {}
"""One model in each process, read once."""


def _work(job: _Job) -> list[ErrorIndicators]:
    case = PreparedCase.load(Run.at(job.run_out), job.case.id)
    shapes = None
    if job.model is not None:
        if job.model not in _MODELS:
            _MODELS.clear()
            _MODELS[job.model] = load_model(job.model)
        shape, codes = _MODELS[job.model]
        # Of a shape that gives no distances it cannot be told how far it is to be believed.
        shapes = evaluate_case(shape, codes, case.case_id, case.roi) if shape.is_distance else None
    before = job.cohort.read_labels(job.case).labels
    return case_indicators(np.ascontiguousarray(before), case, job.cohort.anatomy, shapes, job.calibres, job.least_mm2)
