"""Terminal: results on stdout; errors, warnings and notes on stderr; exit codes."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from heartmend.errors import HeartmendError
from heartmend.io.file_names import escape_unprintable

if TYPE_CHECKING:
    from rich.console import RenderableType

ALL_DONE, FAILED, WRONG_USE, SOME_SKIPPED, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143
EXIT_CODES = (
    ("0", "all cases are done"),
    ("1", "an error; nothing could be done"),
    ("2", "wrong use of the command line"),
    ("3", "some cases were skipped; the others are done"),
    ("130", "interrupted by Ctrl-C"),
    ("143", "ended by SIGTERM"),
)
_COLOURS = {"error": "red", "warning": "yellow", "skipped": "red", "note": "cyan", "info": "cyan", "debug": "cyan"}
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT)
"""Errors of the system that have no file as their cause."""
_NO_MEMORY = ("can't allocate memory", "can't start new thread")
"""Messages of torch and Python, as RuntimeError, where the system gives no memory."""
_LISTED = "heartmend.pipelines.driver"
"""Logger of the warnings about skipped cases: without --verbose they are printed once, with the result."""
log = logging.getLogger("heartmend")


class _Verbosity:
    """Level of the messages on the terminal, set by --quiet and --verbose."""

    level = logging.WARNING


def set_verbosity(level: int) -> None:
    """Set the lowest level of the messages that are printed.

    Args:
        level: a level of `logging`: ERROR for --quiet, INFO for --verbose, otherwise WARNING.
    """
    _Verbosity.level = level
    log.setLevel(min(level, logging.WARNING))


def is_quiet() -> bool:
    """Return whether --quiet was given: errors and results only.

    Returns:
        True with --quiet.
    """
    return _Verbosity.level >= logging.ERROR


class _TerminalHandler(logging.Handler):
    """Log records as lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < _Verbosity.level:
            return
        if record.name == _LISTED and logging.INFO < record.levelno < logging.ERROR and _Verbosity.level > logging.INFO:
            return
        text = record.getMessage()
        if record.exc_info and _Verbosity.level < logging.WARNING:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        # A line break in a message could be one from a file's name; those of a traceback are wanted.
        print_message(record.levelname.lower(), *text.split("\n"))


def configure_logging() -> None:
    """Print log records of this program and warnings of libraries on stderr."""
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _TerminalHandler)]:
        root.removeHandler(handler)
    root.addHandler(_TerminalHandler())


def print_message(kind: str, *lines: str) -> None:
    """Print a message on stderr.

    Args:
        kind: word before the message: error, warning, note or skipped.
        *lines: the message; the lines after the first are indented.
    """
    plain = bool(os.environ.get("NO_COLOR"))
    word = kind if plain else typer.style(kind, fg=_COLOURS.get(kind, "red"), bold=kind == "error")
    typer.echo(f"{word}: {escape_unprintable(lines[0])}", err=True)
    for line in lines[1:]:
        typer.echo(f"  {escape_unprintable(line)}", err=True)


def print_skipped(skipped: Mapping[str, str], what: str = "skipped") -> None:
    """Print on stderr which cases were skipped, and why; not with --quiet.

    Args:
        skipped: reason by case id.
        what: what happened to the cases.
    """
    for case, why in skipped.items() if not is_quiet() else ():
        print_message(what, f"case {case}: {why}")


def print_summary(text: str) -> None:
    """Print on stdout what was done, in one line; not with --quiet.

    Args:
        text: the line.
    """
    if not is_quiet():
        typer.echo(escape_unprintable(text))


def print_paths(paths: Iterable[Path]) -> None:
    """Print the paths of written files on stdout, one a line.

    Args:
        paths: the files.
    """
    for path in paths:
        typer.echo(escape_unprintable(str(path)))


def print_table(table: RenderableType) -> None:
    """Print a table of rich on stdout.

    Args:
        table: the table.
    """
    from rich.console import Console

    Console().print(table)


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout.

    Args:
        value: numbers, texts, lists and tables; paths and NumPy values are allowed.
    """
    from heartmend.io.atomic import jsonable

    typer.echo(json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False, default=jsonable))


@contextmanager
def report_errors(continues: bool = False) -> Iterator[None]:
    """Print an error of this program as one line, without a traceback, and exit.

    Args:
        continues: whether the same command continues where an interrupted one stopped.

    Yields:
        None.

    Raises:
        typer.Exit: with `FAILED` after an error, with `INTERRUPTED` after Ctrl-C.
        SystemExit: with `TERMINATED` after SIGTERM.
    """
    hint = " The same command continues where it stopped." if continues else ""
    try:
        yield
    except HeartmendError as error:
        print_message("error", str(error))
        raise typer.Exit(FAILED) from error
    except OSError as error:
        name = error.filename
        if isinstance(error, BrokenPipeError) or (name is None and error.errno not in _EXHAUSTED):
            raise
        log.debug("traceback", exc_info=error)
        print_message("error", f"{error.strerror}.{hint}" if name is None else f"{name}: {error.strerror}")
        raise typer.Exit(FAILED) from error
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(text in str(error) for text in _NO_MEMORY):
            raise
        log.debug("traceback", exc_info=error)
        print_message("error", f"not enough memory; close other programs, or give fewer --workers.{hint}")
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt:
        typer.echo(f"Interrupted.{hint}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except SystemExit as error:
        if error.code == TERMINATED:
            typer.echo(f"Ended by SIGTERM.{hint}", err=True)
        raise
