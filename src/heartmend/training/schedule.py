"""Phases of a fit, from coarse to fine, and their number of steps for a cohort."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, Literal, get_args

from heartmend.models.shape_limits import MAX_CONTROLS, MAX_TEMPLATE_SIDE, MIN_CONTROLS, MIN_SIDE

# The benchmark on a GPU needs torch, NumPy and SciPy only; its phases are not part of settings.
with suppress(ImportError):
    from pydantic import Field

LossName = Literal["dice_focal", "dice", "focal", "bce", "surface_distance", "joint"]
"""Names of the losses, the keys of `heartmend.training.losses.LOSSES`."""
MAX_STEPS = 10_000_000
"""Most steps that settings can give: weeks of a GPU."""
MAX_RATE = 10.0
"""Largest learning rate: Adam moves a value by so much in one step, and the unit frame is 2 wide."""
MAX_EPOCHS = 100_000
"""Most passes over all cases: a case needs less than a thousand."""
MAX_PHASES, MAX_BAND_SHARES = 100, 100
MAX_CHECKPOINT_SECONDS = 7 * 86_400.0
"""Longest time between two checkpoints, a week."""
MAX_STEP_POINTS = 100_000_000
"""Most points in one step, over its cases: their coordinates alone are more than a gigabyte."""


@dataclass(frozen=True)
class Phase:
    """Part of a fit with one resolution and one cosine decay of the learning rates.

    Attributes:
        steps: number of steps.
        code_lr: learning rate of the codes (Adam), in units of the unit frame.
        shape_lr: learning rate of the shape's weights (Adam), in mm for a template's table; 0 to fix them.
        loss: name of the loss.
        tolerance_mm: decay length of the weights of the losses of a distance, in mm.
        regularisation: weight of the shape's regularisation of the codes.
        band_shares: share of the points sampled from the band, one value for each of equal parts of the phase.
        warm_up: share of the steps in which the learning rates rise linearly.
        side: cells along each side of a template's table; unchanged if None.
        controls: control points along each side of the deformation; unchanged if None.

    Raises:
        ValueError: if a value is out of its range.

    Example:
        >>> phase = Phase(steps=100, code_lr=0.01, shape_lr=0.1)
        >>> phase.rate_factor(0), round(phase.rate_factor(50), 3)
        (1.0, 0.515)
    """

    # Read by pydantic, as the annotations below, where a phase is part of a table of settings.
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    # The limit is one of given phases: `scale_steps_to_cohort` can exceed it.
    steps: Annotated[int, Field(strict=True, le=MAX_STEPS)]
    code_lr: Annotated[float, Field(strict=True, le=MAX_RATE)]
    shape_lr: Annotated[float, Field(strict=True, le=MAX_RATE)]
    loss: LossName = "surface_distance"
    tolerance_mm: Annotated[float, Field(strict=True)] = 2.0
    regularisation: Annotated[float, Field(strict=True)] = 1e-5
    band_shares: Annotated[tuple[Annotated[float, Field(strict=True)], ...], Field(max_length=MAX_BAND_SHARES)] = (0.8,)
    warm_up: Annotated[float, Field(strict=True)] = 0.0
    side: Annotated[int, Field(strict=True)] | None = None
    controls: Annotated[int, Field(strict=True)] | None = None

    def __post_init__(self) -> None:
        side, controls = self.side, self.controls
        # The comparisons are false for NaN.
        limits = (
            ("steps", self.steps >= 1, "1 or more"),
            ("code_lr", 0 < self.code_lr <= MAX_RATE, f"more than 0 and at most {MAX_RATE:g}"),
            ("shape_lr", 0 <= self.shape_lr <= MAX_RATE, f"0 to {MAX_RATE:g}"),
            ("loss", self.loss in get_args(LossName), f"one of {', '.join(get_args(LossName))}"),
            ("tolerance_mm", 0 < self.tolerance_mm <= 100, "more than 0 and at most 100"),
            ("regularisation", 0 <= self.regularisation <= 1000, "0 to 1000"),
            ("warm_up", 0 <= self.warm_up < 1, "0 or more and less than 1"),
            ("band_shares", 0 < len(self.band_shares) <= MAX_BAND_SHARES and all(0 <= b <= 1 for b in self.band_shares),
             f"1 to {MAX_BAND_SHARES} values from 0 to 1"),
            ("side", side is None or MIN_SIDE <= side <= MAX_TEMPLATE_SIDE, f"{MIN_SIDE} to {MAX_TEMPLATE_SIDE}"),
            ("controls", controls is None or MIN_CONTROLS <= controls <= MAX_CONTROLS,
             f"{MIN_CONTROLS} to {MAX_CONTROLS}"),
        )  # fmt: skip
        wrong = [f"{name} is {getattr(self, name)!r}; it must be {limit}" for name, valid, limit in limits if not valid]
        if wrong:
            raise ValueError("; ".join(wrong))

    def rate_factor(self, step: int) -> float:
        """Compute the factor of the learning rates: a linear warm-up, then a cosine from 1 to 0.03.

        Args:
            step: number of the step within the phase, from 0.

        Returns:
            The factor.
        """
        warm = self.warm_up * self.steps
        if step < warm:
            return (step + 1) / warm
        return cosine_factor(step - warm, max(self.steps - warm, 1))

    def band_share(self, step: int) -> float:
        """Return the share of the points of a step that are sampled from the band.

        Args:
            step: number of the step within the phase, from 0.

        Returns:
            The share, 0 to 1.
        """
        return self.band_shares[min(step * len(self.band_shares) // self.steps, len(self.band_shares) - 1)]


def cosine_factor(step: float, steps: float) -> float:
    """Compute the factor of a learning rate that decays by a cosine from 1 to 0.03.

    Args:
        step: number of the step, from 0.
        steps: number of steps.

    Returns:
        The factor.

    Example:
        >>> cosine_factor(0, 100), round(cosine_factor(50, 100), 3), round(cosine_factor(100, 100), 3)
        (1.0, 0.515, 0.03)
    """
    return 0.03 + 0.97 * (0.5 + 0.5 * math.cos(math.pi * step / steps))


def step_errors(cases_per_step: int, points: int) -> list[str]:
    """Check that the points of one step, over its cases, are not too many.

    Args:
        cases_per_step: number of cases of a step.
        points: number of points in each case.

    Returns:
        One message, or none.
    """
    if (total := cases_per_step * points) <= MAX_STEP_POINTS:
        return []
    return [f"cases_per_step times points is {total}, the limit is {MAX_STEP_POINTS}; give fewer of one of them"]


def template_phase_errors(phases: Sequence[Phase], *, starts: bool) -> list[str]:
    """Find the phases whose resolution a template cannot have.

    Args:
        phases: phases of a fit of a template.
        starts: whether the first phase makes the template, so that it needs a resolution.

    Returns:
        One message for each error.

    Example:
        >>> template_phase_errors([Phase(steps=1, code_lr=0.1, shape_lr=0.1, side=8)], starts=True)
        ['phase 0: side and controls belong together; give both or neither']
    """
    errors = []
    if starts and phases[0].side is None and phases[0].controls is None:
        errors.append("phase 0: the first phase of a template needs side and controls; give side and controls")
    for number, phase in enumerate(phases):
        if (phase.side is None) != (phase.controls is None):
            errors.append(f"phase {number}: side and controls belong together; give both or neither")
        elif phase.side is not None and phase.controls is not None and phase.controls > phase.side:
            errors.append(f"phase {number}: controls is {phase.controls}; it must be at most side, {phase.side}")
        if phase.loss == "joint":
            errors.append(f'phase {number}: loss = "joint" is the loss of details; give "surface_distance"')
    return errors


def scale_steps_to_cohort(
    phases: Sequence[Phase],
    cases: int,
    cases_per_step: int,
    *,
    epochs: float | None = None,
    min_epochs: float = 0,
    reference: Sequence[Phase] | None = None,
) -> tuple[Phase, ...]:
    """Scale the steps of phases to the size of a cohort.

    An epoch is as many steps as sample each case once on average. Without `epochs`, the steps stay as they are where
    they already make `min_epochs` epochs; a larger cohort gets more steps, but at most so many that each case is
    sampled as often as in a small cohort, all of whose cases are sampled in every step.

    Args:
        phases: the phases to be scaled.
        cases: number of cases of the cohort.
        cases_per_step: number of cases sampled in each step.
        epochs: number of epochs of all phases together; None to determine it by `min_epochs`.
        min_epochs: smallest number of epochs.
        reference: phases whose steps determine the factor; `phases` if None.

    Returns:
        The phases with all their steps multiplied by one factor, rounded, at least 1.

    Example:
        >>> phases = (Phase(steps=10, code_lr=0.01, shape_lr=0.1), Phase(steps=30, code_lr=0.01, shape_lr=0.1))
        >>> [phase.steps for phase in scale_steps_to_cohort(phases, cases=1000, cases_per_step=100, epochs=20)]
        [50, 150]
    """
    steps = sum(phase.steps for phase in reference or phases)
    present = steps * min(cases_per_step, cases) / cases
    factor = (max(present, min(min_epochs, steps)) if epochs is None else epochs) / present
    return tuple(replace(phase, steps=max(round(phase.steps * factor), 1)) for phase in phases)


TEMPLATE_PHASES = (
    Phase(steps=80, code_lr=0.010, shape_lr=0.10, side=48, controls=6, tolerance_mm=3.0),
    Phase(steps=80, code_lr=0.008, shape_lr=0.05, side=48, controls=8, tolerance_mm=3.0),
    Phase(steps=120, code_lr=0.006, shape_lr=0.05, side=64, controls=10),
    Phase(steps=150, code_lr=0.005, shape_lr=0.05, side=64, controls=11, regularisation=3e-5),
    Phase(steps=350, code_lr=0.005, shape_lr=0.05, side=96, controls=12, tolerance_mm=1.5, regularisation=3e-5),
)
"""`fit`: the template, coarse to fine, so that whole hearts are aligned before their parts."""
FOLLOW_PHASES = (Phase(steps=160, code_lr=0.004, shape_lr=0.05, side=72, controls=14, tolerance_mm=1.5),)
"""`unify`: the template, fitted to the fused maps. These have little noise, so the deformation may be finer."""
DETAIL_PHASES = (Phase(steps=3000, code_lr=0.06, shape_lr=0.003, loss="joint", tolerance_mm=1.0, regularisation=1e-4),)
"""`unify`: the details of each case."""
