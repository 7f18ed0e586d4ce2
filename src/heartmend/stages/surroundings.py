"""surroundings: the part of stage 1 for structures that have no shape in common (`mend_by = "surroundings"`).

Learned beside the template, from the prepared labels of all cases; read when cases are refined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from heartmend.data import Run, fingerprint
from heartmend.errors import FitError
from heartmend.learning.judges import Judges, even, save_judges
from heartmend.learning.surroundings import Judge, SurroundingsSettings, learn
from heartmend.stages.handover import PREPARED, Prepared

VERB = "surroundings"
MODEL_FILE = "model.safetensors"

Progress = Callable[[int, float], None]
"""Told now and then the step and the loss."""


def learn_surroundings(
    run: Run,
    case_ids: Sequence[str],
    heads: dict[str, int],
    settings: SurroundingsSettings,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Learn a judge for each structure of `heads` (name -> id) from the prepared cases of a run; returns the file.

    Done is done; what was cut off begins anew. A structure that no case shows is left out. Raises FitError when what
    was learned is no number.
    """
    case_ids = sorted(case_ids)
    path = run.folder(VERB) / MODEL_FILE
    stamp = fingerprint(settings, heads, seed, case_ids, *(run.case_path(PREPARED, id, ".npz") for id in case_ids))
    if run.is_done(VERB, None, stamp):
        return path
    run.forget(VERB)
    cases = [Prepared.load(run, id) for id in case_ids]
    step_mm = float(np.median([min(case.roi.grid.spacing_mm) for case in cases]))
    judges: dict[str, Judge] = {}
    for at, (name, id) in enumerate(heads.items()):
        shown = [(case.source == id, case.roi.grid.spacing_mm) for case in cases if (case.source == id).any()]
        if not shown:
            continue
        told = None if progress is None else partial(_told, progress, at * settings.steps)
        judge = learn([even(label, spacing, step_mm) for label, spacing in shown], settings, seed, told)
        if not all(bool(value.isfinite().all()) for value in judge.net.state_dict().values()):
            raise FitError(f"{name}: what was learned of its surroundings is no number; lower fit.surroundings.rate")
        judges[name] = judge
    save_judges(path, Judges(step_mm, judges))
    run.mark_done(VERB, None, stamp, [path])
    return path


def _told(progress: Progress, before: int, step: int, loss: float) -> None:
    progress(before + step, loss)
