"""fuse, over the cases of a run: what each needs is read from the run, and its label map and records are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.calibre import Calibre
from heartmend.io.dataset import Case, Cohort
from heartmend.io.digests import compute_fingerprint
from heartmend.io.forms.open import open_label_map
from heartmend.io.label_maps import LabelVolume
from heartmend.io.label_writing import restore_values
from heartmend.models.template import TemplateShape
from heartmend.repair import merged_structures
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.changes import Change
from heartmend.repair.contacts import CohortTemplate, is_better_than_most
from heartmend.repair.segment_names import has_segment_names, name_case_segments
from heartmend.repair.shared_errors.case import CaseCorrection
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import CORRECT, FUSE, PREPARE, REFINE
from heartmend.stages.contract import Context, Outcome
from heartmend.stages.fuse.case import FusedCase, RefinedCase, fuse_case, trusted_case
from heartmend.stages.fuse.settings import FuseSettings

if TYPE_CHECKING:
    from heartmend.models.code_book import CodeBook
    from heartmend.repair.shared_errors.correction import Correction
    from heartmend.repair.shared_errors.report import SharedErrors


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
            run.digest(REFINE, case.id), run.digest(PREPARE, case.id), run.digest(CORRECT), case.labels_path, settings,
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
    _CORRECTIONS.clear()
    moved = {job.case.id: run.set_aside(job.case.id, run.result_path(job.case)) for job in jobs}
    for job, _, error in context.compute.each(_work, jobs):
        if error is None:
            run.resolve_set_aside(run.result_path(job.case), moved[job.case.id])
        yield Outcome(job.case, error)


def corrected_calibres(run: RunFolder, calibres: Mapping[str, Calibre]) -> dict[str, Calibre]:
    """Correct the radii of thin vessels by the error that all cases share.

    Args:
        run: the run, with a correction or without.
        calibres: radius of the trees of each thin vessel in the cohort.

    Returns:
        The corrected radii.
    """
    convention = run.convention()
    shifts = {} if convention is None else convention.correction.tubes_mm
    return {name: replace(one, mean_mm=one.mean_mm + shifts.get(name, 0.0)) for name, one in calibres.items()}


@dataclass(frozen=True, eq=False)
class _Correction:
    """Correction of the errors that all cases of a run share, with what was fitted."""

    errors: SharedErrors
    correction: Correction
    shape: Any
    codes: CodeBook
    template: CohortTemplate | None

    @property
    def is_by_image(self) -> bool:
        """Whether CTs corrected the errors: then labels with another convention are not wanted."""
        return self.errors.source == "image"

    def of_case(self, case_id: str) -> CaseCorrection:
        """The correction, for one case."""
        return CaseCorrection(self.correction, self.shape.frame_map(self.codes.of([case_id])))

    def template_of(self, case_id: str) -> CohortTemplate | None:
        """The template, if its contacts are better than those of the label map of a case."""
        is_wanted = self.is_by_image and not is_better_than_most(case_id, self.errors.edge_shares)
        return self.template if is_wanted else None


def _correction_of(run: RunFolder) -> _Correction | None:
    """The correction of a run, read once in each process; None where nothing is corrected."""
    if run.output not in _CORRECTIONS:
        errors, convention = run.shared_errors(), run.convention()
        found = None
        if errors is not None and convention is not None:
            shape, codes = run.fitted()
            x, y, z = (float(size) for size in run.mean_size_mm(codes.ids))
            template = CohortTemplate(shape, (x, y, z)) if isinstance(shape, TemplateShape) else None
            found = _Correction(errors, convention.correction, shape, codes, template)
        _CORRECTIONS[run.output] = found
    return _CORRECTIONS[run.output]


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


_CORRECTIONS: dict[Path, _Correction | None] = {}


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


def fuse_stored_case(
    run: RunFolder, cohort: Cohort, case: Case, volume: LabelVolume, settings: FuseSettings,
    structures: tuple[str, ...] = (), calibres: Mapping[str, Calibre] | None = None,
) -> FusedCase:  # fmt: skip
    """Fuse a case from the records of a run, without writing anything.

    Args:
        run: the run, which has refined the case.
        cohort: how the images of the data set are read.
        case: the case.
        volume: its label map.
        settings: settings of the stage.
        structures: names of the structures that may change; empty: all of them.
        calibres: radius of the trees of each thin vessel in the cohort.

    Returns:
        The repaired case.
    """
    prepared = run.prepared(case.id)
    image = cohort.read_image(case, prepared.roi.grid) if settings.reads_images else None
    maps, shared = run.distances(case.id), _correction_of(run)
    refined = RefinedCase(
        volume.labels, prepared, maps, None if image is None else image.values, run.refine_changes(case.id),
        None if shared is None else shared.of_case(case.id), run.label_margins_mm(case.id) if maps else {},
        run.misfits_mm(case.id),
        shared is not None and shared.is_by_image, None if shared is None else shared.template_of(case.id),
    )  # fmt: skip
    return fuse_case(refined, cohort.anatomy, settings, structures, calibres)
