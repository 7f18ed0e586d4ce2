"""The one auto-decoder loop: a shape and the codes of all cases, fitted together to points of their label maps.

There is no encoder: each case's code is a parameter that is fitted like a weight (Park et al., DeepSDF, CVPR 2019).
All cases are training and validation at once, because the fitted shapes are the product.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from heartmend.errors import FitError
from heartmend.models.base import Codes, Shape
from heartmend.models.code_book import CodeBook
from heartmend.training.case_adam import BETAS, CaseAdam, Drawn
from heartmend.training.losses import loss_by_name, whole_volume_dice
from heartmend.training.point_sampler import PointSampler
from heartmend.training.schedule import Phase

CHECK_EVERY = 10
FEWEST_POINTS = 64


@dataclass(frozen=True)
class Step:
    """What a step has to tell. dice: (head,) of the whole volume, estimated from the step's points."""

    number: int
    total: int
    phase: int
    loss: float
    dice: npt.NDArray[np.float32]
    seconds: float
    peak_memory_bytes: int


@dataclass
class Position:
    """Where a fit stands: the phase, the step in it, and how many points a step takes in a case."""

    phase: int = 0
    step: int = 0
    points: int = 2500


class Watcher(Protocol):
    """What looks on while a fit runs: progress, logs, checkpoints."""

    def stepped(self, step: Step) -> None:
        """After every `CHECK_EVERY`th step."""

    def reached(self, fit: Fit) -> None:
        """At a moment that is good for a checkpoint: finite, between two steps."""

    def halved(self, points: int) -> None:
        """Memory ran out; from here a step takes this many points in a case."""


class Fit:
    """A shape, its codes, and the optimisers that move both through the phases. `run` goes on from `position`.

    `weights` moves the shape, and is None where it is to stay; `moves` moves the codes.
    """

    weights: torch.optim.Adam | None
    moves: CaseAdam

    def __init__(
        self,
        shape: Shape,
        codes: CodeBook,
        sampler: PointSampler,
        phases: Sequence[Phase],
        *,
        cases_per_step: int = 32,
        points: int = 2500,
        gradient_accumulation: int = 1,
        autocast: torch.dtype | None = None,
        compiled: bool = False,
    ) -> None:
        """codes: of this process's own cases, which are the sampler's too; autocast: what the shape computes in;
        compiled: whether the shape is compiled for each phase, which takes a minute and pays on a GPU alone."""
        self.shape, self.codes, self.sampler, self.ranks = shape, codes, sampler, sampler.ranks
        self._compiled = compiled
        self.phases = tuple(phases)
        self.cases_per_step, self.gradient_accumulation, self.autocast = cases_per_step, gradient_accumulation, autocast
        self.position = Position(points=points)
        self._enter(self.phases[0])

    @property
    def total(self) -> int:
        """All steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    @property
    def number(self) -> int:
        """How many steps of all are taken."""
        return sum(phase.steps for phase in self.phases[: self.position.phase]) + self.position.step

    def whole_codes(self) -> CodeBook | None:
        """The codes of all processes' cases, on the leader; None elsewhere. To be called by all of them."""
        if self.ranks.count == 1:
            return self.codes
        ids = self.ranks.all_gather(self.codes.ids)
        rows = {name: self.ranks.gather_rows(code) for name, code in self.codes.values.items()}
        return (
            CodeBook(ids, {name: row for name, row in rows.items() if row is not None}) if self.ranks.is_main else None
        )

    @property
    def done(self) -> bool:
        """Whether no step is left."""
        return self.position.phase >= len(self.phases)

    def seek(self, position: Position) -> None:
        """Stand at a position, with parameters of that phase's resolution: what a restart needs before loading."""
        for phase in self.phases[: position.phase + 1]:
            self._enter(phase)
        self.position = position

    def run(self, watcher: Watcher) -> None:
        """Take every step that is left. Raises FitError when the loss is no number or memory runs out for good."""
        number = self.number
        began, first = time.monotonic(), number
        while not self.done:
            phase = self.phases[self.position.phase]
            if self.position.step == 0 and self.position.phase > 0:
                self._enter(phase)
            while self.position.step < phase.steps:
                tells = (number + 1) % CHECK_EVERY == 0 or self.position.step + 1 == phase.steps
                loss, dice = self._step_that_fits(phase, number, tells, watcher)
                self.position.step += 1
                number += 1
                if dice is not None:
                    value = loss.item()
                    if value != value or value in (float("inf"), float("-inf")):
                        raise FitError(
                            f"the loss is {value} at step {number} of {self.total}; the checkpoint before it is kept: "
                            "lower code_lr and shape_lr, or look at the inputs that `heartmend run` warned of"
                        )
                    watcher.stepped(
                        Step(number, self.total, self.position.phase, value, dice.cpu().numpy(),
                             (time.monotonic() - began) / max(number - first, 1) * (self.total - number),
                             self._peak_memory())
                    )  # fmt: skip
                    if self.position.step < phase.steps:
                        watcher.reached(self)
            self.position.phase += 1
            self.position.step = 0
            watcher.reached(self)

    def _enter(self, phase: Phase) -> None:
        """Bring shape and codes to the phase's resolution and begin its optimisers."""
        refine: Callable[..., dict[str, Tensor]] | None = getattr(self.shape, "refine", None)
        if refine is not None and phase.side is not None and phase.controls is not None:
            self.codes.replace(refine(dict(self.codes.values.items()), side=phase.side, controls=phase.controls))
        frozen = self.shape.frozen
        for name, weight in self.shape.named_parameters():
            weight.requires_grad_(phase.shape_lr > 0 and not name.startswith(frozen))
        weights = [weight for weight in self.shape.parameters() if weight.requires_grad]
        fused = self.sampler.device.type == "cuda"
        self.weights = torch.optim.Adam(weights, phase.shape_lr, BETAS, fused=fused) if weights else None
        # An affine map moves all points at once, a control point only those about it.
        rates = {name: (0.3 if name == "affine" else 1.0) * phase.code_lr for name in self.codes.values}
        self.moves = CaseAdam(self.codes, {name: rate for name, rate in rates.items() if name not in frozen})
        self._asked = torch.compile(self.shape, dynamic=False) if self._compiled else self.shape

    def _step_that_fits(self, phase: Phase, number: int, tells: bool, watcher: Watcher) -> tuple[Tensor, Tensor | None]:
        while True:
            try:
                return self._step(phase, number, tells)
            except torch.OutOfMemoryError as error:
                self.shape.zero_grad(set_to_none=True)
                # The others are in the middle of a sum and cannot be told to begin the step again.
                if self.ranks.count > 1 or self.position.points // 2 < FEWEST_POINTS:
                    raise FitError(
                        f"out of memory with {self.position.points} points in a case, the fewest that a step may take "
                        "here; give fewer points, cases_per_step or a smaller resolution"
                    ) from error
                self.position.points //= 2
                if self.sampler.device.type == "cuda":
                    torch.cuda.empty_cache()
                watcher.halved(self.position.points)

    def _step(self, phase: Phase, number: int, tells: bool) -> tuple[Tensor, Tensor | None]:
        """One step; its loss, and when it `tells` its Dice. Nothing in it waits for the device."""
        factor = phase.rate_factor(self.position.step)
        self.shape.zero_grad(set_to_none=True)
        loss_of = loss_by_name(phase.loss, phase.tolerance_mm)
        total = torch.zeros((), device=self.sampler.device)
        kind = self.sampler.device.type
        parts: list[Drawn] = []
        for part in range(self.gradient_accumulation):
            batch = self.sampler.draw(
                number * self.gradient_accumulation + part, self.cases_per_step, self.position.points,
                phase.band_share(self.position.step),
            )  # fmt: skip
            codes = self.moves.drawn(batch.cases)
            with torch.autocast(kind, dtype=self.autocast, enabled=self.autocast is not None):
                logits = self._asked(batch.points, codes)
            loss = loss_of(logits.float(), batch, self.ranks.total) + phase.regularisation * self._penalty(codes)
            (loss / self.gradient_accumulation).backward()
            total += loss.detach() / self.gradient_accumulation
            parts.append((batch.cases, codes))
        dice = whole_volume_dice(logits.detach(), batch, self.ranks.total) if tells else None
        # Last of all what moves: when memory runs out before, the step is begun again as if it had not been.
        if self.weights is not None:
            self.ranks.add_gradients(self.weights.param_groups[0]["params"])
            self.weights.param_groups[0]["lr"] = phase.shape_lr * factor
            self.weights.step()
        self.moves.step(parts, factor)
        return total, dice

    def _penalty(self, codes: Codes) -> Tensor:
        """That of all the drawn cases; none of them may be this process's own."""
        moved = [codes[name] for name in self.moves.rates]
        value = self.shape.regularisation(codes) if len(moved[0]) else torch.stack([code.sum() for code in moved]).sum()
        return self.ranks.mean(value, self.shape.regularisation_weight(codes))

    def _peak_memory(self) -> int:
        if self.sampler.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.sampler.device))
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
