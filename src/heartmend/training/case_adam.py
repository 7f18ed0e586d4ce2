"""Adam for codes: a step moves those of the drawn cases alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from heartmend.models.code_book import CodeBook

BETAS = (0.9, 0.98)
EPSILON = 1e-8

Drawn = tuple[Tensor, Mapping[str, Tensor]]
"""Rows (b,) of a code book and copies of their codes, on which gradients have been gathered."""


class CaseAdam:
    """Adam (Kingma and Ba, ICLR 2015) whose moments belong to a case and change only when the case is drawn.

    Adam proper moves every parameter in every step. A code that is drawn once in thirty steps would go on moving for
    ten more by the memory of one gradient, and its second moment would have half forgotten that gradient before the
    next: each draw would count five times, and up to eight times in a large cohort. Here a draw counts the same in a
    cohort of any size, and a step costs what is drawn, not what is there. Where all cases are drawn in every step it is
    Adam.
    """

    def __init__(self, codes: CodeBook, rates: Mapping[str, float]) -> None:
        """rates: of the codes that are to move, by name."""
        self.codes, self.rates = codes, dict(rates)
        self.moments = {
            name: (torch.zeros_like(codes.values[name].data), torch.zeros_like(codes.values[name].data))
            for name in self.rates
        }
        first = next(iter(codes.values.values()))
        self.draws = torch.zeros(len(first), device=first.device)
        """(cases,) how often each was drawn."""

    def drawn(self, rows: Tensor) -> dict[str, Tensor]:
        """Copies of the codes in these rows, of which those that are to move gather gradients."""
        copies = {name: code.detach()[rows] for name, code in self.codes.values.items()}
        for name in self.rates:
            copies[name].requires_grad_()
        return copies

    @torch.no_grad()
    def step(self, parts: Sequence[Drawn], factor: float = 1.0) -> None:
        """Move the codes of all that was drawn; a case that was drawn in several parts moves once, by the sum.

        factor: what the rates are multiplied by.
        """
        rows = torch.cat([rows for rows, _ in parts])
        draws = self.draws[rows] + 1
        self.draws.index_copy_(0, rows, draws)
        for name, rate in self.rates.items():
            gradient = torch.cat([_gradient(copies[name]) for _, copies in parts])
            if len(parts) > 1:
                same = (rows[:, None] == rows).to(gradient.dtype)
                gradient = (same @ gradient.flatten(1)).reshape(gradient.shape)
            t = draws.reshape(-1, *[1] * (gradient.dim() - 1))
            first, second = self.moments[name]
            mean = first[rows].lerp_(gradient, 1 - BETAS[0])
            square = second[rows].mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
            first.index_copy_(0, rows, mean)
            second.index_copy_(0, rows, square)
            spread = square.div_(1 - BETAS[1] ** t).sqrt_().add_(EPSILON)
            way = mean.div_(1 - BETAS[0] ** t).div_(spread)
            code = self.codes.values[name].data
            code.index_copy_(0, rows, code[rows].sub_(way, alpha=rate * factor))


def _gradient(copy: Tensor) -> Tensor:
    return torch.zeros_like(copy) if copy.grad is None else copy.grad
