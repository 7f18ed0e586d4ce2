"""fuse, over the cases of a run: what each needs is read from the run, and its label map and records are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.calibre import Calibre
from heartmend.io.dataset import Case, Cohort
from heartmend.io.digests import compute_fingerprint
from heartmend.io.forms.open import open_label_map
from heartmend.io.label_maps import LabelVolume
from heartmend.io.label_writing import restore_values
from heartmend.repair import merged_structures
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.changes import Change
from heartmend.repair.segment_names import has_segment_names, name_case_segments
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import CORRECT, FUSE, PREPARE, REFERENCE, REFINE
from heartmend.stages.contract import Context, Outcome
from heartmend.stages.fuse.case import FusedCase, trusted_case
from heartmend.stages.fuse.settings import FuseSettings
from heartmend.stages.fuse.stored_case import corrected_calibres, forget_models, fuse_stored_case


def fuse(context: Context[FuseSettings], cases: Sequence[Case]) -> Iterator[Outcome]:
    """Fuse every refined case that is not fused yet, into OUT/labels.

    Args:
        context: run, settings and resources.
        cases: the cases.

    Yields:
        An outcome for each case.
    """
    run, cohort, settings, plan = context.run, context.cohort, context.config, context.plan
    structures = plan.structures
    trusted = plan.trusted_cases
    statistics = context.statistics(cases)
    calibres = corrected_calibres(run, statistics.calibres) if settings.repair_vessels else {}
    calibre_table = {name: asdict(calibre) for name, calibre in calibres.items()}
    jobs = []
    for case in cases:
        unusual = statistics.unusual_sizes.get(case.id, ())
        fingerprint = compute_fingerprint(
            run.digest(REFINE, case.id), run.digest(PREPARE, case.id), run.digest(CORRECT), run.digest(REFERENCE),
            case.labels_path, settings,
            structures, trusted[case.id].labels_path if case.id in trusted else "",
            cohort.anatomy, calibre_table, [one.to_dict() for one in unusual],
            *([case.image_path] if case.image_path and settings.reads_images else []),
        )  # fmt: skip
        is_kept = case.id in plan.kept and run.has_fused(case)
        if is_kept or run.is_done(FUSE, case.id, fingerprint):
            yield Outcome(case)
        else:
            jobs.append(
                _Job(run.output, cohort.without_cases(), case, settings, structures, calibres, fingerprint,
                     None if plan.trusted is None or case.id not in trusted
                     else (plan.trusted.without_cases(), trusted[case.id]), unusual)
            )  # fmt: skip
    forget_models()
    moved = {job.case.id: run.set_aside(job.case.id, run.result_path(job.case)) for job in jobs}
    for job, _, error in context.compute.each(_work, jobs):
        if error is None:
            run.resolve_set_aside(run.result_path(job.case), moved[job.case.id])
        yield Outcome(job.case, error)


@dataclass(frozen=True, eq=False)
class _Job:
    output: Path
    cohort: Cohort
    case: Case
    settings: FuseSettings
    structures: tuple[str, ...]
    calibres: dict[str, Calibre]
    fingerprint: str
    trusted: tuple[Cohort, Case] | None = None
    unusual_sizes: tuple[Change, ...] = ()


def _work(job: _Job) -> None:
    run, case = RunFolder.at(job.output), job.case
    # A worker of a cluster that was lost since may have done it.
    if run.is_done(FUSE, case.id, job.fingerprint):
        return
    volume = job.cohort.read_labels(case)
    if job.trusted is None:
        fused = fuse_stored_case(run, job.cohort, case, volume, job.settings, job.structures, job.calibres)
    else:
        trusted, own = job.trusted
        fused = trusted_case(case.id, volume.labels, trusted.read_labels(own).on_grid(volume.grid).labels, volume.grid)
    run.forget(FUSE, case.id)
    log, files = _with_unusual_sizes(fused.log, job.unusual_sizes), list[Path]()
    if job.settings.segments:
        values, found = name_case_segments(
            fused.labels, volume.grid, job.cohort.anatomy, _given_names(job, fused, volume)
        )
        log = replace(log, segments=() if found is None else found.records)
        files += run.write_segments(case.id, values, volume.grid)
    else:
        # That of an earlier run would be one of another label map.
        run.segments_path(case.id).unlink(missing_ok=True)
    files += run.write_fused(job.cohort, case, fused.labels, log, volume.unknown)
    if job.settings.uncertainty:
        percent = np.zeros(volume.labels.shape, np.uint8)
        if fused.percent is not None:
            percent[run.roi(case.id).source_box()] = fused.percent
        files += run.write_uncertainty(case.id, percent, volume.grid)
    else:
        run.uncertainty_path(case.id).unlink(missing_ok=True)
    run.finish(FUSE, case.id, job.fingerprint, files)


def _with_unusual_sizes(log: ChangeLog, remarks: tuple[Change, ...]) -> ChangeLog:
    """The log with what is known from the other cases; a structure that is part of another one is not absent."""
    merged = {change.structure for change in log.changes if change.rule == merged_structures.RULE}
    return replace(log, changes=(*log.changes, *(one for one in remarks if one.structure not in merged)))


def _given_names(job: _Job, fused: FusedCase, volume: LabelVolume) -> npt.NDArray[np.integer] | None:
    """The names of segments that the input has, carried over to the repaired map; None where it has none."""
    if volume.meaning is None or not has_segment_names(volume.meaning, job.cohort.anatomy):
        return None
    original = open_label_map(job.case.labels_path, job.case.series_path).read().values
    return restore_values(fused.labels, original, volume.meaning, volume.grid).astype(np.intp)
