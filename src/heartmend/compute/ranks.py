"""The processes that fit together, seen from one of them: which cases are its own, and sums over all processes.

Each process holds the points and the codes of its own cases, every `count`th of the cohort, and a copy of the shape.
All draw the same step by the same numbers; each asks the shape at the points of its own cases. What a loss adds up, and
the gradients of the shape's weights, are summed over the processes, so a step is that of a single one but for the order
of the sums. Codes never travel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")
BLOCK_BYTES = 1 << 28
_NOTHING = object()


class _Total(torch.autograd.Function):
    """The sum over the processes. Its gradient goes to each process's own part as it is: each part counts once."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0]


@dataclass(frozen=True)
class Ranks:
    """This process among `count`; every method that moves something must be called by all of them together."""

    rank: int = 0
    count: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009  (never changed)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def own(self, items: Sequence[T]) -> list[T]:
        """What of a cohort's list is this process's."""
        return list(items[self.rank :: self.count])

    def drawn(self, rows: Tensor) -> tuple[Tensor | None, Tensor]:
        """Of drawn rows of the cohort (CPU): which places of the draw are this process's (None: all), and the rows of
        these cases among its own."""
        if self.count == 1:
            return None, rows
        places = torch.nonzero(rows % self.count == self.rank).flatten()
        return places, rows[places] // self.count

    def total(self, part: Tensor) -> Tensor:
        """The sum of every process's part, differentiable."""
        return part if self.count == 1 else cast(Tensor, _Total.apply(part))  # type: ignore[no-untyped-call]

    def mean(self, value: Tensor, weight: Tensor) -> Tensor:
        """The mean of every process's value, each with its weight, differentiable; the value of one alone."""
        if self.count == 1:
            return value
        parts = self.total(torch.stack([value * weight, weight.to(value.dtype)]))
        return parts[0] / parts[1]

    def add_gradients(self, weights: Iterable[Tensor]) -> None:
        """Give every process the sum of all processes' gradients of the weights that they share."""
        if self.count == 1:
            return
        shared = list(weights)
        for weight in shared:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        if shared:
            grads = [cast(Tensor, weight.grad) for weight in shared]
            flat = torch.cat([grad.reshape(-1) for grad in grads])
            dist.all_reduce(flat)
            for grad, summed in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
                grad.copy_(summed.view_as(grad))

    def agreed(self, value: T) -> T:
        """The leader's value."""
        if self.count == 1:
            return value
        told = [value]
        dist.broadcast_object_list(told, src=0)
        return told[0]

    def all_gather(self, own: Sequence[T]) -> list[T]:
        """What every process has for its own cases, in the order of the cohort, on every process. For small things."""
        if self.count == 1:
            return list(own)
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, list(own))
        return [item for turn in zip_longest(*found, fillvalue=_NOTHING) for item in turn if item is not _NOTHING]

    def gather_rows(self, own: Tensor) -> Tensor | None:
        """Rows (cases, ...) of every process's own cases, in the order of the cohort, on the leader's CPU; else None.

        Moved in blocks, so that no device holds more than its own rows and a block of each of the others.
        """
        own = own.detach()
        if self.count == 1:
            return own
        lengths = self.all_gather([len(own)])
        whole = torch.empty(sum(lengths), *own.shape[1:], dtype=own.dtype) if self.is_main else None
        fitting = BLOCK_BYTES // max(own[:1].numel() * own.element_size() * self.count, 1)
        step = max(min(fitting, max(lengths)), 1)
        for begin in range(0, max(lengths), step):
            block = own.new_zeros(step, *own.shape[1:])
            mine = own[begin : begin + step]
            block[: len(mine)] = mine
            blocks = [torch.empty_like(block) for _ in range(self.count)] if self.is_main else None
            dist.gather(block, blocks, dst=0)
            if whole is not None and blocks is not None:
                for rank, (length, part) in enumerate(zip(lengths, blocks, strict=True)):
                    fill = max(min(length - begin, step), 0)
                    whole[rank :: self.count][begin : begin + fill] = part[:fill].cpu()
        return whole


ALONE = Ranks()
