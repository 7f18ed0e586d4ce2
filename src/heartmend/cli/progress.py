"""Progress of long commands: a bar in a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import typer

from heartmend.cli.run_log import RunLog
from heartmend.cli.terminal import is_quiet
from heartmend.io.file_names import escape_unprintable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Task

TASK_WIDTH, BAR_WIDTH, COUNT_WIDTH, TIMES_WIDTH = 16, 14, 11, 15
"""Columns that never move; the note after them has the rest of the line."""
LINE_SECONDS = (1.0, 30.0)
"""Seconds between two plain lines: at least, and at most."""


class TerminalProgress:
    """Progress on stderr: one bar per task in a terminal, otherwise one plain line about every 10 %.

    Use it in a `with` block. With --quiet nothing is shown. The plain lines are also written to the log file of the
    run, which is opened when the first task starts: by then the run folder exists.
    """

    def __init__(self, run_log: RunLog | None = None) -> None:
        """Create a receiver.

        Args:
            run_log: log file of the run, to be opened when the first task starts; None for none.
        """
        self._run_log = run_log
        self._receivers: list[ProgressLines | ProgressBars] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for receiver in self._receivers:
            receiver.close()
        self._receivers.clear()

    def start(self, task: str, total: int) -> None:
        """Start a task.

        Args:
            task: its name.
            total: number of steps, or of cases.
        """
        # Not earlier: a process that only helps another starts no task, and must not touch the terminal.
        if not self._receivers:
            self._receivers = self._open()
        for receiver in self._receivers:
            receiver.start(task, total)

    def _open(self) -> list[ProgressLines | ProgressBars]:
        receivers: list[ProgressLines | ProgressBars] = []
        if not is_quiet():
            in_terminal = sys.stderr.isatty()
            receivers.append(ProgressBars() if in_terminal else ProgressLines(lambda line: typer.echo(line, err=True)))
        if self._run_log is not None:
            self._run_log.open()
            receivers.append(ProgressLines(self._run_log.write, with_time=False))
        return receivers

    def advance(self, done: int, note: str = "") -> None:
        """Report that steps of the task are finished.

        Args:
            done: finished steps in all.
            note: a case id, or values such as the loss.
        """
        for receiver in self._receivers:
            receiver.advance(done, escape_unprintable(note))


class ProgressLines:
    """Progress as plain lines: one at the start of a task, one about every 10 % or 30 s, one at the end."""

    def __init__(
        self, write: Callable[[str], None], with_time: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Create a receiver.

        Args:
            write: writes one line.
            with_time: whether the lines contain the elapsed and the remaining time.
            clock: returns the time in s.
        """
        self._write, self._with_time, self._clock = write, with_time, clock
        self._task, self._total, self._done, self._note = "", 0, 0, ""
        self._started = self._last_time = 0.0
        self._last_done = -1

    def start(self, task: str, total: int) -> None:
        """Write the first line of a task.

        Args:
            task: name of the task.
            total: its number of steps.
        """
        self.close()
        self._task, self._total, self._done, self._note = task, total, 0, ""
        self._started = self._clock()
        self._print()

    def advance(self, done: int, note: str = "") -> None:
        """Write a line if enough is done since the last one.

        Args:
            done: number of finished steps.
            note: a short note.
        """
        self._done, self._note = done, note
        waited = self._clock() - self._last_time
        is_next = self._tenth(done) > self._tenth(self._last_done) and waited >= LINE_SECONDS[0]
        if done != self._last_done and (done >= self._total or is_next or waited >= LINE_SECONDS[1]):
            self._print()

    def close(self) -> None:
        """Write the last line of a task that ended early."""
        if self._task and self._done != self._last_done:
            self._print()
        self._task, self._last_done = "", -1

    def _tenth(self, done: int) -> int:
        return 10 * done // max(self._total, 1)

    def _print(self) -> None:
        now = self._clock()
        self._last_time, self._last_done = now, self._done
        share = self._done / self._total if self._total else 1.0
        words = [f"{self._task:<{TASK_WIDTH}}", f"{self._done}/{self._total}".rjust(COUNT_WIDTH), f"{share:4.0%}"]
        if self._done:
            words.append(times(now - self._started, self._done, self._total).ljust(TIMES_WIDTH))
        if self._with_time:
            words.insert(0, time.strftime("%H:%M:%S"))
        self._write("  ".join([*words, self._note]).rstrip())


def times(elapsed: float, done: int, total: int) -> str:
    """Format the elapsed and the remaining time of a task.

    Args:
        elapsed: seconds since its start.
        done: finished steps.
        total: steps in all.

    Returns:
        Elapsed and remaining time as tqdm writes them, without the latter at the end.

    Example:
        >>> times(60, 1, 3), times(90, 3, 3)
        ('0:01:00<0:02:00', '0:01:30')
    """
    if not 0 < done < total:
        return _clock_time(elapsed)
    return f"{_clock_time(elapsed)}<{_clock_time(elapsed * (total - done) / done)}"


def _clock_time(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"


class ProgressBars:
    """Progress as bars of rich, one below the other, each one line that fits the terminal."""

    def __init__(self, console: Console | None = None) -> None:
        """Create a receiver and start the bars.

        Args:
            console: console of rich; None for stderr.
        """
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn
        from rich.table import Column
        from rich.text import Text

        class Cell(ProgressColumn):
            """Text of one column; `shrinks`: cut off when the terminal is narrow."""

            def __init__(self, text: Callable[[Task], str], shrinks: bool = False) -> None:
                super().__init__(Column(no_wrap=not shrinks, justify="left"))
                self._text, self._shrinks = text, shrinks

            def render(self, task: Task) -> RenderableType:
                """Return the text of a task."""
                return Text(self._text(task), no_wrap=True, overflow="ellipsis" if self._shrinks else "crop")

        self._bars = Progress(
            Cell(lambda t: f"{t.description:<{TASK_WIDTH}}"),
            BarColumn(BAR_WIDTH, table_column=Column(no_wrap=True)),
            Cell(lambda t: f"{t.completed:.0f}/{t.total or 0:.0f}".rjust(COUNT_WIDTH)),
            Cell(lambda t: times(t.elapsed or 0.0, int(t.completed), int(t.total or 0)).ljust(TIMES_WIDTH)),
            Cell(lambda t: str(t.fields["note"]), shrinks=True),
            console=console or Console(stderr=True), refresh_per_second=5,
        )  # fmt: skip
        self._bars.start()
        self._task: Any = None

    def start(self, task: str, total: int) -> None:
        """Add a bar.

        Args:
            task: name of the task.
            total: its number of steps.
        """
        if self._task is not None:
            self._bars.stop_task(self._task)
        # rich takes no bar of no step as finished.
        self._task = self._bars.add_task(task, total=total, note="")

    def advance(self, done: int, note: str = "") -> None:
        """Move the bar.

        Args:
            done: number of finished steps.
            note: a short note.
        """
        if self._task is not None:
            self._bars.update(self._task, completed=done, note=note)

    def rendered(self) -> RenderableType:
        """Return what rich renders for the bars.

        Returns:
            The object of rich.
        """
        return self._bars.get_renderable()

    def close(self) -> None:
        """Draw the bars for the last time."""
        if self._task is not None:
            self._bars.stop_task(self._task)
        self._bars.stop()
