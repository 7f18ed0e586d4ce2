"""Two sets of label maps compared, and both with a reference where one is given: a row a case, structure and map."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from heartmend.anatomy import Anatomy
from heartmend.data import Case, Cohort, LabelVolume, discover_cohort
from heartmend.errors import BadInputError
from heartmend.metrics import Metric, Row, StructureSummary, Which, catalogue, evaluate_case, summarise
from heartmend.stages.workers import each


@dataclass(frozen=True)
class Evaluation:
    """What came of it: the rows in the order of cases and structures, and the cases that were refused, with reasons."""

    anatomy: Anatomy
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    refused: dict[str, str]
    folders: dict[Which, Path]

    @cached_property
    def summary(self) -> tuple[StructureSummary, ...]:
        """Each structure over the cases."""
        return summarise(self.rows, self.metrics)


@dataclass(frozen=True, eq=False)
class _Job:
    case_id: str
    cases: dict[Which, tuple[Cohort, Case]]
    tolerances_mm: tuple[float, ...]
    keys: tuple[str, ...]


def evaluate_folders(
    a: Path,
    b: Path,
    anatomy: Anatomy,
    reference: Path | None = None,
    *,
    tolerances_mm: Sequence[float] = (0.5, 1.0, 2.0, 3.0),
    keys: Sequence[str] = (),
    workers: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Evaluation:
    """Measure every case of two folders of label maps, nnU-Net data sets or results of a run.

    The cases are those of the reference, without one those of `a` and `b`. A case that one folder lacks, that cannot be
    read, or whose maps lie on different grids is refused with a reason and stops nothing. Raises BadInputError when
    there is no case at all. progress: called with how many are done, of how many, and the case.
    """
    folders: dict[Which, Path] = {"a": a, "b": b}
    if reference is not None:
        folders["reference"] = reference
    metrics = catalogue(tolerances_mm, keys)
    cohorts = {which: open_labels(folder, anatomy) for which, folder in folders.items()}
    jobs, refused = [], {}
    for id in _cases(cohorts):
        lacking = [str(folders[which]) for which, cohort in cohorts.items() if id not in {c.id for c in cohort}]
        if lacking:
            refused[id] = f"there is no label map of it in {' and '.join(lacking)}"
            continue
        cases = {which: (_alone(cohort, id), cohort[id]) for which, cohort in cohorts.items()}
        jobs.append(_Job(id, cases, tuple(tolerances_mm), tuple(keys)))
    rows: list[Row] = []
    for done, (job, found, error) in enumerate(each(_work, jobs, workers), start=1):
        if found is None:
            refused[job.case_id] = str(error) or type(error).__name__
        else:
            rows += found
        if progress is not None:
            progress(done, len(jobs), job.case_id)
    order = {name: i for i, name in enumerate(anatomy.names)}
    rows.sort(key=lambda row: (row.case, order[row.structure], row.labels))
    return Evaluation(anatomy, metrics, tuple(rows), refused, folders)


def open_labels(folder: Path, anatomy: Anatomy) -> Cohort:
    """The label maps of a folder, of an nnU-Net data set, or of a run (its OUT, or OUT/labels) in its own numbering."""
    if (folder / "run" / "run.json").is_file():
        folder = folder / "labels"
    cohort = discover_cohort(folder, anatomy=anatomy)
    described = folder.parent / "run" / "cohort.json"
    if cohort.file_ids is not None or not described.is_file():
        return cohort
    ids = json.loads(described.read_text(encoding="utf-8")).get("file_ids")
    numbering = None if ids is None else {int(file_id): id for file_id, id in ids.items()}
    return Cohort(cohort.cases, cohort.anatomy, cohort.other, numbering)


def _cases(cohorts: dict[Which, Cohort]) -> list[str]:
    if "reference" in cohorts:
        return [case.id for case in cohorts["reference"]]
    return sorted({case.id for cohort in cohorts.values() for case in cohort})


def _alone(cohort: Cohort, id: str) -> Cohort:
    return Cohort((cohort[id],), cohort.anatomy, cohort.other, cohort.file_ids)


def _work(job: _Job) -> list[Row]:
    maps: dict[Which, LabelVolume] = {which: cohort.read_labels(case) for which, (cohort, case) in job.cases.items()}
    first = maps["a"]
    for other in maps.values():
        if not other.grid.is_close(first.grid):
            raise BadInputError(f"{other.path}: is not on the grid of {first.path}; resample one of them")
    third = maps.get("reference")
    anatomy = next(iter(job.cases.values()))[0].anatomy
    return evaluate_case(
        first.labels, maps["b"].labels, first.grid.spacing_mm, anatomy, None if third is None else third.labels,
        case=job.case_id, metrics=catalogue(job.tolerances_mm, job.keys),
    )  # fmt: skip
