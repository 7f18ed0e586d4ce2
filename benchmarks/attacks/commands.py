"""Commands of Heartmend in child processes: their exit status, messages, time, and peak memory."""

from __future__ import annotations

import atexit
import importlib
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from heartmend.compute.process_lifetime import end_with_parent

REFUSAL_S = 5.0
"""Longest time of a refusal, in seconds of CPU time, and of wall time on a machine without other load."""
PEAK_MB = 500.0
"""Largest peak memory of a process that refuses a file, in 10^6 bytes."""
_ENVIRONMENT = {"NO_COLOR": "1", "COLUMNS": "400", "HEARTMEND_TOKEN": ""}


@dataclass(frozen=True)
class Ended:
    """A command that has ended.

    Attributes:
        status: exit status; minus the signal that ended it; None if it was stopped after its time limit.
        text: what it printed on stdout and stderr.
        seconds: wall time.
        peak_mb: peak of its memory in 10^6 bytes.
        cpu_s: its CPU time.
    """

    status: int | None
    text: str
    seconds: float
    peak_mb: float
    cpu_s: float = 0.0

    @property
    def messages(self) -> list[str]:
        """Lines of errors, warnings and skipped cases."""
        return [line for line in self.text.splitlines() if line.startswith(("error:", "warning:", "skipped:"))]

    def fault(self) -> str:
        """Return what no command may do, whatever it is given; empty if it did nothing of it."""
        if self.status is None:
            return f"no end within {self.seconds:.0f} s"
        if "Traceback (most recent call last)" in self.text:
            last = [line for line in self.text.splitlines() if line and not line.startswith(" ")][-1]
            return f"traceback: {last[:200]}"
        if self.status not in (0, 1, 2, 3, 130, 143):
            return f"exit status {self.status}: {self.text[-200:]}"
        return ""

    def is_late(self) -> bool:
        """Whether it needed more time than a refusal may need."""
        return self.cpu_s > REFUSAL_S or self.seconds > REFUSAL_S * patience()

    def names(self, *names: str) -> bool:
        """Return whether a message contains one of the names."""
        return any(name in line for line in self.messages for name in names)

    def not_refused(
        self, *names: str, lines: int = 1, statuses: Iterable[int] = (1, 2), peak_mb: float = PEAK_MB
    ) -> str:
        """Return why this is no proper refusal; empty if it is one.

        Args:
            *names: names of the file or the option, of which the message must contain one.
            lines: largest number of lines of the message.
            statuses: exit statuses that are right.
            peak_mb: largest peak memory; more where this process has imported much before.
        """
        if fault := self.fault():
            return fault
        if self.status not in statuses:
            return f"exit status {self.status}, expected {' or '.join(map(str, statuses))}: {self.text[-200:]}"
        if self.is_late():
            return f"refused after {self.seconds:.1f} s, {self.cpu_s:.1f} s of CPU time"
        if self.peak_mb > peak_mb:
            return f"refused with {self.peak_mb:.0f} MB of memory"
        if names and self.status != 2 and not self.names(*names):
            return f"no message names {names[0]}: {self.text[-200:]}"
        if self.status == 1 and not 1 <= self._length() <= lines:
            return f"a message of {self._length()} lines: {self.text[-300:]}"
        return ""

    def _length(self) -> int:
        """Number of lines of the error message: the line `error:` and the indented ones after it."""
        found, inside = 0, False
        for line in self.text.splitlines():
            inside = line.startswith("error:") or (inside and line.startswith("  "))
            found += inside
        return found


class Command:
    """A command of Heartmend that runs in a child of this process.

    The child is forked, so that the imports of this process need no time again. It is the leader of its own session.
    """

    def __init__(
        self, words: Iterable[object] | Callable[[], None], log: Path, limits: Mapping[int, int] | None = None,
        cwd: Path | None = None, new_process: bool = False,
    ) -> None:  # fmt: skip
        """Start a command.

        Args:
            words: command and its arguments; or a function that is called in its place.
            log: file for what it prints.
            limits: soft limits of resources, by their RLIMIT number.
            cwd: working folder.
            new_process: start `python -m heartmend`, which imports everything itself.
        """
        self.log, self.started = log, time.monotonic()
        given = words if callable(words) else [str(word) for word in words]
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            # The attacking process may be ended at any moment, and has handlers of its own.
            end_with_parent()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            # A shell starts what it runs in the background with Ctrl-C ignored, which is inherited.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _be_command(given, log, limits or {}, cwd, new_process)

    def wait(self, limit_s: float = 120.0) -> Ended:
        """Wait for the end; after the time limit, counted from now, the command is killed.

        On a machine with other load the limit is longer: whether an attack is held must not depend on the load.
        """
        status: int | None = None
        begun = time.monotonic()
        while True:
            pid, code, usage = os.wait4(self.pid, os.WNOHANG)
            seconds = time.monotonic() - self.started
            if pid:
                status = os.waitstatus_to_exitcode(code)
                break
            if time.monotonic() - begun > limit_s * patience():
                os.killpg(self.pid, signal.SIGKILL)
                _, code, usage = os.wait4(self.pid, 0)
                break
            time.sleep(0.003 if seconds < 1 else 0.02)
        text = self.log.read_text(errors="backslashreplace") if self.log.exists() else ""
        return Ended(status, text, seconds, usage.ru_maxrss * 1024 / 1e6, usage.ru_utime + usage.ru_stime)

    def has_ended(self) -> bool:
        """Whether the command has ended; `wait` still returns its status."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def left(self, limit_s: float = 30.0) -> int:
        """Number of processes of its session that still run when the time is over."""
        deadline = time.monotonic() + limit_s * patience()
        while (found := _count_of_session(self.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found


def patience() -> float:
    """Return how much more wall time anything may need because of other load: 1 on a machine without."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    return 1.0 if load <= cores + 1 else 4 * load / cores


def run_command(
    words: Iterable[object], log: Path, limit_s: float = 120.0, limits: Mapping[int, int] | None = None,
    cwd: Path | None = None,
) -> Ended:  # fmt: skip
    """Run a command until its end; see `Command`."""
    return Command(words, log, limits, cwd).wait(limit_s)


def run_function(function: Callable[[], None], log: Path, limit_s: float = 120.0) -> Ended:
    """Call a function in a child process; an error of Heartmend is printed as by a command."""
    return Command(function, log).wait(limit_s)


def preload(*modules: str) -> None:
    """Import modules that the commands need, once for all of them."""
    import torch

    torch.set_num_threads(1)
    for name in ("heartmend.cli.main", *modules):
        importlib.import_module(name)


def _be_command(
    words: list[str] | Callable[[], None], log: Path, limits: Mapping[int, int], cwd: Path | None, new_process: bool
) -> None:
    status = 1
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        os.closerange(3, 1024)
        os.environ.update(_ENVIRONMENT)
        if cwd is not None:
            os.chdir(cwd)
        for number, value in limits.items():
            resource.setrlimit(number, (value, resource.getrlimit(number)[1]))
        if callable(words):
            status = _call(words)
        elif new_process:
            os.execv(sys.executable, [sys.executable, "-m", "heartmend", *words])
        else:
            status = _run_main(words)
    except BaseException:  # noqa: BLE001  (the child must not continue with the work of its parent)
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _call(function: Callable[[], None]) -> int:
    from heartmend.errors import HeartmendError

    try:
        function()
    except HeartmendError as error:
        print(f"error: {error}")  # noqa: T201
        return 1
    return 0


def _run_main(words: list[str]) -> int:
    from heartmend.cli.main import main

    sys.argv = ["heartmend", *words]
    status = 0
    try:
        main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001  (printed as by Python)
        traceback.print_exc()
        status = 1
    # As at the end of Python: end the worker processes, then call the functions of atexit.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    return status


def _count_of_session(session: int) -> int:
    found = 0
    for process in psutil.process_iter():
        try:
            found += os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue
    return found
