"""The template that is placed in the CTs of bad label maps, learned anew from the best label maps of a run.

The template of the run was learned from all label maps as they came, so it has the errors that are typical of them. The
surfaces of the better half of the cases, moved to the edges of their CTs, make a better one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from heartmend.compute.workers import available_cores
from heartmend.geometry.masks import present_ids
from heartmend.io.dataset import Case, Cohort
from heartmend.io.digests import compute_fingerprint
from heartmend.models.code_book import CodeBook
from heartmend.models.template import TemplateShape
from heartmend.repair.case_volume import CaseVolume
from heartmend.repair.fusion import fuse as fuse_maps
from heartmend.repair.image_edges.case import half_level_case, snap_case
from heartmend.repair.placed_shape import CaseTemplate, labels_of, placed_code, surface_misfit_mm
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import CORRECT, FIT, REFERENCE, REFINE
from heartmend.stages.contract import Context, Outcome
from heartmend.stages.fuse.corrected import correct_maps
from heartmend.stages.fuse.settings import FuseSettings
from heartmend.stages.fuse.stored_case import forget_models, read_refined
from heartmend.training.checkpoint import load_shape_and_codes
from heartmend.training.contact_votes import ContactVote, Pair, move_contacts, vote_on_contacts
from heartmend.training.loop import Fit
from heartmend.training.placement import NoObserver
from heartmend.training.point_sampler import PointSampler
from heartmend.training.sampling import CaseSamples, sample_case
from heartmend.training.schedule import Phase
from heartmend.types import Labels

METHOD = 4
"""Number of the way in which the template is learned: what another one left is made anew."""
BEST_SHARE, MIN_CASES, MAX_CASES = 0.5, 3, 24
"""Share of the cases from which the template is learned, the least number of them and the largest one."""
PHASE = Phase(
    steps=200, code_lr=0.005, shape_lr=0.05, side=96, controls=12, tolerance_mm=1.5, regularisation=3e-5,
)  # fmt: skip
"""From the template of the run, which has the place of everything already."""
CASES_PER_STEP, POINTS = 8, 2500
PROBED_CASES = 4
"""Nothing is learned if none of so many cases has errors of its own."""
JUDGED_CASES = 12
"""In so many of these cases the template is placed, to learn which structures it fits and where their contacts are."""


def learn_reference(context: Context[FuseSettings], cases: Sequence[Case]) -> Iterator[Outcome]:
    """Learn the template from the best label maps of a run, unless that is done already.

    Where CTs do not correct the shared errors of the run, or the best label maps have no errors of their own, there is
    none: then label maps are better than a shape.

    Args:
        context: run, settings and resources.
        cases: the refined cases.

    Yields:
        One outcome for the cohort.
    """
    run, settings = context.run, context.config
    best = _best_cases(context, cases)
    fingerprint = compute_fingerprint(
        METHOD, settings.image_edges, settings.mode, settings.margin_mm, run.digest(FIT), run.digest(CORRECT),
        [run.digest(REFINE, case.id) for case in best], *(case.image_path for case in best if case.image_path),
    )  # fmt: skip
    if not best:
        run.forget_reference()
    elif not run.is_done(REFERENCE, None, fingerprint):
        run.forget_reference()
        forget_models()
        run.finish(REFERENCE, None, fingerprint, _learn_from(context, best))
    yield Outcome()


def _best_cases(context: Context[FuseSettings], cases: Sequence[Case]) -> list[Case]:
    """The cases whose surfaces are nearest to the edges of their CTs; none where CTs correct nothing."""
    errors, by_id = context.run.shared_errors(), {case.id: case for case in cases}
    if errors is None or errors.source != "image" or not errors.is_corrected or not context.config.image_edges:
        return []
    ranked = sorted(errors.edge_shares, key=lambda id: (-errors.edge_shares[id], id))
    best = [by_id[id] for id in ranked[: max(round(BEST_SHARE * len(ranked)), MIN_CASES)] if id in by_id]
    step = max(len(best) / MAX_CASES, 1.0)
    return [best[int(at * step)] for at in range(int(len(best) / step))]


def _learn_from(context: Context[FuseSettings], best: Sequence[Case]) -> list[Path]:
    """Learn the template from some cases; returns the files that were written, none where it is not needed."""
    run, plan = context.run, context.plan
    cohort = context.cohort.without_cases()
    jobs = [_Job(run.output, cohort, case, context.config, plan.shaped) for case in best]
    judged = jobs[:: max(len(jobs) // JUDGED_CASES, 1)][:JUDGED_CASES]
    context.progress.start(REFERENCE, len(jobs) + 1 + len(judged))
    # The worst of the best come first: where they have no errors of their own, the others have none.
    probed, rest = jobs[-PROBED_CASES:], jobs[:-PROBED_CASES]
    found, has_own_errors = dict[str, _Corrected](), False
    for part, before in ((probed, 0), (rest, len(probed))):
        for done, (job, corrected, _) in enumerate(context.compute.each(_correct, part), start=before + 1):
            # A case that cannot be read has its own error when it is fused.
            if corrected is not None:
                found[job.case.id] = corrected
                has_own_errors |= corrected.has_own_errors
            context.progress.advance(done, job.case.id)
        if not has_own_errors:
            break
    if len(found) < MIN_CASES or not has_own_errors:
        context.progress.advance(len(jobs) + 1 + len(judged), "not needed")
        return []
    shape, codes = _learn(run, [found[id].samples for id in sorted(found)], plan.seed)
    files = run.write_fitted(shape, codes, stage=REFERENCE)
    context.progress.advance(len(jobs) + 1, "template")
    placing = [_PlaceJob(job, found[job.case.id].labels, files[0]) for job in judged if job.case.id in found]
    placed = dict[str, _Placed]()
    for done, (place_job, one, _) in enumerate(context.compute.each(_place, placing), start=len(jobs) + 2):
        if one is not None:
            placed[place_job.job.case.id] = one
        context.progress.advance(done, place_job.job.case.id)
    # In the order of the cases: the order of completion would change the last bits of the sums.
    ordered = [placed[id] for job in judged if (id := job.case.id) in placed]
    if ordered:
        x_mm, y_mm, z_mm = (float(mm) / shape.side for mm in run.mean_size_mm(placed))
        shape = move_contacts(shape, [one.votes for one in ordered], (x_mm, y_mm, z_mm))
        files = run.write_fitted(shape, codes, stage=REFERENCE)
    return [*files, *run.write_reference_misfits(_medians([one.misfits_mm for one in ordered]))]


@dataclass(frozen=True, eq=False)
class _Job:
    output: Path
    cohort: Cohort
    case: Case
    settings: FuseSettings
    heads: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class _Corrected:
    """A case with its surfaces at the edges of its CT: label map (x, y, z) on the voxels of its ROI, and samples."""

    labels: Labels
    samples: CaseSamples
    has_own_errors: bool


def _correct(job: _Job) -> _Corrected:
    case = read_refined(RunFolder.at(job.output), job.cohort, job.case, job.cohort.read_labels(job.case))
    anatomy, roi = job.cohort.anatomy, case.prepared.roi
    corrected = correct_maps(case, anatomy, job.settings)
    maps = {one.name: corrected.maps[one.name] for one in anatomy.structures if one.name in corrected.maps}
    labels = fuse_maps(maps, anatomy, roi.grid.spacing_mm, None, job.settings.mode, job.settings.margin_mm)
    if case.image is not None:
        box = roi.source_box()
        inside = CaseVolume(roi.grid, box, case.image[box])
        snapped = snap_case(labels, maps, labels, inside, anatomy, corrected.verdicts, corrected.at_edges)
        # Label maps that all lack the rims of vessels would teach the template to lack them.
        labels = half_level_case(snapped.labels, snapped.maps, inside, anatomy, corrected.at_edges).labels
    samples = sample_case(job.case.id, labels, roi, [*job.heads.values()])
    return _Corrected(labels, samples, corrected.has_own_errors)


def _learn(run: RunFolder, samples: list[CaseSamples], seed: int) -> tuple[TemplateShape, CodeBook]:
    """The template of the run after it was fitted to these samples, and their codes."""
    shape, codes = run.fitted()
    assert isinstance(shape, TemplateShape)
    ids = [one.case_id for one in samples]
    book = CodeBook(ids, codes.of(ids))
    torch.set_num_threads(available_cores())
    sampler = PointSampler(samples, torch.device("cpu"), seed)
    Fit(shape, book, sampler, (PHASE,), cases_per_step=CASES_PER_STEP, points=POINTS).run(NoObserver())
    return shape, book


@dataclass(frozen=True, eq=False)
class _PlaceJob:
    job: _Job
    labels: Labels
    path: Path


@dataclass(frozen=True, eq=False)
class _Placed:
    """The template placed in the CT of a case, beside its label map.

    Attributes:
        misfits_mm: how far it is from the surface of each structure.
        votes: where the label map has its contacts.
    """

    misfits_mm: Mapping[str, float]
    votes: Mapping[Pair, ContactVote]


def _place(work: _PlaceJob) -> _Placed | None:
    job, labels = work.job, work.labels
    roi = RunFolder.at(job.output).roi(job.case.id)
    image = job.cohort.read_image(job.case, roi.grid)
    if image is None:
        return None
    shape, codes = load_shape_and_codes(work.path)
    assert isinstance(shape, TemplateShape)
    heads = present_ids(labels, job.heads)
    template = CaseTemplate(shape, codes.of([job.case.id]))
    code = placed_code(labels, image.values[roi.source_box()], template, roi, heads)
    placed = labels_of(shape, code, roi, heads)
    found = {name: surface_misfit_mm(labels == id, placed == id, roi) for name, id in heads.items()}
    pairs = {
        (one.name, origin): (heads[one.name], heads[origin])
        for one in job.cohort.anatomy.structures for origin in one.must_touch
        if one.name in heads and origin in heads
    }  # fmt: skip
    votes = vote_on_contacts(shape, code, labels, placed, roi, pairs)
    return _Placed({name: mm for name, mm in found.items() if mm is not None}, votes)


def _medians(misfits: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median over the cases of each structure that at least half of them have."""
    names = dict.fromkeys(name for one in misfits for name in one)
    known = {name: [one[name] for one in misfits if name in one] for name in names}
    return {name: round(float(np.median(mm)), 3) for name, mm in known.items() if 2 * len(mm) >= len(misfits)}
