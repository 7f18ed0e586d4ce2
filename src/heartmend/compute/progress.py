"""Progress of long work: one protocol for terminals, callbacks and tqdm-like bars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

Callback = Callable[[str, int, int, str], None]
"""Called with the task, the steps done, the steps in all, and a short note."""


@runtime_checkable
class Progress(Protocol):
    """Receiver of progress reports."""

    def start(self, task: str, total: int) -> None:
        """Start a task of `total` steps; the task before it has ended."""

    def advance(self, done: int, note: str = "") -> None:
        """Report that `done` steps of the task are finished, with a short note such as a case id or a loss."""


class NoProgress:
    """Progress that is not reported."""

    def start(self, task: str, total: int) -> None:
        """Do nothing."""

    def advance(self, done: int, note: str = "") -> None:
        """Do nothing."""


class CallbackProgress:
    """Progress passed on to a function."""

    def __init__(self, callback: Callback) -> None:
        self._callback, self._task, self._total = callback, "", 0

    def start(self, task: str, total: int) -> None:
        """Call the function with no step done."""
        self._task, self._total = task, total
        self._callback(task, 0, total, "")

    def advance(self, done: int, note: str = "") -> None:
        """Call the function with the steps done."""
        self._callback(self._task, done, self._total, note)


class TqdmProgress:
    """Progress shown by tqdm or a class with its interface, one bar for each task."""

    def __init__(self, bar_class: Callable[..., Any]) -> None:
        self._bar_class = bar_class
        self._bar: Any = None
        self._done = 0

    def start(self, task: str, total: int) -> None:
        """Close the bar of the task before and open a new one."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._done = self._bar_class(total=total, desc=task), 0
        if not total:
            self._bar.close()

    def advance(self, done: int, note: str = "") -> None:
        """Move the bar."""
        if note:
            self._bar.set_postfix_str(note)
        self._bar.update(done - self._done)
        self._done = done
        if done >= (self._bar.total or 0):
            self._bar.close()


def as_progress(given: Progress | Callback | type | None) -> Progress:
    """Convert what a caller gave into a `Progress`.

    Args:
        given: a `Progress`; a function `(task, done, total, note)`; tqdm's class or one with its interface; or None.

    Returns:
        A receiver of progress reports.

    Raises:
        TypeError: if `given` is none of these.

    Example:
        >>> reports = []
        >>> progress = as_progress(lambda task, done, total, note: reports.append((task, done, total)))
        >>> progress.start("prepare", 2); progress.advance(1)
        >>> reports
        [('prepare', 0, 2), ('prepare', 1, 2)]
    """
    if given is None:
        return NoProgress()
    if isinstance(given, type) and hasattr(given, "update") and hasattr(given, "close"):
        return TqdmProgress(given)
    if isinstance(given, Progress):
        return given
    if callable(given):
        return CallbackProgress(given)
    raise TypeError(f"progress: {given!r} is no function, no Progress and no class like tqdm")
