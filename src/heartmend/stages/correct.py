"""correct: the errors that all cases share, measured over the whole cohort, and the correction that fuse applies.

The refined surfaces of all cases are compared with the edges of their CTs, or with trusted label maps of a few of them.
What they have in common, in the frame of the template, is the error of the data set and not of a case. Labels alone
cannot show it: then this stage has nothing to do.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from heartmend.errors import BadInputError, DamagedError, HeartmendError, OutputError
from heartmend.io.dataset import Case, Cohort
from heartmend.io.digests import compute_fingerprint
from heartmend.models.code_book import CodeBook
from heartmend.models.template import TemplateShape
from heartmend.repair.fusion import fuse as fuse_maps
from heartmend.repair.shared_errors.convention import Convention
from heartmend.repair.shared_errors.correction import Correction, correct_patches
from heartmend.repair.shared_errors.differences import (
    CaseDifferences,
    correction_of_differences,
    measure_differences,
)
from heartmend.repair.shared_errors.estimate import (
    MIN_CASES,
    MIN_TRUSTED,
    CohortOffsets,
    PatchError,
    edge_shares,
    estimate_patch_errors,
    locate_edges,
    trusted_offsets,
)
from heartmend.repair.shared_errors.measurement import MeasuredCase, PatchMeasurements, measure_case
from heartmend.repair.shared_errors.regions import name_patches, summarise_regions
from heartmend.repair.shared_errors.report import PatchRecord, SharedErrors
from heartmend.repair.shared_errors.surface import Floats, SurfacePatches, patches_of_template
from heartmend.repair.shared_errors.tubes import common_shifts_mm, summarise_tubes, tube_shift_mm, typical_shifts_mm
from heartmend.repair.vessels.lumen_width import lumen_shift_mm
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import CORRECT, FIT, REFINE
from heartmend.stages.contract import Context, Outcome

METHOD = 3
"""Number of the way in which errors are measured and a correction is stored: what another one left is made anew."""
ROUNDS = 2
"""The second round measures what the first correction left."""
log = logging.getLogger(__name__)


class CorrectSettings(BaseModel):
    """Settings of `correct`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: Literal["correct", "report", "off"] = "correct"
    """What to do with errors that the CTs show in all cases: correct them, report them, or do not measure them."""
    max_cases: Annotated[int, Field(strict=True, ge=MIN_CASES, le=100_000)] = 200
    """Of a larger cohort so many cases are measured, evenly over the case ids."""


def correct(context: Context[CorrectSettings], cases: Sequence[Case]) -> Iterator[Outcome]:
    """Measure the errors that all cases share, unless they are measured already.

    A convention corrects before trusted label maps, and these before the CTs.

    Args:
        context: run, settings and resources.
        cases: the refined cases.

    Yields:
        One outcome for the cohort.
    """
    run, plan, settings = context.run, context.plan, context.config
    measured = _chosen(cases, context)
    fingerprint = compute_fingerprint(
        METHOD, settings, run.digest(FIT), plan.shaped, plan.convention or "", [case.id for case in measured],
        [run.digest(REFINE, case.id) for case in measured],
        *(case.image_path for case in measured if case.image_path and settings.images != "off"),
        *(case.labels_path for case in plan.trusted_cases.values()),
    )  # fmt: skip
    is_wanted = bool(plan.shaped) and bool(measured or plan.convention)
    if not is_wanted or not run.is_done(CORRECT, None, fingerprint):
        run.forget(CORRECT)
        if is_wanted:
            _correct_cohort(context, measured, fingerprint)
    yield Outcome()


def _correct_cohort(context: Context[CorrectSettings], measured: Sequence[Case], fingerprint: str) -> None:
    run = context.run
    shape, codes = run.fitted()
    if not isinstance(shape, TemplateShape):
        log.warning("errors that all cases share are not measured: the fitted shape has no template")
        return
    try:
        found, convention = _Cohort(context, measured, shape, codes).measure()
    except _NotMeasuredError:
        log.warning("errors that all cases share are not measured: no case could be measured; see the warnings above")
        return
    run.finish(CORRECT, None, fingerprint, run.write_correction(found, convention))


class _NotMeasuredError(Exception):
    """No case could be measured; the reasons are warnings."""


def _chosen(cases: Sequence[Case], context: Context[CorrectSettings]) -> list[Case]:
    """Cases to be measured: the trusted ones, or those with an image."""
    plan, settings = context.plan, context.config
    if plan.trusted is not None:
        trusted = plan.trusted_cases
        return [case for case in cases if case.id in trusted]
    with_image = [case for case in cases if case.image_path is not None and settings.images != "off"]
    if len(with_image) < MIN_CASES:
        return []
    step = max(len(with_image) / settings.max_cases, 1.0)
    return [with_image[int(at * step)] for at in range(int(len(with_image) / step))]


@dataclass(frozen=True, eq=False)
class _Cohort:
    """The cases that are measured, with the shape that they share."""

    context: Context[CorrectSettings]
    cases: Sequence[Case]
    shape: TemplateShape
    codes: CodeBook

    def measure(self) -> tuple[SharedErrors, Convention]:
        """Measure the errors, and compute the correction."""
        run, plan, heads = self.context.run, self.context.plan, self.shape.heads
        size_mm = run.mean_size_mm(self.codes.ids)
        patches = patches_of_template(self.shape.distances_mm, heads, size_mm)
        if plan.convention is not None:
            shared = SharedErrors("convention", True, len(self.codes.ids))
            try:
                read = Convention.read(plan.convention).on_template(self.shape, size_mm)
            except HeartmendError as error:
                named = str(plan.convention) in str(error)
                raise (
                    error if named else BadInputError(f"{plan.convention}: does not fit the data set: {error}")
                ) from error
            # The CTs of its own data set say nothing about those of this one.
            correction = replace(read, typical_tubes_mm={})
        elif plan.trusted is not None:
            self._start(rounds=1)
            results = self._run(patches, Correction.none(heads), 0)
            offsets = trusted_offsets([one.patches for one in results])
            shared = self._report(offsets, estimate_patch_errors(offsets), patches, "trusted")
            correction = correction_of_differences([one.differences for one in results], heads, size_mm)
            tubes = [one.tubes_mm for one in results]
            correction = replace(correction, tubes_mm=common_shifts_mm(tubes, "trusted"))
            shared = _with_tubes(_with_correction(shared, correction, size_mm), tubes, correction.tubes_mm)
        else:
            shared, correction = self._correct_by_image(patches)
        return shared, Convention.of(self.shape, size_mm, correction, self.context.cohort.anatomy.name)

    def _correct_by_image(self, patches: Mapping[str, SurfacePatches]) -> tuple[SharedErrors, Correction]:
        reports_only, none = self.context.config.images == "report", Correction.none(self.shape.heads)
        self._start(rounds=1 if reports_only else ROUNDS)
        results, offsets, errors, correction = self._by_image(patches, none, 0)
        tubes = [one.tubes_mm for one in results]
        shared = self._report(offsets, errors, patches, "image")
        shared = replace(shared, edge_shares=edge_shares(offsets, [one.case_id for one in results]))
        if reports_only:
            return replace(_with_tubes(shared, tubes, {}), is_corrected=False), none
        for number in range(1, ROUNDS):
            _, left, rest, correction = self._by_image(patches, correction, number)
        shifts = common_shifts_mm(tubes, "image")
        correction = replace(correction, tubes_mm=shifts, typical_tubes_mm=typical_shifts_mm(tubes))
        return _with_tubes(_with_rest(shared, self._report(left, rest, patches, "image")), tubes, shifts), correction

    def _start(self, rounds: int) -> None:
        self.context.progress.start(CORRECT, rounds * len(self.cases))

    def _by_image(
        self, patches: Mapping[str, SurfacePatches], correction: Correction, round_number: int
    ) -> tuple[list[_Measured], CohortOffsets, list[PatchError], Correction]:
        results = self._run(patches, correction, round_number)
        offsets = locate_edges([one.patches for one in results])
        errors = estimate_patch_errors(offsets)
        names = {s.id: s.name for s in self.context.cohort.anatomy.structures}
        return results, offsets, errors, correct_patches(correction, errors, patches, names)

    def _run(self, patches: Mapping[str, SurfacePatches], correction: Correction, round_number: int) -> list[_Measured]:
        """Measure all cases; one that cannot be measured is left out with a warning."""
        run, cohort, trusted = self.context.run, self.context.cohort, self.context.plan.trusted
        jobs = [
            _Job(
                run.output, cohort.without_cases(), case, patches, correction, round_number,
                None if trusted is None else (trusted.without_cases(), trusted[case.id]),
            )
            for case in self.cases
        ]  # fmt: skip
        found = {}
        before = round_number * len(jobs)
        for done, (job, result, error) in enumerate(self.context.compute.each(_measure, jobs), start=before + 1):
            if error is not None and (
                isinstance(error, DamagedError | OutputError) or not isinstance(error, HeartmendError)
            ):
                raise error
            if result is None:
                log.warning("case %s does not count for the errors that all cases share: %s", job.case.id, error)
            else:
                found[job.case.id] = result
            self.context.progress.advance(done, job.case.id)
        if trusted is not None and len(found) < MIN_TRUSTED:
            raise BadInputError(
                f"{len(found)} of the {len(jobs)} trusted cases could be measured, at least {MIN_TRUSTED} are needed; "
                "see the warnings above"
            )
        if not found:
            raise _NotMeasuredError
        return [found[id] for id in sorted(found)]

    def _report(
        self, offsets: CohortOffsets, errors: Sequence[PatchError], patches: Mapping[str, SurfacePatches],
        source: Literal["image", "trusted"],
    ) -> SharedErrors:  # fmt: skip
        anatomy = self.context.cohort.anatomy
        names = name_patches(errors, patches, anatomy)
        records = []
        for error in errors:
            structure = anatomy.by_id(error.structure).name
            x, y, z = (patches[structure].centres[error.patch] * patches[structure].size_mm / 2).round(2).tolist()
            known = round(error.mean_mm, 3) if error.evidence == "measured" else None
            region = names[error.structure, error.patch, error.neighbour]
            records.append(PatchRecord(structure, region, (x, y, z), known))
        regions = summarise_regions(offsets, errors, names, anatomy)
        return SharedErrors(source, True, len(self.cases), regions, records)


def _with_tubes(
    report: SharedErrors, tubes: Sequence[Mapping[str, float]], applied_mm: Mapping[str, float]
) -> SharedErrors:
    """The report with the widths of thin vessels."""
    return replace(report, regions=[*report.regions, *summarise_tubes(tubes, applied_mm)])


def _with_rest(report: SharedErrors, after: SharedErrors) -> SharedErrors:
    """The report with the errors that are left after the correction."""
    rest = {(region.structure, region.region): region.mean_mm for region in after.regions}
    regions = [
        replace(region, left_mm=rest.get((region.structure, region.region), float("nan")))
        if region.evidence == "measured" else region
        for region in report.regions
    ]  # fmt: skip
    places = {(one.structure, one.region, one.place_mm): one.error_mm for one in after.patches}
    patches = [
        replace(one, left_mm=places.get((one.structure, one.region, one.place_mm))) if one.error_mm is not None else one
        for one in report.patches
    ]
    return replace(report, regions=regions, patches=patches)


def _with_correction(report: SharedErrors, correction: Correction, size_mm: Floats) -> SharedErrors:
    """The report of trusted cases with the errors that are left, by the movement of each patch."""
    patches = []
    for one in report.patches:
        if one.error_mm is None:
            patches.append(one)
            continue
        moved = correction.at(np.array([one.place_mm]) / (size_mm / 2))[0, correction.heads.index(one.structure)]
        patches.append(replace(one, left_mm=round(one.error_mm + float(moved), 3)))
    left = defaultdict[tuple[str, str], list[float]](list)
    for one in patches:
        if one.left_mm is not None:
            left[one.structure, one.region].append(one.left_mm)
    regions = [
        replace(region, left_mm=float(np.mean(found))) if (found := left.get((region.structure, region.region)))
        and region.evidence == "measured" else region
        for region in report.regions
    ]  # fmt: skip
    return replace(report, regions=regions, patches=patches)


@dataclass(frozen=True, eq=False)
class _Job:
    output: Path
    cohort: Cohort
    case: Case
    patches: Mapping[str, SurfacePatches]
    correction: Correction
    round_number: int
    trusted: tuple[Cohort, Case] | None


@dataclass(frozen=True, eq=False)
class _Measured:
    """Measurements of a case: its patches, its differences to a trusted map, and the movement of its thin vessels."""

    case_id: str
    patches: PatchMeasurements
    differences: CaseDifferences
    tubes_mm: Mapping[str, float]


def _measure(job: _Job) -> _Measured:
    run, id, anatomy = RunFolder.at(job.output), job.case.id, job.cohort.anatomy
    shape, codes = run.fitted_once()
    assert isinstance(shape, TemplateShape)
    roi, maps = run.roi(id), run.distances(id)
    to_frame = shape.frame_map(codes.of([id]))
    maps = job.correction.apply(maps, roi, to_frame)
    box, spacing_mm = roi.source_box(), roi.grid.spacing_mm

    def to_template(points: Floats) -> Floats:
        return to_frame(roi.box_index_to_unit(points))

    trusted = None
    if job.trusted is not None:
        reader, case_of_it = job.trusted
        trusted = reader.read_labels(case_of_it).on_grid(roi.grid).labels[box]
    image = job.cohort.read_roi_image(job.case, roi) if trusted is None else None
    case = MeasuredCase(maps, fuse_maps(maps, anatomy, spacing_mm), spacing_mm, to_template, image, trusted)
    patches = measure_case(case, anatomy, job.patches)
    differences: CaseDifferences = {}
    if trusted is not None:
        masks = {name: trusted == anatomy.by_name(name).id for name in shape.heads}
        differences = measure_differences(maps, masks, spacing_mm, to_template)
    # The width of a vessel is measured on the label, which the correction moves before the vessel is repaired.
    tubes: dict[str, float | None] = {}
    if job.round_number == 0:
        labels = job.cohort.read_labels(job.case).labels[box]
        for tube in (s for s in anatomy.structures if s.kind == "tube"):
            label = labels == tube.id
            if trusted is not None:
                tubes[tube.name] = tube_shift_mm(label, trusted == tube.id, spacing_mm)
            elif image is not None:
                tubes[tube.name] = lumen_shift_mm(label, labels, image, spacing_mm)
    return _Measured(id, patches, differences, {name: shift for name, shift in tubes.items() if shift is not None})
