"""New hearts met by a model that others made: their label maps mended with it, and a code for each of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from heartmend.errors import HeartmendError, RunError
from heartmend.io.atomic import write_json
from heartmend.io.dataset import Case, Cohort, discover_cohort
from heartmend.io.label_maps import UnknownLabels, read_labels
from heartmend.models.code_book import CodeBook
from heartmend.models.heart_model import Heart, HeartModel, labels_on
from heartmend.models.model_file import load_heart_model, save_heart_model
from heartmend.models.unified import stacked
from heartmend.pipelines.run import Result, Watcher
from heartmend.run_folder.folder import Run
from heartmend.run_folder.records import PreparedCase, fused_labels, heads_of
from heartmend.stages.embed import Code, EmbedSettings, encode, place
from heartmend.stages.fuse import FuseSettings, fuse_cohort
from heartmend.stages.prepare import PrepareSettings, prepare
from heartmend.stages.refine import RefineSettings, refine
from heartmend.training.checkpoint import save_model
from heartmend.types import BACKGROUND

log = logging.getLogger(__name__)


def embed(
    model_file: Path,
    labels: Path,
    out: Path,
    *,
    unknown_labels: UnknownLabels = "error",
    complete: bool = False,
    settings: EmbedSettings | None = None,
    seed: int = 0,
    workers: int = 0,
    watcher: Watcher | None = None,
) -> Result:
    """Mend label maps with a model that never saw them, into OUT/labels; OUT/run/embed/model.zip holds their codes.

    OUT is a run like any other: `heartmend explain`, `render` and `mesh` work on it. complete: structures that a label
    map lacks are taken from the model where the map has background. One bad case never stops the others. Raises
    BadInputError when model or label maps cannot be used, RunError when none of the cases could be.
    """
    watcher, settings = watcher or Watcher(), settings or EmbedSettings()
    model = load_heart_model(model_file)
    cohort = discover_cohort(labels, anatomy=model.anatomy, unknown_labels=unknown_labels)
    skipped = dict[str, str]()
    with Run.open(out, labels) as run:
        run.write_config({"embed": settings.model_dump(mode="json"), "model": model_file.name, "seed": seed})
        run.write_versions()
        run.write_cohort(cohort)
        write_json(run.root / "anatomy.json", model.anatomy)

        def left(outcomes: Iterable[tuple[str, Any, Exception | None]], verb: str) -> dict[str, Any]:
            """What came of each case; a case that failed is skipped."""
            watcher.verb(verb, len(cohort) - len(skipped))
            found = {}
            for done, (id, value, error) in enumerate(outcomes, start=1):
                if error is None:
                    found[id] = value
                else:
                    if not isinstance(error, HeartmendError | OSError):
                        log.error("case %s: %s", id, error, exc_info=error)
                    skipped[id] = str(error) or type(error).__name__
                watcher.advanced(done)
            if not found:
                raise RunError(f"{labels}: none of its {len(cohort)} label maps could be embedded; the first: "
                               f"{next(iter(skipped.values()))}")  # fmt: skip
            return found

        def todo() -> list[Case]:
            return [case for case in cohort if case.id not in skipped]

        outcomes = prepare(run, cohort, PrepareSettings(), workers)
        left(((case.id, None, error) for case, _, error in outcomes), "prepare")
        placed: dict[str, Code] = left(place(run, model_file, cohort, todo(), settings, seed, workers), "embed")
        shape = run.folder("fit") / "model.safetensors"
        save_model(shape, model.shape.template, _book(placed))
        heads = heads_of(model.anatomy, without=("tube",))
        left(
            refine(run, shape, list(placed), heads, RefineSettings(), workers, model.lowest_surface_noise_mm2), "refine"
        )
        fused = fuse_cohort(run, cohort, todo(), FuseSettings(), workers=workers, calibres=model.calibres)
        left(((case.id, None, error) for case, _, error in fused), "fuse")
        starts = {case: placed[case.id] for case in todo()}
        codes: dict[str, Code] = left(encode(run, model_file, cohort, starts, settings, seed, workers), "encode")
        met = _met(model, codes, run, cohort)
        save_heart_model(run.folder("embed") / "model.zip", met)
        if complete:
            for case in todo():
                _complete(run, cohort, case, met)
        write_json(run.root / "skipped.json", skipped)
        return Result(run.out, tuple(case.id for case in todo()), skipped)


def _book(codes: dict[str, Code]) -> CodeBook:
    """The codes of several cases by case id."""
    cases = [{name: torch.from_numpy(value) for name, value in code.items()} for code in codes.values()]
    rows = {name: torch.cat([case[name] for case in cases]) for name in ("affine", "field")}
    return CodeBook(list(codes), rows | stacked(cases) if "detail" in cases[0] else rows)


def _met(model: HeartModel, codes: dict[str, Code], run: Run, cohort: Cohort) -> HeartModel:
    """The model with the new hearts in place of those that it was made of."""
    frames, absent = {}, {}
    for id in codes:
        frames[id] = PreparedCase.load(run, id).roi
        shown = np.unique(fused_labels(run, cohort, cohort[id], frames[id]))
        absent[id] = tuple(name for name in model.shape.heads if model.anatomy.by_name(name).id not in shown)
    return replace(model, codes=_book(codes), frames=frames, absent=absent, about={"embedded_by": model.about})


def _complete(run: Run, cohort: Cohort, case: Case, met: HeartModel) -> None:
    """Give a mended label map the bulky structures that it lacks, where it has background, from the model."""
    volume = cohort.read_labels(case)
    path = run.result_path(case.labels_path)
    mended = read_labels(path, cohort.anatomy, cohort.unknown_labels, cohort.file_ids).labels
    heart = met.heart(case.id)
    lacking = [cohort.anatomy.by_name(n).id for n in heart.absent if n in met.shape.template.heads]
    code = {**heart.code, **met.shape.empty_details()}
    said = labels_on(met, Heart(code, heart.frame), volume.grid)
    filled = np.where((mended == BACKGROUND) & np.isin(said, lacking), said, mended)
    cohort.write_labels(case, filled, path, volume.unknown)
