"""fit: stage 1, one implicit shape of each structure shared by all cases, and one code for each case.

All cases are training and validation at once, because the mended masks are the product. What is reported beside the
loss is Dice against the maps that the fit was given: over the whole volume's true distribution, never over the biased
points; how near that is to the truth, no fit can know.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from heartmend.compute.process_group import ProcessGroup
from heartmend.compute.ranks import Ranks
from heartmend.compute.workers import cores, each, keep_memory
from heartmend.errors import ConfigError, FitError
from heartmend.geometry.roi import Roi
from heartmend.io.atomic import write_json
from heartmend.io.digests import fingerprint
from heartmend.models.base import Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.decoder import DecoderShape
from heartmend.repair.voxel_classifier.classifier import ClassifierSettings
from heartmend.run_folder.folder import Run
from heartmend.run_folder.records import PREPARED, PreparedCase
from heartmend.training.case_samples import CaseSamples, CaseSummary
from heartmend.training.checkpoint import load_fit, save_model
from heartmend.training.initialise import initialise_template
from heartmend.training.loop import Fit
from heartmend.training.point_sampler import PointSampler
from heartmend.training.sampling import sample_case
from heartmend.training.schedule import TEMPLATE_PHASES, Phase, cohort_step_factor, scale_steps
from heartmend.training.training_log import BEST_FILE, LAST_FILES, Progress, TrainingLog, mark_of
from heartmend.training.volume_dice import dice_of_volume
from heartmend.types import Labels

VERB = "fit"
MODEL_FILE = "model.safetensors"
log = logging.getLogger(__name__)


class FitSettings(BaseModel):
    """How stage 1 is fitted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Literal["template", "decoder"] = "template"
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = TEMPLATE_PHASES
    cases_per_step: Annotated[int, Field(ge=1)] = 32
    points: Annotated[int, Field(ge=64)] = 2500
    """Points in each case and step; halved when memory runs out."""
    gradient_accumulation: Annotated[int, Field(ge=1)] = 1
    code_size: Annotated[int, Field(ge=1)] = 256
    """Of the decoder's vector."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Passes over all cases; then a phase's steps are only its share of them."""
    min_epochs: Annotated[int, Field(ge=0)] = 400
    """Passes over all cases at least, or as many as the phases have steps: a large cohort takes more steps."""
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 30.0
    voxel_classifier: ClassifierSettings = ClassifierSettings()
    """For structures that are mended by their surroundings and have no part in the shape."""

    def phases_for(self, cases: int) -> tuple[Phase, ...]:
        """The phases for so many cases; where gradients of several steps are added up, each of them is a draw."""
        exactly = None if self.epochs is None else self.epochs / self.gradient_accumulation
        least = self.min_epochs / self.gradient_accumulation
        return scale_steps(self.phases, cohort_step_factor(self.phases, cases, self.cases_per_step, exactly, least))


def fit(
    run: Run,
    case_ids: Sequence[str],
    heads: dict[str, int],
    settings: FitSettings,
    *,
    seed: int = 0,
    team: ProcessGroup | None = None,
    workers: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Fit the shapes of `heads` (name -> id) to the prepared cases of a run; returns the model's file.

    team: the processes that do it, this one alone unless given; of several each holds the points and codes of its
    own cases. Goes on from the last checkpoint when there is one of the same settings and cases; done is done. Raises
    FitError when the loss is no number or a process died (the checkpoint before it stays), and ConfigError when there
    is nothing to fit.
    """
    if not case_ids or not heads:
        raise ConfigError("there is nothing to fit: no case was prepared, or no structure was chosen")
    case_ids = sorted(case_ids)
    folder = run.folder(VERB)
    model = folder / MODEL_FILE
    stamp = fingerprint(
        settings.model_dump(exclude={"checkpoint_seconds", "voxel_classifier"}), heads, seed, case_ids,
        *(run.case_path(PREPARED, id, ".npz") for id in case_ids),
    )  # fmt: skip
    if run.is_done(VERB, None, stamp):
        return model
    team = team or ProcessGroup()
    team.refuse_more_than(len(case_ids))
    run.forget(VERB)
    job = _Job(run.out, tuple(case_ids), heads, settings, seed, workers, stamp)
    found = team.call(_fit, job, progress)
    write_json(folder / "validation.json", {id: dict(zip(heads, row, strict=True)) for id, row in found.items()})
    run.mark_done(VERB, None, stamp, [model])
    (folder / LAST_FILES[0]).unlink(missing_ok=True)
    return model


@dataclass(frozen=True)
class _Job:
    run_out: Path
    case_ids: tuple[str, ...]
    heads: dict[str, int]
    settings: FitSettings
    seed: int
    workers: int
    mark: str


def _fit(ranks: Ranks, job: _Job, progress: Progress | None) -> dict[str, list[float]]:
    """What each process of a fit does; Dice (head,) of every case."""
    run, settings, heads = Run.at(job.run_out), job.settings, job.heads
    folder = run.folder(VERB)
    keep_memory()
    own = ranks.own(job.case_ids)
    targets = _targets(run, own, tuple(heads.values()), job.seed, max((job.workers or cores()) // ranks.count, 1))
    shape, codes = _begin(run, heads, ranks.all_gather([target.outline for target in targets]), settings, job.seed)
    codes = CodeBook(own, codes.of(own))
    fitting = Fit(
        shape.to(ranks.device), codes.to(ranks.device), PointSampler(targets, ranks.device, job.seed, ranks),
        settings.phases_for(len(job.case_ids)),
        cases_per_step=settings.cases_per_step, points=settings.points, gradient_accumulation=settings.gradient_accumulation,
        autocast=_autocast(settings, ranks.device),
    )  # fmt: skip
    del targets
    last, mark = (folder / name for name in LAST_FILES)
    if ranks.agreed(last.is_file() and mark_of(mark) == job.mark):
        load_fit(last, fitting)
        log.info("fit: going on from phase %d, step %d", fitting.position.phase + 1, fitting.position.step)
    elif ranks.is_main:
        for stale in (last, folder / BEST_FILE):
            stale.unlink(missing_ok=True)
        write_json(mark, {"mark": job.mark})
    # A few cases tell how the fit goes; all are measured at its end.
    watched = job.case_ids[:: max(len(job.case_ids) // 4, 1)][:4]
    with TrainingLog(
        folder, settings.checkpoint_seconds, tuple(heads),
        lambda fit: _dices(run, fit, watched, heads), progress, fitting,
    ) as journal:  # fmt: skip
        fitting.run(journal)
    if (whole := fitting.whole_codes()) is not None:
        save_model(folder / MODEL_FILE, shape, whole)
    return _dices(run, fitting, job.case_ids, heads)


@dataclass(frozen=True)
class _Wanted:
    run_out: Path
    case_id: str
    ids: tuple[int, ...]
    seed: int


def _target(wanted: _Wanted) -> CaseSamples:
    case = PreparedCase.load(Run.at(wanted.run_out), wanted.case_id)
    resolution = case.labels.shape[0]
    return sample_case(case.case_id, case.source, case.roi, wanted.ids, resolution=resolution, seed=wanted.seed)


def _targets(run: Run, case_ids: Sequence[str], ids: tuple[int, ...], seed: int, workers: int) -> list[CaseSamples]:
    """The target of every case, in the order of `case_ids`."""
    made = dict[str, CaseSamples]()
    for wanted, target, error in each(
        _target, [_Wanted(run.out, id, ids, seed) for id in case_ids], workers, nearby=True
    ):
        if error is not None or target is None:
            raise FitError(f"case {wanted.case_id}: no target could be made of it: {error}") from error
        made[wanted.case_id] = target
    return [made[id] for id in case_ids]


def _dices(run: Run, fit: Fit, case_ids: Sequence[str], heads: dict[str, int]) -> dict[str, list[float]]:
    """Dice of some cases by id; each process measures its own."""
    own = [id for id in case_ids if id in fit.codes.ids]
    found = [(id, whole_volume_dice_of(fit.shape, fit.codes, PreparedCase.load(run, id), heads)) for id in own]
    return dict(sorted(fit.ranks.all_gather(found)))


def whole_volume_dice_of(shape: Shape, codes: CodeBook, case: PreparedCase, heads: dict[str, int]) -> list[float]:
    """Dice (head,) of the shape against the map that it was fitted to, on every known cell of the ROI."""
    code = codes.of([case.case_id])
    labels = torch.from_numpy(case.labels).to(next(iter(code.values())).device)
    return dice_of_volume(shape, code, labels, list(heads.values())).tolist()


def _begin(
    run: Run, heads: dict[str, int], targets: Sequence[CaseSummary], settings: FitSettings, seed: int
) -> tuple[Shape, CodeBook]:
    torch.manual_seed(seed)
    if settings.shape == "decoder":
        shape = DecoderShape(tuple(heads), settings.code_size)
        return shape, CodeBook([t.case_id for t in targets], shape.new_codes(len(targets), seed))
    first = settings.phases[0]
    if first.side is None or first.controls is None:
        raise ConfigError("fit.phases: the phases of a template give side and controls")
    if not any(np.isfinite(t.centroids).all(axis=1).any() for t in targets):
        raise FitError("no case shows a whole structure, so no template can begin; give a larger field of view")

    def middle_of(case_id: str) -> tuple[Labels, Roi]:
        case = PreparedCase.load(run, case_id)
        return case.source, case.roi

    return initialise_template(heads, targets, middle_of, first.side, first.controls)


def _autocast(settings: FitSettings, device: torch.device) -> torch.dtype | None:
    if settings.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and settings.shape == "decoder" else None
    return torch.bfloat16 if settings.precision == "bfloat16" else None
