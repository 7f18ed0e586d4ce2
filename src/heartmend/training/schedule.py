"""Phases of a fit, from coarse to fine, and their number of steps for a cohort."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace


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
        band_shares: share of the points drawn from the band, one value for each of equal parts of the phase.
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

    # Read by pydantic where a phase is part of a table of settings.
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    steps: int
    code_lr: float
    shape_lr: float
    loss: str = "surface_distance"
    tolerance_mm: float = 2.0
    regularisation: float = 1e-5
    band_shares: tuple[float, ...] = (0.8,)
    warm_up: float = 0.0
    side: int | None = None
    controls: int | None = None

    def __post_init__(self) -> None:
        for name, valid, expected in (
            ("steps", self.steps >= 1, "1 or more"), ("code_lr", self.code_lr > 0, "more than 0"),
            ("shape_lr", self.shape_lr >= 0, "0 or more"), ("tolerance_mm", self.tolerance_mm > 0, "more than 0"),
            ("regularisation", self.regularisation >= 0, "0 or more"),
            ("warm_up", 0 <= self.warm_up < 1, "0 or more and less than 1"),
        ):  # fmt: skip
            if not valid:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be {expected}")

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
        return 0.03 + 0.97 * (0.5 + 0.5 * math.cos(math.pi * (step - warm) / max(self.steps - warm, 1)))

    def band_share(self, step: int) -> float:
        """Return the share of the points of a step (from 0, within the phase) that are drawn from the band."""
        return self.band_shares[min(step * len(self.band_shares) // self.steps, len(self.band_shares) - 1)]


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

    An epoch is as many steps as draw each case once on average. Without `epochs`, the steps stay as they are where
    they already make `min_epochs` epochs; a larger cohort gets more steps, but at most so many that each case is drawn
    as often as in a small cohort, all of whose cases are drawn in every step.

    Args:
        phases: the phases to be scaled.
        cases: number of cases of the cohort.
        cases_per_step: number of cases drawn in each step.
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
"""Stage 1: the template, coarse to fine, so that whole hearts are aligned before their parts."""
FOLLOW_PHASES = (Phase(steps=160, code_lr=0.004, shape_lr=0.05, side=72, controls=14, tolerance_mm=1.5),)
"""Stage 3: the template, fitted to the fused maps. These have little noise, so the deformation may be finer."""
DETAIL_PHASES = (Phase(steps=3000, code_lr=0.06, shape_lr=0.003, loss="joint", tolerance_mm=1.0, regularisation=1e-4),)
"""Stage 3: the details of each case."""
