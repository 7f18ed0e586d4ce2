"""Computing resources of a run: worker processes for cases, and the process group of a fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from heartmend.compute.process_group import ProcessGroup
from heartmend.compute.workers import WorkResult, available_cores, each

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Compute:
    """Computing resources of a run.

    Attributes:
        workers: number of worker processes for work on single cases; 0: one per CPU core.
        group: processes that fit together.
    """

    workers: int = 0
    group: ProcessGroup = field(default_factory=ProcessGroup)

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[WorkResult[T, R]]:
        """Apply a function to every item; see `heartmend.compute.workers.each`.

        Args:
            work: a function at the top level of a module.
            items: its arguments.

        Returns:
            The items with their results or errors, in the order of completion.
        """
        return each(work, items, self.workers)


def workers_per_process(workers: int, processes: int) -> int:
    """Divide the worker processes of a machine among the processes of a fit.

    Args:
        workers: number of worker processes; 0: one per CPU core.
        processes: number of processes that fit together on this machine.

    Returns:
        Worker processes for each process, at least 1.

    Example:
        >>> workers_per_process(8, 3), workers_per_process(1, 2)
        (2, 1)
    """
    return max((workers or available_cores()) // processes, 1)
