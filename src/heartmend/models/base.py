"""What a shape is: one function that holds a structure, or ten, of every case."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

Codes = Mapping[str, Tensor]
"""What is known of each case, by name: tensors whose first axis is the case."""


class Shape(nn.Module, ABC):
    """An implicit shape F(code, p): `points (case, point, 3), codes -> logits (case, point, head)`.

    A logit is positive inside. A pointwise shape's logit depends on the point and the case's code alone, never on
    the other points that are asked with it; only then is a volume asked in chunks the volume that was trained.
    """

    kind: ClassVar[str]
    pointwise: ClassVar[bool] = True
    is_distance: ClassVar[bool] = False
    """Whether a logit is a signed distance in mm, positive inside."""
    frozen: ClassVar[tuple[str, ...]] = ()
    """What a fit leaves as it is: names of codes, and how the names of weights begin."""

    def __init__(self, heads: Sequence[str]) -> None:
        super().__init__()
        self.heads = tuple(heads)

    @abstractmethod
    def forward(self, points: Tensor, codes: Codes) -> Tensor:
        """Logits (case, point, head) at points (case, point, 3) of the unit frame for the codes of the same cases."""

    @abstractmethod
    def new_codes(self, count: int, seed: int) -> dict[str, Tensor]:
        """Codes for `count` cases that were not met yet."""

    def on_lattice(self, axes: tuple[Tensor, Tensor, Tensor], codes: Codes) -> Tensor:
        """Logits (head, nx, ny, nz) of one case on the lattice with unit coordinates `axes`; equal to `forward`."""
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
        logits = self(grid.reshape(1, -1, 3), codes)[0]
        return logits.reshape(*grid.shape[:3], -1).permute(3, 0, 1, 2)

    def regularisation(self, codes: Codes) -> Tensor:
        """What the loss adds for codes that are unlikely (a scalar); |z|² unless a shape knows better."""
        return sum((code.square().mean() for code in codes.values()), start=next(iter(codes.values())).new_zeros(()))

    def regularisation_weight(self, codes: Codes) -> Tensor:
        """What the penalty of these codes counts in a mean over several processes' codes (a scalar)."""
        first = next(iter(codes.values()))
        return first.new_full((), len(first))

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The arguments that make this shape again, for JSON."""
