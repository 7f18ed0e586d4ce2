"""Progress of long work: one protocol for terminals, callbacks and tqdm-like bars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

Callback = Callable[[str, int, int, str], None]
"""Called with the task, the number of finished steps, the number of steps, and a short note."""


@runtime_checkable
class Progress(Protocol):
    """Receiver of progress reports."""

    def start(self, task: str, total: int) -> None:
        """Start a task; the previous one has ended.

        Args:
            task: name of the task.
            total: its number of steps.
        """

    def advance(self, done: int, note: str = "") -> None:
        """Report progress of the task.

        Args:
            done: number of finished steps.
            note: a short note such as a case id or a loss.
        """


class NoProgress:
    """Receiver that ignores progress reports."""

    def start(self, task: str, total: int) -> None:
        """Do nothing.

        Args:
            task: name of the task.
            total: its number of steps.
        """

    def advance(self, done: int, note: str = "") -> None:
        """Do nothing.

        Args:
            done: number of finished steps.
            note: a short note.
        """


class CallbackProgress:
    """Receiver that calls a function."""

    def __init__(self, callback: Callback) -> None:
        """Create a receiver.

        Args:
            callback: the function.
        """
        self._callback, self._task, self._total = callback, "", 0

    def start(self, task: str, total: int) -> None:
        """Call the function with no finished step.

        Args:
            task: name of the task.
            total: its number of steps.
        """
        self._task, self._total = task, total
        self._callback(task, 0, total, "")

    def advance(self, done: int, note: str = "") -> None:
        """Call the function with the number of finished steps.

        Args:
            done: number of finished steps.
            note: a short note.
        """
        self._callback(self._task, done, self._total, note)


class TqdmProgress:
    """Receiver that shows a bar of tqdm, or of a class with its interface, for each task."""

    def __init__(self, bar_class: Callable[..., Any]) -> None:
        """Create a receiver.

        Args:
            bar_class: class of the bars, such as `tqdm.tqdm`.
        """
        self._bar_class = bar_class
        self._bar: Any = None
        self._done = 0

    def start(self, task: str, total: int) -> None:
        """Close the bar of the previous task and open a new one.

        Args:
            task: name of the task.
            total: its number of steps.
        """
        if self._bar is not None:
            self._bar.close()
        self._bar, self._done = self._bar_class(total=total, desc=task), 0
        if not total:
            self._bar.close()

    def advance(self, done: int, note: str = "") -> None:
        """Update the bar; close it after the last step.

        Args:
            done: number of finished steps.
            note: a short note.
        """
        if note:
            self._bar.set_postfix_str(note)
        self._bar.update(done - self._done)
        self._done = done
        if done >= (self._bar.total or 0):
            self._bar.close()


def as_progress(given: Progress | Callback | type | None) -> Progress:
    """Convert a function, a class or None to a receiver of progress reports.

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
    raise TypeError(f"progress: {given!r} is not a function, a Progress or a class like tqdm")
