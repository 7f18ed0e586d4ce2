"""fit: stage 1, one implicit shape of each structure shared by all cases, and one code for each case.

All cases are training and validation at once, because the mended masks are the product. What is reported beside the
loss is Dice against the maps that the fit was given: over the whole volume's true distribution, never over the biased
points; how near that is to the truth, no fit can know.
"""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.utils.tensorboard import SummaryWriter

from heartmend.data import Run, fingerprint, read_json, write_json, write_text
from heartmend.errors import ConfigError, FitError, RunError
from heartmend.learning.begin import begin_template
from heartmend.learning.checkpoint import load_fit, read_metadata, save_fit, save_model
from heartmend.learning.loop import Fit, Step
from heartmend.learning.points import PointSampler
from heartmend.learning.schedule import Phase
from heartmend.learning.surroundings import SurroundingsSettings
from heartmend.learning.targets import Target, make_target
from heartmend.shapes import CodeBook, DecoderShape, Shape
from heartmend.shapes.tables import cell_centres
from heartmend.space import Roi
from heartmend.stages.handover import PREPARED, Prepared
from heartmend.stages.workers import each
from heartmend.types import UNKNOWN, Labels

VERB = "fit"
MODEL_FILE = "model.safetensors"
BEST_FILE = "best.safetensors"
log = logging.getLogger(__name__)

Progress = Callable[[Step, float | None], None]
"""Told now and then where the fit stands, and the whole-volume Dice when it was last measured."""

MENDING = (
    Phase(steps=80, code_rate=0.010, shape_rate=0.10, side=48, controls=6, tolerance_mm=3.0),
    Phase(steps=80, code_rate=0.008, shape_rate=0.05, side=48, controls=8, tolerance_mm=3.0),
    Phase(steps=120, code_rate=0.006, shape_rate=0.05, side=64, controls=10),
    Phase(steps=150, code_rate=0.005, shape_rate=0.05, side=64, controls=11, penalty=3e-5),
    Phase(steps=350, code_rate=0.005, shape_rate=0.05, side=96, controls=12, tolerance_mm=1.5, penalty=3e-5),
)
"""The template, coarse to fine: first whole hearts fall into place, then their parts."""


class FitSettings(BaseModel):
    """How stage 1 is fitted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Literal["template", "decoder"] = "template"
    phases: tuple[Phase, ...] = MENDING
    cases_per_step: Annotated[int, Field(ge=1)] = 32
    points: Annotated[int, Field(ge=64)] = 2500
    """Points in each case and step; halved when memory runs out."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    code_size: Annotated[int, Field(ge=1)] = 256
    """Of the decoder's vector."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Passes over all cases; then a phase's steps are only its share of them."""
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 30.0
    surroundings: SurroundingsSettings = SurroundingsSettings()
    """For structures that are mended by their surroundings and have no part in the shape."""

    def phases_for(self, cases: int) -> tuple[Phase, ...]:
        """The phases for so many cases."""
        if self.epochs is None:
            return self.phases
        steps = self.epochs * cases / (min(self.cases_per_step, cases) * self.accumulate)
        share = steps / sum(phase.steps for phase in self.phases)
        return tuple(p.model_copy(update={"steps": max(round(p.steps * share), 1)}) for p in self.phases)


def fit(
    run: Run,
    case_ids: Sequence[str],
    heads: dict[str, int],
    settings: FitSettings,
    *,
    seed: int = 0,
    device: str = "cpu",
    workers: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Fit the shapes of `heads` (name -> id) to the prepared cases of a run; returns the model's file.

    Goes on from the last checkpoint when there is one of the same settings and cases; done is done. Raises FitError
    when the loss is no number (the checkpoint before it stays) and ConfigError when there is nothing to fit.
    """
    if not case_ids or not heads:
        raise ConfigError("there is nothing to fit: no case was prepared, or no structure was chosen")
    case_ids = sorted(case_ids)
    folder = run.folder(VERB)
    model = folder / MODEL_FILE
    stamp = fingerprint(
        settings.model_dump(exclude={"checkpoint_seconds", "surroundings"}), heads, seed, case_ids,
        *(run.case_path(PREPARED, id, ".npz") for id in case_ids),
    )  # fmt: skip
    if run.is_done(VERB, None, stamp):
        return model
    targets = _targets(run, case_ids, tuple(heads.values()), seed, workers)
    where = torch.device(device)
    shape, codes = _begin(run, heads, targets, settings, seed)
    shape, codes = shape.to(where), codes.to(where)
    fitting = Fit(
        shape, codes, PointSampler(targets, where, seed), settings.phases_for(len(case_ids)),
        cases_per_step=settings.cases_per_step, points=settings.points, accumulate=settings.accumulate,
        autocast=_autocast(settings, where),
    )  # fmt: skip
    last = folder / "last.safetensors"
    if last.is_file() and _mark_of(folder) == stamp:
        load_fit(last, fitting)
        log.info("fit: going on from phase %d, step %d", fitting.position.phase + 1, fitting.position.step)
    else:
        for stale in (last, folder / BEST_FILE):
            stale.unlink(missing_ok=True)
    write_json(folder / "last.json", {"mark": stamp})
    run.forget(VERB)
    # A few cases tell how the fit goes; all are measured at its end.
    watched = case_ids[:: max(len(case_ids) // 4, 1)][:4]
    with _Keeper(
        folder, settings.checkpoint_seconds, heads, lambda fit: _dices(run, fit.shape, fit.codes, watched, heads),
        progress, fitting,
    ) as keeper:  # fmt: skip
        fitting.run(keeper)
    save_model(model, shape, codes)
    found = _dices(run, shape, codes, case_ids, heads)
    write_json(folder / "validation.json", {id: dict(zip(heads, row, strict=True)) for id, row in found.items()})
    run.mark_done(VERB, None, stamp, [model])
    last.unlink(missing_ok=True)
    return model


def _mark_of(folder: Path) -> str | None:
    """What the checkpoint in the folder is one of; None when that cannot be told."""
    try:
        return str(read_json(folder / "last.json")["mark"])
    except (RunError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class _Wanted:
    run_out: Path
    case_id: str
    ids: tuple[int, ...]
    seed: int


def _target(wanted: _Wanted) -> Target:
    case = Prepared.load(Run.at(wanted.run_out), wanted.case_id)
    resolution = case.labels.shape[0]
    return make_target(case.case_id, case.source, case.roi, wanted.ids, resolution=resolution, seed=wanted.seed)


def _targets(run: Run, case_ids: Sequence[str], ids: tuple[int, ...], seed: int, workers: int) -> list[Target]:
    """The target of every case, in the order of `case_ids`."""
    made = dict[str, Target]()
    for wanted, target, error in each(_target, [_Wanted(run.out, id, ids, seed) for id in case_ids], workers):
        if error is not None or target is None:
            raise FitError(f"case {wanted.case_id}: no target could be made of it: {error}") from error
        made[wanted.case_id] = target
    return [made[id] for id in case_ids]


def _dices(
    run: Run, shape: Shape, codes: CodeBook, case_ids: Sequence[str], heads: dict[str, int]
) -> dict[str, list[float]]:
    return {id: whole_volume_dice_of(shape, codes, Prepared.load(run, id), heads) for id in case_ids}


def whole_volume_dice_of(shape: Shape, codes: CodeBook, case: Prepared, heads: dict[str, int]) -> list[float]:
    """Dice (head,) of the shape against the map that it was fitted to, on every known cell of the ROI."""
    known = case.labels != UNKNOWN
    inside = lattice_logits(shape, codes.of([case.case_id]), case.labels.shape[0]) > 0
    row = []
    for guess, head in zip(inside, heads.values(), strict=True):
        truth = case.labels == head
        guess &= known
        total = int(truth.sum()) + int(guess.sum())
        row.append(2 * int((truth & guess).sum()) / total if total else 1.0)
    return row


@torch.no_grad()
def lattice_logits(shape: Shape, code: dict[str, torch.Tensor], side: int, slab: int = 16) -> np.ndarray:
    """Logits (head, side, side, side) of one case over the whole unit frame, slab by slab where that is the same."""
    axis = cell_centres(side, next(iter(code.values())).device)
    slabs = axis.split(slab if shape.pointwise else side)
    return np.concatenate([shape.on_lattice((x, axis, axis), code).cpu().numpy() for x in slabs], axis=1)


class _Keeper:
    """Looks on while a fit runs: logs for people and TensorBoard, checkpoints, the best model so far."""

    def __init__(
        self, folder: Path, seconds: float, heads: dict[str, int], validate: Callable[[Fit], dict[str, list[float]]],
        progress: Progress | None, begun: Fit,
    ) -> None:  # fmt: skip
        self._folder, self._seconds, self._heads, self._progress = folder, seconds, heads, progress
        self._validate = validate
        self._saved = self._logged = time.monotonic()
        self._step, self._phase = begun.number, begun.position.phase
        best = folder / BEST_FILE
        self._best = float(read_metadata(best).get("dice", -1.0)) if best.is_file() else -1.0
        self._whole: float | None = None

    def __enter__(self) -> _Keeper:
        path = self._folder / "log.csv"
        columns = ["step", "phase", "loss", "training_dice", "whole_volume_dice", "peak_memory_mb"]
        # What a killed fit did after its last checkpoint is done, and told, once more.
        write_text(path, _log_up_to(self._step, path, [*columns, *(f"dice_{name}" for name in self._heads), "seconds"]))
        self._file = path.open("a", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._board = SummaryWriter(str(self._folder / "tensorboard"), purge_step=self._step)
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._board.close()

    def stepped(self, step: Step) -> None:
        dice = step.dice.tolist()
        mean = float(np.mean(dice))
        whole = "" if self._whole is None else round(self._whole, 5)
        row = [step.number, step.phase + 1, round(step.loss, 6), round(mean, 5), whole, step.peak_memory_bytes >> 20]
        now = time.monotonic()
        self._rows.writerow([*row, *(round(d, 5) for d in dice), round(now - self._logged, 2)])
        self._logged = now
        self._file.flush()
        self._board.add_scalar("loss", step.loss, step.number)
        self._board.add_scalar("dice/training", mean, step.number)
        if self._progress is not None:
            self._progress(step, self._whole)

    def reached(self, fit: Fit) -> None:
        if fit.position.phase != self._phase:
            self._phase = fit.position.phase
            self._whole = float(np.mean(list(self._validate(fit).values())))
            self._board.add_scalar("dice/whole_volume", self._whole, self._phase)
            if self._whole > self._best:
                self._best = self._whole
                save_model(self._folder / BEST_FILE, fit.shape, fit.codes, dice=self._best)
            save_fit(self._folder / "last.safetensors", fit)
            self._saved = time.monotonic()
        elif time.monotonic() - self._saved > self._seconds:
            save_fit(self._folder / "last.safetensors", fit)
            self._saved = time.monotonic()

    def halved(self, points: int) -> None:
        log.warning("fit: memory ran out; from here a step takes %d points in a case", points)


def _log_up_to(step: int, path: Path, columns: list[str]) -> str:
    """The log of a fit up to a step, or its head alone when there is none with these columns."""
    head = ",".join(columns) + "\n"
    if step == 0 or not path.is_file():
        return head
    first, *rows = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    kept = [row for row in rows if row.partition(",")[0].isdecimal() and int(row.partition(",")[0]) <= step]
    return head + "".join(f"{row}\n" for row in kept) if f"{first}\n" == head else head


def _begin(
    run: Run, heads: dict[str, int], targets: list[Target], settings: FitSettings, seed: int
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
        case = Prepared.load(run, case_id)
        return case.source, case.roi

    return begin_template(heads, targets, middle_of, first.side, first.controls)


def _autocast(settings: FitSettings, device: torch.device) -> torch.dtype | None:
    if settings.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and settings.shape == "decoder" else None
    return torch.bfloat16 if settings.precision == "bfloat16" else None
