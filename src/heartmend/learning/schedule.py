"""How a fit goes on, from coarse to fine."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Phase(BaseModel):
    """A stretch of a fit with one resolution and one cosine of the learning rate.

    band_shares: share of the points drawn from the band, over equal parts of the phase (the curriculum). side and
    controls: resolution of a template's table and of its fields. Rates are Adam's, in units of what they move:
    code_rate in the unit frame, shape_rate in mm for a template's table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Annotated[int, Field(ge=1)]
    code_rate: Annotated[float, Field(gt=0)]
    shape_rate: Annotated[float, Field(ge=0)]
    loss: str = "surface_distance"
    tolerance_mm: Annotated[float, Field(gt=0)] = 2.0
    penalty: Annotated[float, Field(ge=0)] = 1e-5
    band_shares: tuple[float, ...] = (0.8,)
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.0
    side: int | None = None
    controls: int | None = None

    def rate_factor(self, step: int) -> float:
        """Warm-up, then a cosine from 1 to 0.03."""
        warm = self.warm_up * self.steps
        if step < warm:
            return (step + 1) / warm
        return 0.03 + 0.97 * (0.5 + 0.5 * math.cos(math.pi * (step - warm) / max(self.steps - warm, 1)))

    def band_share(self, step: int) -> float:
        """The share of the points of this step that lie in the band."""
        return self.band_shares[min(step * len(self.band_shares) // self.steps, len(self.band_shares) - 1)]
