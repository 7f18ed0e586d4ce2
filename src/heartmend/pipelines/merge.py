"""The pipeline that merges several label sets of the same scans into one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Anatomy
from heartmend.compute.progress import NoProgress, Progress
from heartmend.compute.workers import each
from heartmend.errors import BadInputError, RunError
from heartmend.io.dataset import Case, Cohort, discover_cohort
from heartmend.io.label_maps import LabelVolume
from heartmend.io.nifti import write_volume
from heartmend.models.code_book import CodeBook
from heartmend.models.lattice import evaluate_case
from heartmend.models.template import TemplateShape
from heartmend.pipelines.config import Config
from heartmend.pipelines.run import Request, run
from heartmend.repair.label_sets import ConsensusShape, consensus_of, merge_case
from heartmend.repair.shared_errors.surface import SurfacePatches, patches_of_template
from heartmend.run_folder.admission import check_plain_output
from heartmend.run_folder.folder import RunFolder
from heartmend.types import Labels
from heartmend.wording import plural

R = TypeVar("R")
FEWEST_CASES = 3
"""With fewer cases there is no cohort whose shape could decide."""


@dataclass(frozen=True)
class MergeRequest:
    """Inputs and options of a merge; see `heartmend merge --help`.

    Attributes:
        label_sets: two or more folders of label maps of the same scans; the first gives names, headers and values.
        output: folder for the result.
        images: folder of CTs; None: labels alone.
        anatomy: name of a built-in anatomy, or the path of an anatomy file.
        device: as for a run.
        workers: worker processes; 0: one per CPU core.
    """

    label_sets: tuple[Path, ...]
    output: Path
    images: Path | None = None
    anatomy: str = "heart"
    device: str = "auto"
    workers: int = 0


@dataclass(frozen=True)
class MergeResult:
    """Result of a merge.

    Attributes:
        shares: structure -> share of its surface that each label set was taken for, the mean over the cases.
        cases: ids of the merged cases.
        skipped: why a case is not merged, by case id.
    """

    shares: Mapping[str, tuple[float, ...]]
    cases: tuple[str, ...]
    skipped: Mapping[str, str]

    def table(self, names: Sequence[str]) -> Table:
        """Make a table of the shares for the terminal.

        Args:
            names: names of the label sets.

        Returns:
            The table (rich), in percent.
        """
        table = Table(
            title="Share of the surface, %", title_style="bold", title_justify="left", box=SIMPLE_HEAD, pad_edge=False
        )
        table.add_column("structure")
        for name in names:
            table.add_column(name, justify="right", overflow="fold")
        for structure, row in self.shares.items():
            table.add_row(structure, *(f"{100 * share:.0f}" for share in row))
        return table


def merge_label_sets(request: MergeRequest, config: Config, progress: Progress | None = None) -> MergeResult:
    """Merge several label sets of the same scans, into OUT/labels.

    A template is fitted to the consensus of the sets. Then at each place of each surface the label map that agrees
    best with the shape of its case, and with the edges of its CT, is taken. OUT/disagreement has the share of the sets
    that have another label, in percent.

    Args:
        request: the label sets and the output folder.
        config: settings of the fit.
        progress: receiver of progress reports.

    Returns:
        The merged cases.

    Raises:
        BadInputError: if there are too few sets or cases.
        RunError: if the output folder overlaps an input folder, or contains a run; or if no template was fitted.
    """
    progress = progress or NoProgress()
    if len(request.label_sets) < 2:
        raise BadInputError("one label set is nothing to merge; give two or more folders")
    inputs = (*request.label_sets, *([request.images] if request.images else []))
    check_plain_output(request.output, inputs, ("labels", "disagreement"))
    anatomy = load_anatomy(request.anatomy)
    sets = [
        discover_cohort(folder, request.images if at == 0 else None, anatomy=anatomy)
        for at, folder in enumerate(request.label_sets)
    ]
    skipped = dict(sets[0].skipped)
    readers = tuple(one.without_cases() for one in sets)
    shares = dict[str, dict[str, tuple[float, ...]]]()
    with TemporaryDirectory(prefix="heartmend-merge-") as folder:
        labels, fitted = Path(folder) / "labels", Path(folder) / "run"
        jobs = [_Job(readers, cases, labels) for cases in _common(sets, skipped)]
        progress.start("consensus", len(jobs))
        ready = [job for job, _ in _succeeded(each(_write_consensus, jobs, request.workers), skipped, progress)]
        if len(ready) < FEWEST_CASES:
            reason = f": {next(iter(skipped.values()))}" if skipped else ""
            raise BadInputError(
                f"{plural(len(ready), 'case')} with two or more label maps; at least {FEWEST_CASES} are needed{reason}"
            )
        result = run(
            Request(labels, fitted, anatomy=request.anatomy, device=request.device, workers=request.workers,
                    stop_after="fit"),
            config, progress,
        )  # fmt: skip
        skipped |= result.skipped
        if not isinstance(RunFolder.at(fitted).fitted()[0], TemplateShape):
            raise RunError("no template was fitted; use a preset with a template, such as mend")
        jobs = [replace(job, output=request.output, fitted=fitted) for job in ready if job.id in result.cases]
        progress.start("merge", len(jobs))
        for job, found in _succeeded(each(_merge, jobs, request.workers), skipped, progress):
            assert found is not None
            shares[job.id] = found
    return MergeResult(_mean_shares(list(shares.values()), anatomy), tuple(sorted(shares)), skipped)


@dataclass(frozen=True, eq=False)
class _Job:
    """A case: readers of the label sets, and its label map in each; None where a set has none.

    `output` is the folder of the result, and `fitted` that of the fit.
    """

    readers: tuple[Cohort, ...]
    cases: tuple[Case | None, ...]
    output: Path
    fitted: Path = Path()

    @property
    def first(self) -> Case:
        assert self.cases[0] is not None
        return self.cases[0]

    @property
    def id(self) -> str:
        return self.first.id


def _common(sets: Sequence[Cohort], skipped: dict[str, str]) -> list[tuple[Case | None, ...]]:
    """The label maps of each case of the first set that another one has too; adds the others to `skipped`."""
    others = [{case.id: case for case in one} for one in sets[1:]]
    found = []
    for case in sets[0]:
        own = (case, *(other.get(case.id) for other in others))
        if any(one is not None for one in own[1:]):
            found.append(own)
        else:
            skipped[case.id] = "no other label set has this case"
    return found


def _succeeded(
    done: Iterable[tuple[_Job, R | None, Exception | None]], skipped: dict[str, str], progress: Progress
) -> Iterator[tuple[_Job, R | None]]:
    """The cases without an error and their results; adds the others to `skipped`."""
    for count, (job, found, error) in enumerate(done, start=1):
        if error is None:
            yield job, found
        elif isinstance(error, BadInputError):
            skipped[job.id] = str(error)
        else:
            raise error
        progress.advance(count, job.id)


def _read(job: _Job) -> tuple[list[Labels], LabelVolume]:
    """The label maps of a case, and the first one as its file has it."""
    volume = job.readers[0].read_labels(job.first)
    found = [volume.labels]
    for reader, case in zip(job.readers[1:], job.cases[1:], strict=True):
        if case is None:
            continue
        found.append(reader.read_labels(case).on_grid(volume.grid).labels)
    return found, volume


def _write_consensus(job: _Job) -> None:
    maps, volume = _read(job)
    anatomy = job.readers[0].anatomy
    consensus = consensus_of(maps, anatomy, volume.grid.spacing_mm)
    write_volume(consensus, volume.grid, job.output / f"{job.id}.nii.gz")


_FITTED: dict[Path, tuple[TemplateShape, CodeBook, Mapping[str, SurfacePatches]]] = {}
"""Template, codes and patches of a fit, read once in each process."""


def _fitted(path: Path) -> tuple[TemplateShape, CodeBook, Mapping[str, SurfacePatches]]:
    if path not in _FITTED:
        records = RunFolder.at(path)
        shape, codes = records.fitted()
        assert isinstance(shape, TemplateShape)
        patches = patches_of_template(shape.distances_mm, shape.heads, records.mean_size_mm(codes.ids))
        _FITTED[path] = shape, codes, patches
    return _FITTED[path]


def _merge(job: _Job) -> dict[str, tuple[float, ...]]:
    maps, volume = _read(job)
    shape, codes, patches = _fitted(job.fitted)
    roi = RunFolder.at(job.fitted).roi(job.id)
    box = roi.source_box()
    consensus = ConsensusShape(
        evaluate_case(shape, codes, job.id, roi), patches, shape.frame_map(codes.of([job.id])), roi
    )
    image = job.readers[0].read_roi_image(job.first, roi)
    merged = merge_case([labels[box] for labels in maps], consensus, job.readers[0].anatomy, image)
    labels, disagreement = volume.labels.copy(), np.zeros(volume.labels.shape, np.uint8)
    labels[box], disagreement[box] = merged.labels, merged.disagreement_percent
    write_volume(disagreement, volume.grid, job.output / "disagreement" / f"{job.id}.nii.gz")
    job.readers[0].write_labels(job.first, labels, job.output / "labels" / job.first.labels_path.name, volume.unknown)
    if len(maps) == len(job.cases):
        return dict(merged.shares)
    shares = {}
    for name, own in merged.shares.items():
        given = iter(own)
        shares[name] = tuple(0.0 if case is None else next(given) for case in job.cases)
    return shares


def _mean_shares(found: Sequence[Mapping[str, tuple[float, ...]]], anatomy: Anatomy) -> dict[str, tuple[float, ...]]:
    means = {}
    for name in anatomy.names:
        if rows := [shares[name] for shares in found if name in shares]:
            means[name] = tuple(round(float(share), 3) for share in np.mean(rows, axis=0))
    return means
