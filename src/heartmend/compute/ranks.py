"""Ranks of a process group: the cases of each process, and sums over all processes.

Each process has the points and the codes of its own cases, every `count`-th case of the cohort, and a copy of the
shape. All generate the same random numbers in each step; each evaluates the shape at the points of its own cases. The
sums of a loss and the gradients of the shape's weights are added over the processes, so a step equals that of a single
process except for the order of the additions. Codes are not exchanged.
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
_PADDING = object()


class _Total(torch.autograd.Function):
    """Sum over the processes; its gradient is passed to each process unchanged, because each part counts once."""

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
    """Position of this process in its group.

    All processes must call the methods that exchange data, in the same order.

    Attributes:
        rank: number of this process, from 0; 0 is the main process.
        count: number of processes.
        device: device of this process.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009  (never changed)

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which writes files and reports."""
        return self.rank == 0

    def own(self, items: Sequence[T]) -> list[T]:
        """Select the items of this process.

        Args:
            items: one for each case of the cohort.

        Returns:
            Those of this process's own cases.

        Example:
            >>> Ranks(rank=1, count=3).own(["a", "b", "c", "d", "e"])
            ['b', 'e']
        """
        return list(items[self.rank :: self.count])

    def own_rows(self, rows: Tensor) -> tuple[Tensor | None, Tensor]:
        """Select the rows of this process from rows that were sampled for the whole cohort.

        Args:
            rows: row numbers of cases in the cohort, (n,) on the CPU.

        Returns:
            The positions in `rows` that belong to this process, (m,), or None for all; and the row numbers of these
            cases among the process's own, (m,).
        """
        if self.count == 1:
            return None, rows
        positions = torch.nonzero(rows % self.count == self.rank).flatten()
        return positions, rows[positions] // self.count

    def total(self, part: Tensor) -> Tensor:
        """Sum a tensor over all processes, differentiably.

        Args:
            part: the summand of this process; of the same shape everywhere.

        Returns:
            The sum, on every process.
        """
        return part if self.count == 1 else cast(Tensor, _Total.apply(part))  # type: ignore[no-untyped-call]

    def mean(self, value: Tensor, weight: Tensor) -> Tensor:
        """Compute the weighted mean over all processes, differentiably.

        Args:
            value: the value of this process, a scalar.
            weight: its weight, a scalar.

        Returns:
            The mean, on every process; the value itself if there is only one process.
        """
        if self.count == 1:
            return value
        parts = self.total(torch.stack([value * weight, weight.to(value.dtype)]))
        return parts[0] / parts[1]

    def add_gradients(self, weights: Iterable[Tensor]) -> None:
        """Replace the gradients of shared weights by their sums over all processes.

        Args:
            weights: the weights, the same on every process.
        """
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

    def broadcast(self, value: T) -> T:
        """Send a value of the main process to all processes.

        Args:
            value: the value; only that of the main process is used. It is pickled.

        Returns:
            The value of the main process.
        """
        if self.count == 1:
            return value
        received = [value]
        dist.broadcast_object_list(received, src=0)
        return received[0]

    def all_gather(self, own: Sequence[T]) -> list[T]:
        """Collect small objects of all cases on every process.

        Args:
            own: one for each of this process's own cases; they are pickled.

        Returns:
            Those of all cases, in the order of the cohort.
        """
        if self.count == 1:
            return list(own)
        gathered: list[Any] = [None] * self.count
        dist.all_gather_object(gathered, list(own))
        return [item for items in zip_longest(*gathered, fillvalue=_PADDING) for item in items if item is not _PADDING]

    def gather_rows(self, own: Tensor) -> Tensor | None:
        """Collect the rows of all cases on the main process.

        They are sent in blocks, so that a device stores only its own rows and one block of each of the others.

        Args:
            own: rows (own cases, ...) of this process's own cases.

        Returns:
            Rows (cases, ...) in the order of the cohort, on the CPU, on the main process; None on the others. A single
            process gets `own` itself, on its device.
        """
        own = own.detach()
        if self.count == 1:
            return own
        lengths = self.all_gather([len(own)])
        rows = torch.empty(sum(lengths), *own.shape[1:], dtype=own.dtype) if self.is_main else None
        rows_per_block = BLOCK_BYTES // max(own[:1].numel() * own.element_size() * self.count, 1)
        step = max(min(rows_per_block, max(lengths)), 1)
        for start in range(0, max(lengths), step):
            block = own.new_zeros(step, *own.shape[1:])
            sent = own[start : start + step]
            block[: len(sent)] = sent
            blocks = [torch.empty_like(block) for _ in range(self.count)] if self.is_main else None
            dist.gather(block, blocks, dst=0)
            if rows is not None and blocks is not None:
                for rank, (length, received) in enumerate(zip(lengths, blocks, strict=True)):
                    filled = max(min(length - start, step), 0)
                    rows[rank :: self.count][start : start + filled] = received[:filled].cpu()
        return rows


SINGLE_PROCESS = Ranks()
"""Ranks of a process without a group."""
