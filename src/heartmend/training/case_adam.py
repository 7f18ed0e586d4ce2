"""Adam for latent codes: a step updates the codes of the sampled cases only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from heartmend.models.code_book import CodeBook

BETAS = (0.9, 0.98)
EPSILON = 1e-8

DrawnCodes = tuple[Tensor, Mapping[str, Tensor]]
"""Rows (b,) of a code book, and copies of their codes that have accumulated gradients."""


class CaseAdam:
    """Adam (Kingma and Ba, ICLR 2015) with moments per case that change only when the case is sampled.

    Adam proper updates every parameter in every step. A code that is sampled once in thirty steps would continue to
    move for ten more on the momentum of one gradient, and its second moment would have decayed by half before the next
    draw. Here one draw has the same effect in a cohort of any size, and the cost of a step depends on the number of
    sampled cases only. Where all cases are sampled in every step it is identical to Adam.

    Attributes:
        codes: the codes that are optimised.
        rates: learning rate of each optimised code, by name.
        moments: first and second moment of each optimised code, each of the code's shape.
        draws: (cases,) float32, how often each case was sampled.
    """

    def __init__(self, codes: CodeBook, rates: Mapping[str, float]) -> None:
        """Create the moments.

        Args:
            codes: the codes of all cases.
            rates: learning rate of each code that is optimised, by name; the other codes stay fixed.
        """
        self.codes, self.rates = codes, dict(rates)
        self.moments = {
            name: (torch.zeros_like(codes.values[name].data), torch.zeros_like(codes.values[name].data))
            for name in self.rates
        }
        first = next(iter(codes.values.values()))
        self.draws = torch.zeros(len(first), device=first.device)

    def copy_codes(self, rows: Tensor) -> dict[str, Tensor]:
        """Copy the codes of some cases, as leaves that accumulate gradients where they are optimised.

        Args:
            rows: (b,) int64, rows of the code book.

        Returns:
            For each name the codes (b, ...).
        """
        copies = {name: code.detach()[rows] for name, code in self.codes.values.items()}
        for name in self.rates:
            copies[name].requires_grad_()
        return copies

    @torch.no_grad()
    def step(self, parts: Sequence[DrawnCodes], factor: float = 1.0) -> None:
        """Update the codes of all sampled cases.

        A case that was sampled in several parts is updated once, by the summed gradient.

        Args:
            parts: rows and copied codes of each part of an accumulated step.
            factor: factor of all learning rates.
        """
        rows = torch.cat([rows for rows, _ in parts])
        draws = self.draws[rows] + 1
        self.draws.index_copy_(0, rows, draws)
        for name, rate in self.rates.items():
            gradient = torch.cat([_gradient(copies[name]) for _, copies in parts])
            if len(parts) > 1:
                same_case = (rows[:, None] == rows).to(gradient.dtype)
                gradient = (same_case @ gradient.flatten(1)).reshape(gradient.shape)
            t = draws.reshape(-1, *[1] * (gradient.dim() - 1))
            first, second = self.moments[name]
            mean = first[rows].lerp_(gradient, 1 - BETAS[0])
            square = second[rows].mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
            first.index_copy_(0, rows, mean)
            second.index_copy_(0, rows, square)
            spread = square.div_(1 - BETAS[1] ** t).sqrt_().add_(EPSILON)
            direction = mean.div_(1 - BETAS[0] ** t).div_(spread)
            code = self.codes.values[name].data
            code.index_copy_(0, rows, code[rows].sub_(direction, alpha=rate * factor))


def _gradient(copy: Tensor) -> Tensor:
    return torch.zeros_like(copy) if copy.grad is None else copy.grad
