"""Centrelines of the thin vessels of label maps as files, with the named segments of the coronary arteries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.compute.progress import NoProgress, Progress
from heartmend.compute.workers import each
from heartmend.coronaries.segment_map import SegmentMap, coronary_structure
from heartmend.coronaries.segments import Segment
from heartmend.errors import BadInputError, ConfigError
from heartmend.geometry.centrelines.measurement import measure_tree
from heartmend.geometry.centrelines.rooted_lines import RootedLines
from heartmend.geometry.centrelines.tree import CentreTree
from heartmend.geometry.grid import Grid
from heartmend.io.centreline_files import FORMATS, write_centrelines
from heartmend.io.dataset import Case, Cohort
from heartmend.io.file_names import check_case_id
from heartmend.io.forms.open import open_label_map
from heartmend.io.nifti import write_volume
from heartmend.io.tables import NO_UNIT, Column, write_csv
from heartmend.repair.segment_names import has_segment_names, name_case_segments
from heartmend.run_folder.admission import check_plain_output
from heartmend.run_folder.folder import labels_folder, open_labels

COLUMNS = (
    Column("case", str),
    Column("structure", str),
    Column("segment", str, title="name as in ImageCAS-X; empty for a vessel without names"),
    Column("tree", str, title="left, right or unknown; empty for other vessels than the coronary arteries"),
    Column("length_mm", float, "mm", "length of the centreline"),
    Column("mean_radius_mm", float, "mm"),
    Column("least_radius_mm", float, "mm"),
    Column("confidence", float, NO_UNIT, "of the name, 0 to 1"),
)
TABLE = "centrelines.csv"


@dataclass(frozen=True)
class CentrelinesRequest:
    """Inputs and options; see `heartmend centrelines --help`.

    Attributes:
        labels: folder of label maps, an nnU-Net v2 data set, or the output folder of a run.
        output: folder for the result, outside of the input.
        anatomy: the structures of the label maps.
        formats: suffixes of the files, of `FORMATS`.
        segments: whether label maps of the coronary segments are written too.
        workers: number of worker processes (0: one per CPU core).
        ids: value of the label maps -> name of a structure, or a TOML or JSON file with such a table; None: without.
        preset_ids: name of a public data set whose values the label maps have; empty: none.
    """

    labels: Path
    output: Path
    anatomy: Anatomy
    formats: Sequence[str] = ("vtp",)
    segments: bool = False
    workers: int = 0
    ids: Path | Mapping[int, str] | None = None
    preset_ids: str = ""


@dataclass(frozen=True, eq=False)
class _Job:
    cohort: Cohort
    case: Case
    request: CentrelinesRequest


def trace_cohort(
    request: CentrelinesRequest, progress: Progress | None = None
) -> Iterator[tuple[str, Exception | None]]:
    """Write the centrelines of the thin vessels of every case, and a table of their parts.

    Writes output/CASE_STRUCTURE.vtp (and the other formats), output/centrelines.csv, and with `segments`
    output/segments/CASE.nii.gz.

    Args:
        request: what to trace.
        progress: receiver of progress reports, one step for each case.

    Yields:
        The id of each case with its error, or None.

    Raises:
        BadInputError: if there is no case.
        ConfigError: if a format is unknown, or the anatomy has no thin vessel.
        RunError: if the output folder overlaps the input folder, or contains a run.
    """
    progress = progress or NoProgress()
    if unknown := [one for one in request.formats if one not in FORMATS]:
        raise ConfigError(f"unknown format of centrelines {unknown[0]!r}; give {', '.join(FORMATS)}")
    if not any(one.kind == "tube" for one in request.anatomy.structures):
        raise ConfigError(f'the anatomy {request.anatomy.name} has no thin vessel (kind = "tube")')
    check_plain_output(request.output, (labels_folder(request.labels),), ("segments",))
    cohort = open_labels(request.labels, request.anatomy, ids=request.ids, preset_ids=request.preset_ids)
    yield from ((id, BadInputError(reason)) for id, reason in cohort.skipped.items())
    jobs = [_Job(cohort.without_cases(), case, request) for case in cohort]
    rows = dict[str, list[dict[str, Any]]]()
    progress.start("centrelines", len(jobs))
    for done, (job, found, error) in enumerate(each(_trace_case, jobs, request.workers), start=1):
        progress.advance(done, job.case.id)
        if found is not None:
            rows[job.case.id] = found
        yield job.case.id, error
    write_csv(request.output / TABLE, COLUMNS, [row for id in sorted(rows) for row in rows[id]])


def _trace_case(job: _Job) -> list[dict[str, Any]]:
    """Write the files of a case; its rows of the table."""
    request, case = job.request, job.case
    volume, anatomy = job.cohort.read_labels(case), job.cohort.anatomy
    given = None
    if has_segment_names(volume.meaning, anatomy):
        given = open_label_map(case.labels_path, case.series_path).read().values
    values, found = name_case_segments(volume.labels, volume.grid, anatomy, given)
    if request.segments:
        write_volume(values, volume.grid, request.output / "segments" / f"{case.id}.nii.gz")
    coronaries, rows = coronary_structure(anatomy), list[dict[str, Any]]()
    for structure in anatomy.structures:
        mask = volume.labels == structure.id
        if structure.kind != "tube" or not mask.any():
            continue
        named = found if coronaries is not None and structure.id == coronaries.id else None
        lines, names, parts = _lines(structure, mask, volume.grid, named)
        check_case_id(structure.name)
        for suffix in request.formats:
            name = f"{case.id}_{structure.name.replace(' ', '_')}.{suffix}"
            write_centrelines(request.output / name, lines, names)
        rows += [{"case": case.id, "structure": structure.name, **part} for part in parts]
    return rows


def _lines(
    structure: Structure, mask: np.ndarray, grid: Grid, found: SegmentMap | None
) -> tuple[RootedLines, dict[int, str], list[dict[str, Any]]]:
    """The lines of a vessel, the names of their groups, and the rows of its parts."""
    if found is None:
        tree = measure_tree(mask, grid.spacing_mm)
        points_mm = grid.index_to_world(tree.points_mm / grid.spacing_mm)
        group = np.zeros(len(tree), np.intp)
        part = {**_measures(tree, group == 0), "length_mm": round(float(tree.share_mm.sum()), 1)}
        return RootedLines.of(tree, points_mm, np.zeros(0, np.intp), group), {0: structure.name}, [part]
    named = found.named
    names = {int(one): one.label for one in Segment if (named.segment == one).any()}
    points_mm = found.grid.index_to_world(named.tree.points_mm / grid.spacing_mm)
    rows = [
        {
            "segment": one.segment.label, "tree": one.side.label, "length_mm": round(one.length_mm, 1),
            "confidence": round(one.confidence, 2),
            **_measures(named.tree, (named.segment == one.segment) & (named.side == one.side)),
        }
        for one in named.segments()
    ]  # fmt: skip
    return RootedLines.of(named.tree, points_mm, np.array(named.roots, np.intp), named.segment), names, rows


def _measures(tree: CentreTree, points: np.ndarray) -> dict[str, float]:
    share = np.maximum(tree.share_mm[points], 1e-6)
    return {
        "mean_radius_mm": round(float(np.average(tree.radius_mm[points], weights=share)), 3),
        "least_radius_mm": round(float(tree.radius_mm[points].min()), 3),
    }
