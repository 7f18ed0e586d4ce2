"""History of a run: when which command worked on it, with which version."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from heartmend.errors import RunError
from heartmend.io.regular import is_regular
from heartmend.run_folder.paths import read_table
from heartmend.run_folder.run_records import RunRecords
from heartmend.version import __version__

_NAME = "history.json"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """Start of a command that works on a run.

    Attributes:
        started_at: time in UTC, ISO 8601.
        command: the words of the command line that has the same effect.
        heartmend: version of Heartmend.
    """

    started_at: str
    command: tuple[str, ...]
    heartmend: str


class HistoryRecords(RunRecords):
    """The history of a run, which grows by one entry for each command."""

    def note_start(self, command: Sequence[str]) -> None:
        """Append the start of a command.

        Args:
            command: the words of the command line.
        """
        start = Start(datetime.now(UTC).isoformat(timespec="seconds"), tuple(command), __version__)
        self._write_record(_NAME, {"starts": [asdict(one) for one in (*self._earlier(), start)]})

    def history(self) -> list[Start]:
        """Read the history.

        Returns:
            The starts, the earliest first; none of a run of an earlier version.

        Raises:
            RunError: if it is damaged.
        """
        path = self._checked_record(_NAME)
        return _starts(read_table(path), str(path)) if is_regular(path) else []

    def _earlier(self) -> list[Start]:
        # A damaged history must not stop the run that it is about.
        try:
            return self.history()
        except RunError as error:
            log.warning("the history of the run starts again: %s", error)
            return []


def _starts(table: dict[str, Any], place: str) -> list[Start]:
    try:
        return [Start(s["started_at"], tuple(s["command"]), s["heartmend"]) for s in table["starts"]]
    except (KeyError, TypeError) as error:
        raise RunError(f"{place}: is no history of a run; remove it") from error
