"""Whole folders against truth: what mending brought, structure by structure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from heartmend.anatomy import Anatomy
from heartmend.data import discover_cohort
from heartmend.errors import BadInputError
from heartmend.metrics import before_after_table, score_case, summarise
from heartmend.metrics.score import Row
from heartmend.stages.workers import each


@dataclass(frozen=True, eq=False)
class _Job:
    case_id: str
    truth: Path
    before: Path
    after: Path
    anatomy: Anatomy


def score_rows(truth: Path, before: Path, after: Path, anatomy: Anatomy, workers: int = 0) -> list[Row]:
    """One row for each case and structure that is in the truth. BadInputError when a map is missing or off its grid."""
    true, noisy, mended = (discover_cohort(folder, anatomy=anatomy) for folder in (truth, before, after))
    jobs = [_Job(c.id, c.labels_path, noisy[c.id].labels_path, mended[c.id].labels_path, anatomy) for c in true]
    rows: list[Row] = []
    for job, found, error in each(_work, jobs, workers):
        if found is None:
            raise BadInputError(f"case {job.case_id} cannot be scored: {error}") from error
        rows += found
    return sorted(rows, key=lambda row: (row.case, row.structure))


def score_folders(truth: Path, before: Path, after: Path, anatomy: Anatomy, workers: int = 0) -> Table:
    """The before/after table of a cohort."""
    rows = score_rows(truth, before, after, anatomy, workers)
    return before_after_table(summarise(rows), {s.id: s.name for s in anatomy.structures})


def _work(job: _Job) -> list[Row]:
    from heartmend.data import read_labels

    true, noisy, mended = (read_labels(path, job.anatomy) for path in (job.truth, job.before, job.after))
    for other in (noisy, mended):
        if not other.grid.is_close(true.grid):
            raise BadInputError(f"{other.path}: is not on the grid of {true.path}")
    tubes = tuple(s.id for s in job.anatomy.structures if s.kind == "tube")
    ids = [i for i in job.anatomy.ids if np.any(true.labels == i)]
    return score_case(
        true.labels, noisy.labels, mended.labels, true.grid.spacing_mm, ids, case=job.case_id, tubular_ids=tubes
    )
