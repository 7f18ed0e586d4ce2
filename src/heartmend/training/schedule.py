"""How a fit goes on, from coarse to fine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Phase:
    """A stretch of a fit with one resolution and one cosine of the learning rate.

    band_shares: share of the points drawn from the band, over equal parts of the phase (the curriculum). side and
    controls: resolution of a template's table and of its fields. Rates are Adam's, in units of what they move:
    code_lr in the unit frame, shape_lr in mm for a template's table. ValueError for what cannot be meant.
    """

    # Read by pydantic where a phase stands in a table of settings.
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
        for name, holds, wanted in (
            ("steps", self.steps >= 1, "1 or more"), ("code_lr", self.code_lr > 0, "more than 0"),
            ("shape_lr", self.shape_lr >= 0, "0 or more"), ("tolerance_mm", self.tolerance_mm > 0, "more than 0"),
            ("penalty", self.regularisation >= 0, "0 or more"), ("warm_up", 0 <= self.warm_up < 1, "0 or more, below 1"),
        ):  # fmt: skip
            if not holds:
                raise ValueError(f"{name} is {getattr(self, name)}; give {wanted}")

    def rate_factor(self, step: int) -> float:
        """Warm-up, then a cosine from 1 to 0.03."""
        warm = self.warm_up * self.steps
        if step < warm:
            return (step + 1) / warm
        return 0.03 + 0.97 * (0.5 + 0.5 * math.cos(math.pi * (step - warm) / max(self.steps - warm, 1)))

    def band_share(self, step: int) -> float:
        """The share of the points of this step that lie in the band."""
        return self.band_shares[min(step * len(self.band_shares) // self.steps, len(self.band_shares) - 1)]


def scale_steps(phases: Sequence[Phase], factor: float) -> tuple[Phase, ...]:
    """The phases with so many times their steps, one at least."""
    return tuple(replace(phase, steps=max(round(phase.steps * factor), 1)) for phase in phases)


def cohort_step_factor(
    phases: Sequence[Phase], cases: int, drawn: int, exactly: float | None, at_least: float = 0
) -> float:
    """By how much to stretch phases whose steps draw `drawn` of `cases` cases: so that each case is drawn `exactly` so
    often; or where that is None, `at_least` so often, but not more often than a small cohort, of which every step draws
    all. 1 where it is so already."""
    steps = sum(phase.steps for phase in phases)
    own = steps * min(drawn, cases) / cases
    return (max(own, min(at_least, steps)) if exactly is None else exactly) / own


TEMPLATE_PHASES = (
    Phase(steps=80, code_lr=0.010, shape_lr=0.10, side=48, controls=6, tolerance_mm=3.0),
    Phase(steps=80, code_lr=0.008, shape_lr=0.05, side=48, controls=8, tolerance_mm=3.0),
    Phase(steps=120, code_lr=0.006, shape_lr=0.05, side=64, controls=10),
    Phase(steps=150, code_lr=0.005, shape_lr=0.05, side=64, controls=11, regularisation=3e-5),
    Phase(steps=350, code_lr=0.005, shape_lr=0.05, side=96, controls=12, tolerance_mm=1.5, regularisation=3e-5),
)
"""Stage 1's template, coarse to fine: first whole hearts fall into place, then their parts."""
FOLLOW_PHASES = (Phase(steps=160, code_lr=0.004, shape_lr=0.05, side=72, controls=14, tolerance_mm=1.5),)
"""Stage 1's template led to the fused maps: they are clean, so its fields may be finer."""
DETAIL_PHASES = (Phase(steps=3000, code_lr=0.06, shape_lr=0.003, loss="joint", tolerance_mm=1.0, regularisation=1e-4),)
"""What each case has beyond the template, in stage 3."""
