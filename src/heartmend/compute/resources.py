"""What a run computes with: worker processes for cases, and the process group of a fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from heartmend.compute.process_group import ProcessGroup
from heartmend.compute.workers import Outcome, available_cores, each

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Compute:
    """What a run computes with.

    Attributes:
        workers: worker processes for work on single cases; 0: one per CPU core.
        group: the processes that fit together.
    """

    workers: int = 0
    group: ProcessGroup = field(default_factory=ProcessGroup)

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[Outcome[T, R]]:
        """Apply a module-level function to every item, on worker processes; yields the outcomes as they come."""
        return each(work, items, self.workers)


def workers_per_process(workers: int, processes: int) -> int:
    """Share the worker processes of a machine among the processes of a fit, one at least."""
    return max((workers or available_cores()) // processes, 1)
