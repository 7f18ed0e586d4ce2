"""Two sets of label maps compared, and both with a reference where one is given: a row a case, structure and map."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from heartmend import __version__
from heartmend.anatomy.schema import Anatomy
from heartmend.compute.workers import each
from heartmend.errors import BadInputError
from heartmend.io.atomic import write_json
from heartmend.io.dataset import Case, Cohort, discover_cohort
from heartmend.io.label_maps import UnknownLabels
from heartmend.io.tables import write_csv, write_parquet
from heartmend.metrics.case import Row, Which, evaluate_case
from heartmend.metrics.catalogue import TOLERANCES_MM, Metric, catalogue
from heartmend.metrics.export import flat_tables
from heartmend.metrics.summary import StructureSummary, summarise


@dataclass(frozen=True)
class Evaluation:
    """What came of it: the rows in the order of cases and structures, and the cases that were skipped, with reasons."""

    anatomy: Anatomy
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    skipped: Mapping[str, str]
    folders: Mapping[Which, Path]

    @cached_property
    def summary(self) -> tuple[StructureSummary, ...]:
        """Each structure over the cases, in the anatomy's order."""
        found = {s.structure: s for s in summarise(self.rows, self.metrics)}
        return tuple(found[name] for name in self.anatomy.names if name in found)


@dataclass(frozen=True, eq=False)
class _Job:
    case_id: str
    cases: Mapping[Which, tuple[Cohort, Case]]
    anatomy: Anatomy
    tolerances_mm: tuple[float, ...]
    keys: tuple[str, ...]


def evaluate_folders(
    a: Path,
    b: Path,
    anatomy: Anatomy,
    reference: Path | None = None,
    *,
    tolerances_mm: Sequence[float] = TOLERANCES_MM,
    keys: Sequence[str] = (),
    unknown_labels: UnknownLabels = "error",
    workers: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Evaluation:
    """Measure every case of two folders of label maps, nnU-Net data sets or results of a run.

    The cases are those of the reference, without one those of `a` and `b`. A case that one folder lacks, that cannot be
    read, or whose maps lie on different grids is skipped with a reason and stops nothing. Raises BadInputError when
    none is left. keys: the metrics that are wanted, all unless given. other: what to do about ids that the anatomy
    lacks; with "keep" they count as background. progress: called with how many are done, of how many, and the case.
    """
    folders = _folders(a, b, reference)
    metrics = catalogue(tolerances_mm, keys)
    cohorts = {which: open_labels(folder, anatomy, unknown_labels) for which, folder in folders.items()}
    ids = {which: {case.id for case in cohort} for which, cohort in cohorts.items()}
    wanted = sorted(ids["reference"] if "reference" in ids else ids["a"] | ids["b"])
    jobs, skipped = [], {}
    for id in wanted:
        if lacking := [str(folders[which]) for which, found in ids.items() if id not in found]:
            skipped[id] = f"there is no label map of it in {' and '.join(lacking)}"
            continue
        cases = {which: (cohort.without_cases(), cohort[id]) for which, cohort in cohorts.items()}
        jobs.append(_Job(id, cases, anatomy, tuple(tolerances_mm), tuple(keys)))
    rows: list[Row] = []
    for done, (job, found, error) in enumerate(each(_work, jobs, workers), start=1):
        if found is None:
            skipped[job.case_id] = str(error) or type(error).__name__
        else:
            rows += found
        if progress is not None:
            progress(done, len(jobs), job.case_id)
    if not rows:
        raise BadInputError(f"none of {len(wanted)} cases could be compared; the first: {next(iter(skipped.values()))}")
    order = {name: place for place, name in enumerate(anatomy.names)}
    rows.sort(key=lambda row: (row.case, order[row.structure], row.labels))
    return Evaluation(anatomy, metrics, tuple(rows), skipped, folders)


def open_labels(folder: Path, anatomy: Anatomy, unknown_labels: UnknownLabels = "error") -> Cohort:
    """The label maps of a folder, of an nnU-Net data set, or of a run (its OUT, or OUT/labels) in its own numbering."""
    if (folder / "run" / "run.json").is_file():
        folder = folder / "labels"
    cohort = discover_cohort(folder, anatomy=anatomy, unknown_labels=unknown_labels)
    described = folder.parent / "run" / "cohort.json"
    if cohort.file_ids is not None or not described.is_file():
        return cohort
    ids = json.loads(described.read_text(encoding="utf-8")).get("file_ids")
    return replace(cohort, file_ids=None if ids is None else {int(file_id): id for file_id, id in ids.items()})


def write_evaluation(found: Evaluation, out: Path) -> list[Path]:
    """Write the tables of an evaluation as CSV and Parquet and all of it as JSON; returns the files.

    Raises BadInputError when `out` lies in a folder that was evaluated.
    """
    refuse_inputs(out, *found.folders.values())
    tables = flat_tables(found.rows, found.metrics, found.summary)
    written = []
    for table in tables:
        written += [out / f"{table.name}.csv", out / f"{table.name}.parquet"]
        write_csv(written[-2], table.columns, table.rows)
        write_parquet(written[-1], table.columns, table.rows)
    written.append(out / "evaluation.json")
    write_json(
        written[-1],
        {
            "format": "heartmend-evaluation",
            "heartmend": __version__,
            "anatomy": found.anatomy.name,
            "folders": found.folders,
            "skipped": found.skipped,
            "metrics": [{k: getattr(m, k) for k in ("key", "title", "unit", "better", "pair")} for m in found.metrics],
            **{table.name: table.rows for table in tables},
        },
    )
    return written


def refuse_inputs(out: Path, *folders: Path) -> None:
    """BadInputError when `out` is, or lies in, a folder of label maps that is evaluated."""
    for folder in folders:
        labels = folder / "labels" if (folder / "run" / "run.json").is_file() else folder
        if out.resolve().is_relative_to(labels.resolve()):
            raise BadInputError(f"{out}: lies in the input folder {labels}, which is never written to; give another")


def _folders(a: Path, b: Path, reference: Path | None) -> dict[Which, Path]:
    folders: dict[Which, Path] = {"a": a, "b": b}
    if reference is not None:
        folders["reference"] = reference
    return folders


def _work(job: _Job) -> list[Row]:
    maps = {which: cohort.read_labels(case) for which, (cohort, case) in job.cases.items()}
    first = maps["a"]
    for volume in maps.values():
        if not volume.grid.is_close(first.grid):
            raise BadInputError(f"{volume.path}: is not on the grid of {first.path}; resample one of them")
    return evaluate_case(
        first.labels, maps["b"].labels, first.grid.spacing_mm, job.anatomy,
        maps["reference"].labels if "reference" in maps else None,
        case=job.case_id, metrics=catalogue(job.tolerances_mm, job.keys),
    )  # fmt: skip
