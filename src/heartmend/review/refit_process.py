"""The process that repairs the undecided cases again while the page is open: `heartmend refit`."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Callable
from typing import IO, Literal

from heartmend.errors import BadInputError

RefitState = Literal["idle", "running", "done", "failed"]
MESSAGE_BYTES = 2000


class RefitProcess:
    """A refit in a process of its own, so that the server stays small; one at a time."""

    def __init__(self, command: tuple[str, ...], then: Callable[[], None]) -> None:
        """Create the object; nothing is started.

        Args:
            command: the command with its arguments; empty where this server cannot start one.
            then: called in a thread after the process has ended without an error.
        """
        self.command, self.then = command, then
        self.state: RefitState = "idle"
        self.message = ""
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the process.

        Raises:
            BadInputError: if it runs already, or this server has no command to start.
        """
        if not self.command:
            raise BadInputError("this server cannot start a refit; run `heartmend refit OUT` in a terminal")
        with self._lock:
            if self.state == "running":
                raise BadInputError("a refit is running already")
            self.state, self.message = "running", ""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with tempfile.TemporaryFile() as output:
            try:
                code = subprocess.run(
                    self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
                ).returncode
                self.message = _tail(output)
                # Exit code 3: some cases were skipped, and are listed.
                if code in (0, 3):
                    self.then()
                self.state = "done" if code in (0, 3) else "failed"
            except Exception as error:
                self.message, self.state = str(error), "failed"
                raise


def _tail(output: IO[bytes]) -> str:
    """The last lines that the process has printed."""
    output.seek(max(output.seek(0, 2) - MESSAGE_BYTES, 0))
    lines = output.read(MESSAGE_BYTES).decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-3:])
