"""Log file of a run: OUT/run/heartmend.log."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Self, TextIO

from heartmend.io.file_names import escape_unprintable
from heartmend.version import __version__

log = logging.getLogger("heartmend")


class RunLog(logging.Handler):
    """Handler that appends records of level INFO and above, with time stamps, to the log file of a run.

    Use it in a `with` block. Records are kept in memory until `open`, because the run folder must neither be created
    nor changed before the run has locked it. Without `open` nothing is written.
    """

    def __init__(self, out: Path) -> None:
        """Create a handler that keeps the records in memory.

        Args:
            out: OUT.
        """
        super().__init__(logging.INFO)
        self._out = out
        self._file: TextIO | None = None
        self._waiting: list[logging.LogRecord] = []
        self._level = logging.NOTSET

    def __enter__(self) -> Self:
        root = logging.getLogger()
        root.addHandler(self)
        self._level = log.level
        log.setLevel(min(self._level or logging.WARNING, logging.INFO))
        self.write(f"heartmend {__version__}: {' '.join(sys.argv[1:])}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            self.write("interrupted", logging.WARNING)
        elif isinstance(error, SystemExit):
            self.write("ended by SIGTERM", logging.WARNING)
        elif error is not None:
            self.write(f"{type(error).__name__}: {error}", logging.ERROR)
        logging.getLogger().removeHandler(self)
        log.setLevel(self._level)
        if self._file is not None:
            self._file.close()
            self._file = None

    def write(self, text: str, level: int = logging.INFO) -> None:
        """Write a line to the file alone, not to the terminal.

        Args:
            text: the line.
            level: a level of `logging`.
        """
        self.handle(logging.LogRecord("heartmend", level, "", 0, text, None, None))

    def open(self) -> None:
        """Open the file and write what was kept so far; called when the run folder exists and is locked."""
        if self._file is None:
            from heartmend.run_folder.folder import RunFolder

            try:
                self._file = RunFolder(self._out).open_log()
            except OSError:
                # The run itself reports a folder that cannot be written.
                return
            for record in self._waiting:
                self.emit(record)
            self._waiting.clear()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or keep it until the file is open.

        Args:
            record: the record.
        """
        if self._file is None:
            self._waiting.append(record)
            return
        try:
            self._file.write(_line(record))
            self._file.flush()
        except OSError:
            # Such as a full disk, which the run itself reports.
            return


def _line(record: logging.LogRecord) -> str:
    """One line, whatever a file's name in the message contains; a traceback has lines of its own."""
    formatter = logging.Formatter(datefmt="%Y-%m-%d %H:%M:%S")
    text = escape_unprintable(record.getMessage())
    line = f"{formatter.formatTime(record, formatter.datefmt)} {record.levelname:<7} {text}\n"
    return line + (f"{formatter.formatException(record.exc_info)}\n" if record.exc_info else "")
