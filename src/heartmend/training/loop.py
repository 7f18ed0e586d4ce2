"""Auto-decoder loop: a shape and the codes of all cases, optimised together on points of their label maps.

There is no encoder: each case's code is a parameter that is optimised like a weight (Park et al., DeepSDF, CVPR 2019).
All cases are training and validation at once, because the fitted shapes are the product.
"""

from __future__ import annotations

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
from heartmend.training.case_adam import BETAS, CaseAdam, DrawnCodes
from heartmend.training.losses import loss_by_name, whole_volume_dice
from heartmend.training.point_sampler import PointSampler
from heartmend.training.schedule import Phase

REPORT_EVERY = 10
"""Steps between two reports, which alone wait for the device."""
MIN_POINTS = 64
"""Fewest points of a case and step that are tried when memory runs out."""


@dataclass(frozen=True)
class Step:
    """Report of one step.

    Attributes:
        number: steps done so far, including this one.
        total: steps of all phases.
        phase: number of the phase, from 0.
        loss: loss of the step.
        dice: (heads,) float32, Dice over the whole volume, estimated from the points of the step.
        peak_memory_bytes: peak memory of the device, or of the process on a CPU.
    """

    number: int
    total: int
    phase: int
    loss: float
    dice: npt.NDArray[np.float32]
    peak_memory_bytes: int


@dataclass
class Position:
    """Position of a fit.

    Attributes:
        phase: number of the phase, from 0.
        step: number of steps done in the phase.
        points: points in each case and step.
    """

    phase: int = 0
    step: int = 0
    points: int = 2500


class TrainingObserver(Protocol):
    """Observer of a fit, for progress reports, logs and checkpoints."""

    def on_step(self, step: Step) -> None:
        """Receive a report: every `REPORT_EVERY` steps and at the end of each phase.

        Args:
            step: the step.
        """

    def on_checkpoint(self, fit: Fit) -> None:
        """Receive the fit between two steps when a checkpoint can be written: the loss is finite.

        Args:
            fit: the fit.
        """

    def on_memory_halved(self, points: int) -> None:
        """Receive a new number of points: memory ran out, and it was halved.

        Args:
            points: the new number of points in each case.
        """


class Fit:
    """Optimisation of a shape and its codes through a sequence of phases.

    Attributes:
        shape: the shape.
        codes: the codes of this process's own cases.
        sampler: samples the points.
        ranks: the processes of the fit.
        phases: the phases.
        position: where `run` continues.
        shape_optimiser: optimiser of the shape's weights; None in a phase in which they are fixed.
        code_optimiser: optimiser of the codes.
        evaluate: evaluates the shape, `points (b, p, 3), codes -> logits (b, p, heads)`; the shape itself unless it is
            replaced, for example by `torch.compile(shape)`.
    """

    shape_optimiser: torch.optim.Adam | None
    code_optimiser: CaseAdam

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
    ) -> None:
        """Enter the first phase.

        Args:
            shape: the shape, on the sampler's device.
            codes: codes of this process's own cases, in the order of the sampler's.
            sampler: samples the points.
            phases: the phases, at least one.
            cases_per_step: number of cases sampled in each step.
            points: points in each case and step; halved when memory runs out.
            gradient_accumulation: draws whose gradients are averaged in each step.
            autocast: dtype in which the shape is evaluated; its own if None.
        """
        self.shape, self.codes, self.sampler, self.ranks = shape, codes, sampler, sampler.ranks
        self.evaluate: Callable[[Tensor, Codes], Tensor] = shape
        self.phases = tuple(phases)
        self.cases_per_step, self.gradient_accumulation, self.autocast = cases_per_step, gradient_accumulation, autocast
        self.position = Position(points=points)
        self._enter(self.phases[0])

    @property
    def total_steps(self) -> int:
        """Number of steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    @property
    def steps_done(self) -> int:
        """Number of steps done so far."""
        return sum(phase.steps for phase in self.phases[: self.position.phase]) + self.position.step

    @property
    def done(self) -> bool:
        """Whether all steps are done."""
        return self.position.phase >= len(self.phases)

    def gather_codes(self) -> CodeBook | None:
        """Gather the codes of all processes; every process must call it.

        Returns:
            The codes of all cases on the main process, None on the others.
        """
        if self.ranks.count == 1:
            return self.codes
        ids = self.ranks.all_gather(self.codes.ids)
        rows = {name: self.ranks.gather_rows(code) for name, code in self.codes.values.items()}
        if not self.ranks.is_main:
            return None
        return CodeBook(ids, {name: row for name, row in rows.items() if row is not None})

    def seek(self, position: Position) -> None:
        """Move to a position and give the parameters the resolution of its phase, as loading a checkpoint requires.

        Args:
            position: the position.
        """
        for phase in self.phases[: position.phase + 1]:
            self._enter(phase)
        self.position = position

    def run(self, observer: TrainingObserver) -> None:
        """Run all remaining steps.

        Args:
            observer: is called after steps and when a checkpoint can be written.

        Raises:
            FitError: if the loss is NaN or infinite, or if memory runs out with the fewest points.
        """
        number = self.steps_done
        while not self.done:
            phase = self.phases[self.position.phase]
            if self.position.step == 0 and self.position.phase > 0:
                self._enter(phase)
            while self.position.step < phase.steps:
                reports = (number + 1) % REPORT_EVERY == 0 or self.position.step + 1 == phase.steps
                loss, dice = self._step_within_memory(phase, number, reports, observer)
                self.position.step += 1
                number += 1
                if dice is not None:
                    value = loss.item()
                    if value != value or value in (float("inf"), float("-inf")):
                        raise FitError(
                            f"the loss is {value} at step {number} of {self.total_steps}; the last checkpoint is kept: "
                            "lower code_lr and shape_lr, or check the inputs that `heartmend run` warned about"
                        )
                    observer.on_step(
                        Step(number, self.total_steps, self.position.phase, value, dice.cpu().numpy(),
                             self._peak_memory())
                    )  # fmt: skip
                    if self.position.step < phase.steps:
                        observer.on_checkpoint(self)
            self.position.phase += 1
            self.position.step = 0
            observer.on_checkpoint(self)

    def _enter(self, phase: Phase) -> None:
        """Change shape and codes to the phase's resolution and create its optimisers."""
        refine: Callable[..., dict[str, Tensor]] | None = getattr(self.shape, "refine", None)
        if refine is not None and phase.side is not None and phase.controls is not None:
            self.codes.replace(refine(dict(self.codes.values.items()), side=phase.side, controls=phase.controls))
        frozen = self.shape.frozen
        for name, weight in self.shape.named_parameters():
            weight.requires_grad_(phase.shape_lr > 0 and not name.startswith(frozen))
        weights = [weight for weight in self.shape.parameters() if weight.requires_grad]
        self.shape_optimiser = torch.optim.Adam(weights, phase.shape_lr, BETAS, fused=True) if weights else None
        # An affine map moves all points at once, a control point only those near it.
        rates = {name: (0.3 if name == "affine" else 1.0) * phase.code_lr for name in self.codes.values}
        self.code_optimiser = CaseAdam(self.codes, {name: rate for name, rate in rates.items() if name not in frozen})

    def _step_within_memory(
        self, phase: Phase, number: int, reports: bool, observer: TrainingObserver
    ) -> tuple[Tensor, Tensor | None]:
        """Run one step, with half the points as often as memory runs out."""
        while True:
            try:
                return self._step(phase, number, reports)
            except torch.OutOfMemoryError as error:
                self.shape.zero_grad(set_to_none=True)
                # The other processes wait within a sum and cannot repeat the step.
                if self.ranks.count > 1 or self.position.points // 2 < MIN_POINTS:
                    raise FitError(
                        f"out of memory with {self.position.points} points in each case, the fewest that are possible "
                        "here; give fewer points, fewer cases_per_step or a lower resolution"
                    ) from error
                self.position.points //= 2
                if self.sampler.device.type == "cuda":
                    torch.cuda.empty_cache()
                observer.on_memory_halved(self.position.points)

    def _step(self, phase: Phase, number: int, reports: bool) -> tuple[Tensor, Tensor | None]:
        """Run one step; returns its loss and, if it `reports`, its Dice. Nothing here waits for the device."""
        factor = phase.rate_factor(self.position.step)
        self.shape.zero_grad(set_to_none=True)
        loss_function = loss_by_name(phase.loss, phase.tolerance_mm)
        total = torch.zeros((), device=self.sampler.device)
        device_type = self.sampler.device.type
        parts: list[DrawnCodes] = []
        for part in range(self.gradient_accumulation):
            batch = self.sampler.draw(
                number * self.gradient_accumulation + part, self.cases_per_step, self.position.points,
                phase.band_share(self.position.step),
            )  # fmt: skip
            codes = self.code_optimiser.copy_codes(batch.cases)
            with torch.autocast(device_type, dtype=self.autocast, enabled=self.autocast is not None):
                logits = self.evaluate(batch.points, codes)
            loss = loss_function(logits.float(), batch, self.ranks.total)
            loss = loss + phase.regularisation * self._regularisation(codes)
            (loss / self.gradient_accumulation).backward()
            total += loss.detach() / self.gradient_accumulation
            parts.append((batch.cases, codes))
        dice = whole_volume_dice(logits.detach(), batch, self.ranks.total) if reports else None
        # The updates are made last: a step that runs out of memory before them can be repeated.
        if self.shape_optimiser is not None:
            self.ranks.add_gradients(self.shape_optimiser.param_groups[0]["params"])
            self.shape_optimiser.param_groups[0]["lr"] = phase.shape_lr * factor
            self.shape_optimiser.step()
        self.code_optimiser.step(parts, factor)
        return total, dice

    def _regularisation(self, codes: Codes) -> Tensor:
        """Mean regularisation of all sampled cases, of which this process may have none."""
        optimised = [codes[name] for name in self.code_optimiser.rates]
        if len(optimised[0]):
            value = self.shape.regularisation(codes)
        else:
            value = torch.stack([code.sum() for code in optimised]).sum()
        return self.ranks.mean(value, self.shape.regularisation_weight(codes))

    def _peak_memory(self) -> int:
        if self.sampler.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.sampler.device))
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
