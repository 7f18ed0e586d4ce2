"""Evaluation of folders: two sets of label maps compared, or both with a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heartmend.anatomy.schema import Anatomy
from heartmend.compute.progress import Progress, as_progress
from heartmend.compute.workers import each
from heartmend.coronaries.segment_map import coronary_structure
from heartmend.coronaries.segments import PRESET, Segment
from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.io.dataset import Case, Cohort
from heartmend.io.file_names import real_path
from heartmend.io.forms.open import open_label_map
from heartmend.io.label_maps import LabelVolume, UnknownLabels
from heartmend.io.tables import write_csv
from heartmend.metrics.case import MapName, Row, evaluate_case
from heartmend.metrics.export import FlatTable, TableName, flat_tables, parts_tables
from heartmend.metrics.metric_catalogue import TOLERANCES_MM, Metric, catalogue
from heartmend.metrics.parts import evaluate_parts
from heartmend.metrics.summary import StructureSummary, summarise
from heartmend.types import Labels
from heartmend.version import __version__
from heartmend.wording import plural

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Attributes:
        tolerances_mm: tolerances of the surface Dice in mm.
        metrics: keys of the metrics to compute; all if empty.
        unknown_labels: what to do with ids that the anatomy does not have: "error" skips the case, "keep" counts them
            as background.
        workers: number of worker processes; 0: one per CPU core.
        ids: value -> name of a structure, or a TOML or JSON file with such a table, for folders that are no run.
        preset_ids: name of a public data set whose values the maps of these folders have; empty: none.
        parts: whether the left and the right coronary tree, and named segments, are measured too.
    """

    tolerances_mm: Sequence[float] = TOLERANCES_MM
    metrics: Sequence[str] = ()
    unknown_labels: UnknownLabels = "error"
    workers: int = 0
    ids: Path | Mapping[int, str] | None = None
    preset_ids: str = ""
    parts: bool = True


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation of folders.

    Attributes:
        anatomy: the structures.
        metrics: the metrics that were computed.
        rows: a row for each case, structure and map, in this order.
        skipped: for each skipped case the reason.
        folders: the folder of each map, as it was given.
        parts: rows of the parts of the coronary arteries, as `rows`; they count in no other table.
    """

    anatomy: Anatomy
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    skipped: Mapping[str, str]
    folders: Mapping[MapName, Path]
    parts: tuple[Row, ...] = ()

    def __repr__(self) -> str:
        cases, folders = len({row.case for row in self.rows}), [str(folder) for folder in self.folders.values()]
        return f"Evaluation({', '.join(map(repr, folders))}: {cases} cases, {len(self.skipped)} skipped)"

    @cached_property
    def summary(self) -> tuple[StructureSummary, ...]:
        """Summary of each structure over the cases, in the order of the anatomy."""
        found = {s.structure: s for s in summarise(self.rows, self.metrics)}
        return tuple(found[name] for name in self.anatomy.names if name in found)

    @cached_property
    def parts_summary(self) -> tuple[StructureSummary, ...]:
        """Summary of each part of the coronary arteries over the cases."""
        return summarise(self.parts, self.metrics)

    @cached_property
    def tables(self) -> tuple[FlatTable, ...]:
        """Tables `cases`, `structures`, `summary` and `tests`; with parts also `parts` and `parts_summary`."""
        tables = flat_tables(self.rows, self.metrics, self.summary)
        return (*tables, *parts_tables(self.parts, self.metrics, self.parts_summary)) if self.parts else tables

    def table(self, name: TableName = "cases") -> list[dict[str, Any]]:
        """Return the rows of a table.

        Args:
            name: "cases", "structures", "summary", "tests"; with parts "parts" and "parts_summary".

        Returns:
            For each row a mapping from every column to its value, None where it is undefined.
        """
        table = self._table(name)
        return [{column.name: row.get(column.name) for column in table.columns} for row in table.rows]

    def to_dict(self) -> dict[str, Any]:
        """Convert the evaluation into the content of evaluation.json.

        Returns:
            Format, name of the anatomy, folders, skipped cases, metrics, and the rows of all tables.
        """
        keys = ("key", "title", "unit", "better", "pair")
        return {
            "format": "heartmend-evaluation",
            "heartmend": __version__,
            "anatomy": self.anatomy.name,
            "folders": self.folders,
            "skipped": self.skipped,
            "metrics": [{key: getattr(metric, key) for key in keys} for metric in self.metrics],
            **{table.name: table.rows for table in self.tables},
        }

    def to_pandas(self, name: TableName = "cases") -> DataFrame:
        """Convert a table into a pandas data frame.

        Args:
            name: "cases", "structures", "summary", "tests"; with parts "parts" and "parts_summary".

        Returns:
            The table; values that are undefined are NaN.

        Raises:
            ImportError: if pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("Evaluation.to_pandas needs pandas: pip install pandas") from error
        return pd.DataFrame(self.table(name), columns=[column.name for column in self._table(name).columns])

    def to_csv(self, path: Path | str, name: TableName = "cases") -> None:
        """Write a table as CSV; `write_evaluation` writes all tables.

        Args:
            path: the file to write, outside of the evaluated folders.
            name: "cases", "structures", "summary", "tests"; with parts "parts" and "parts_summary".

        Raises:
            BadInputError: if the file would be in an evaluated folder.
            OutputError: if the file cannot be written.
        """
        check_not_input(Path(path), *self.folders.values())
        table = self._table(name)
        write_csv(path, table.columns, table.rows)

    def _table(self, name: TableName) -> FlatTable:
        for table in self.tables:
            if table.name == name:
                return table
        raise ValueError(f"unknown table {name!r}; the tables are {', '.join(table.name for table in self.tables)}")


@dataclass(frozen=True, eq=False)
class _Job:
    case_id: str
    cases: Mapping[MapName, tuple[Cohort, Case]]
    anatomy: Anatomy
    tolerances_mm: tuple[float, ...]
    keys: tuple[str, ...]
    parts: bool


def evaluate_cohorts(
    cohorts: Mapping[MapName, Cohort],
    folders: Mapping[MapName, Path],
    settings: EvaluationSettings | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Compute the metrics of every case of two data sets.

    The cases are those of the reference; without one, those of a and b. A case is skipped, with a reason, if one of the
    data sets does not have it, if a file cannot be read, or if the maps have different grids.

    Args:
        cohorts: data sets `a` and `b`, of one anatomy, and the `reference` if there is one.
        folders: their folders, for messages.
        settings: tolerances, metrics and workers; the defaults if None.
        progress: receiver of progress reports, one step for each case.

    Returns:
        The rows of all cases, and the skipped cases.

    Raises:
        BadInputError: if no case can be compared.
        ConfigError: for an unknown metric or tolerance.
    """
    settings, progress, anatomy = settings or EvaluationSettings(), as_progress(progress), cohorts["a"].anatomy
    metrics = catalogue(settings.tolerances_mm, settings.metrics)
    ids = {which: {case.id for case in cohort} for which, cohort in cohorts.items()}
    wanted = sorted(ids["reference"] if "reference" in ids else ids["a"] | ids["b"])
    jobs, skipped = [], {}
    for id in wanted:
        if lacking := [str(folders[which]) for which, found in ids.items() if id not in found]:
            skipped[id] = f"no label map in {' and '.join(lacking)}"
            continue
        cases = {which: (cohort.without_cases(), cohort[id]) for which, cohort in cohorts.items()}
        jobs.append(_Job(id, cases, anatomy, tuple(settings.tolerances_mm), tuple(settings.metrics), settings.parts))
    rows, parts = list[Row](), list[Row]()
    progress.start("evaluate", len(jobs))
    for done, (job, found, error) in enumerate(each(_evaluate, jobs, settings.workers), start=1):
        if found is None:
            skipped[job.case_id] = str(error) or type(error).__name__
        else:
            rows += found[0]
            parts += found[1]
        progress.advance(done, job.case_id)
    if not rows:
        first = next(iter(skipped.values()), "the label maps contain no structure of the anatomy")
        raise BadInputError(f"none of {plural(len(wanted), 'case')} could be compared; the first: {first}")
    order = {name: place for place, name in enumerate(anatomy.names)}
    rows.sort(key=lambda row: (row.case, order[row.structure], row.labels))
    # Parts are in the order of their tree and segment already.
    parts.sort(key=lambda row: row.case)
    return Evaluation(anatomy, metrics, tuple(rows), skipped, dict(folders), tuple(parts))


def check_not_input(out: Path, *folders: Path) -> None:
    """Check that an output is not in an input folder.

    Args:
        out: file or folder to write.
        folders: folders of label maps.

    Raises:
        BadInputError: if it is.
    """
    for folder in folders:
        if real_path(out).is_relative_to(real_path(folder)):
            raise BadInputError(f"{out}: is in the input folder {folder}, which is never changed; give another folder")


def _evaluate(job: _Job) -> tuple[list[Row], list[Row]]:
    """Rows of a case, and those of its parts."""
    maps = {which: cohort.read_labels(case) for which, (cohort, case) in job.cases.items()}
    first = maps["a"]
    labels: dict[MapName, Labels] = {which: volume.on_grid(first.grid).labels for which, volume in maps.items()}
    metrics = catalogue(job.tolerances_mm, job.keys)
    rows = evaluate_case(
        labels["a"], labels["b"], first.grid.spacing_mm, job.anatomy, labels.get("reference"), case=job.case_id,
        metrics=metrics,
    )  # fmt: skip
    if not job.parts:
        return rows, []
    names = {which: found for which in maps if (found := _names(job, which, maps[which], first.grid)) is not None}
    return rows, evaluate_parts(labels, first.grid, job.anatomy, names, metrics, job.case_id)


def _names(job: _Job, which: MapName, volume: LabelVolume, grid: Grid) -> Labels | None:
    """Named segments of a label map whose values they are, on a grid; None for other label maps."""
    structure, case = coronary_structure(job.anatomy), job.cases[which][1]
    if structure is None or volume.meaning is None or not volume.meaning.has_preset(structure.id, PRESET):
        return None
    values = open_label_map(case.labels_path, case.series_path).read().values
    return replace(volume, labels=np.where(values <= max(Segment), values, 0).astype(np.uint8)).on_grid(grid).labels
