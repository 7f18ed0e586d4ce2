"""Interface of all implicit shapes: one function of a latent code and a point."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

Codes = Mapping[str, Tensor]
"""Latent codes of several cases: tensors by name whose first axis is the case."""


class Shape(nn.Module, ABC):
    """Implicit shape F(code, p): `points (case, point, 3), codes -> logits (case, point, head)`.

    A logit is positive inside. The logit of a pointwise shape depends on the point and the case's code only, never on
    the other points of the same call; only then can a volume be evaluated in chunks.

    Attributes:
        kind: name of the class in model files.
        pointwise: whether a logit is independent of the other points.
        is_distance: whether a logit is a signed distance in mm, positive inside.
        frozen: names of the codes, and prefixes of the names of the weights, that a fit does not change.
        heads: names of the structures, in the order of the logits.
    """

    kind: ClassVar[str]
    pointwise: ClassVar[bool] = True
    is_distance: ClassVar[bool] = False
    frozen: ClassVar[tuple[str, ...]] = ()

    def __init__(self, heads: Sequence[str]) -> None:
        """Create a shape.

        Args:
            heads: names of the structures, in the order of the logits.
        """
        super().__init__()
        self.heads = tuple(heads)

    @abstractmethod
    def forward(self, points: Tensor, codes: Codes) -> Tensor:
        """Predict the logits of points.

        Args:
            points: (case, point, 3) float32, coordinates in the unit frame.
            codes: codes of the same cases.

        Returns:
            (case, point, head) float32 logits, positive inside.
        """

    @abstractmethod
    def new_codes(self, count: int, seed: int) -> dict[str, Tensor]:
        """Create initial codes.

        Args:
            count: number of cases.
            seed: seed of random values.

        Returns:
            The codes of `count` cases, by name.
        """

    def on_lattice(self, axes: tuple[Tensor, Tensor, Tensor], codes: Codes) -> Tensor:
        """Predict the logits of one case on a lattice; equal to `forward` at its points.

        Args:
            axes: unit coordinates (nx,), (ny,), (nz,) along each axis.
            codes: code of one case.

        Returns:
            (head, nx, ny, nz) float32 logits.
        """
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
        logits = self(grid.reshape(1, -1, 3), codes)[0]
        return logits.reshape(*grid.shape[:3], -1).permute(3, 0, 1, 2)

    def regularisation(self, codes: Codes) -> Tensor:
        """Compute the regularisation of codes: the mean of |z|² unless the shape defines another one.

        Args:
            codes: codes of some cases, by name.

        Returns:
            The regularisation, a scalar.
        """
        return sum((code.square().mean() for code in codes.values()), start=next(iter(codes.values())).new_zeros(()))

    def regularisation_weight(self, codes: Codes) -> Tensor:
        """Compute the weight of these codes' regularisation in a mean over several processes.

        Args:
            codes: codes of some cases, by name.

        Returns:
            The weight, a scalar.
        """
        first = next(iter(codes.values()))
        return first.new_full((), len(first))

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the arguments that construct this shape again, as JSON values.

        Returns:
            The arguments, by name.
        """
