"""Cost of a command with all its processes: elapsed time, CPU time and peak memory."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from heartmend.compute.process_lifetime import end_with_parent

RSS_EVERY_S = 0.1
PSS_EVERY_S = 1.0
NOTE_EVERY_S = 10.0
ENDED = (0, 3)
"""Exit statuses of a command that did its work; 3: some cases were skipped."""
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Cost:
    """Cost of a command.

    Attributes:
        wall_s: elapsed seconds.
        cpu_s: CPU seconds, user and system, of all its processes.
        main_mib: peak resident memory of the main process.
        worker_mib: the same of the largest other process.
        all_mib: peak of the sum over all processes, in which memory that several share counts once (PSS).
        parts: number of parts in which it was measured; more than one after an interruption.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    main_mib: float = 0.0
    worker_mib: float = 0.0
    all_mib: float = 0.0
    parts: int = 1

    def then(self, other: Cost) -> Cost:
        """Add the cost of the same work continued."""
        peaks = {name: max(getattr(self, name), getattr(other, name)) for name in ("main_mib", "worker_mib", "all_mib")}
        return Cost(
            self.wall_s + other.wall_s, self.cpu_s + other.cpu_s, **peaks, parts=self.parts + other.parts
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Convert into a mapping that `Cost(**mapping)` reverses."""
        return asdict(self)


def measure(
    command: Sequence[str], log: Path, note: Callable[[Cost], None] | None = None, sample_every_s: float = RSS_EVERY_S
) -> Cost:
    """Run a command and measure it.

    Args:
        command: its words.
        log: file that its output is appended to.
        note: gets the cost so far every ten seconds.
        sample_every_s: time between two samples of the memory, which take CPU time themselves.

    Returns:
        The cost.

    Raises:
        SystemExit: if the command fails.
    """
    _become_subreaper()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    others = {child.pid for child in psutil.Process().children()}
    with log.open("ab") as file:
        process = _start(command, file)
        watch = _Watch(process, time.monotonic())
        try:
            while process.poll() is None:
                watch.sample()
                if note is not None and watch.is_time_to_note():
                    note(watch.cost(watch.cpu_s()))
                time.sleep(sample_every_s)
            elapsed = watch.cost(0.0)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait()
            _reap(others)
    if process.returncode not in ENDED:
        tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}\n{tail}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return watch.cost(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, elapsed.wall_s)


class _Watch:
    """Samples the processes of a command."""

    def __init__(self, process: psutil.Popen, started: float) -> None:
        self.process, self.started = process, started
        self.main = self.worker = self.total = 0
        self.next_pss, self.next_note = started, started + NOTE_EVERY_S

    def sample(self) -> None:
        with_pss = time.monotonic() >= self.next_pss
        if with_pss:
            self.next_pss = time.monotonic() + PSS_EVERY_S
        try:
            self.main = max(self.main, self.process.memory_info().rss)
            children = self.process.children(recursive=True)
            total = _pss(self.process) if with_pss else 0
        except psutil.Error:
            return
        for child in children:
            try:
                self.worker = max(self.worker, child.memory_info().rss)
                total += _pss(child) if with_pss else 0
            except psutil.Error:
                continue
        self.total = max(self.total, total)

    def is_time_to_note(self) -> bool:
        is_time = time.monotonic() >= self.next_note
        if is_time:
            self.next_note = time.monotonic() + NOTE_EVERY_S
        return is_time

    def cpu_s(self) -> float:
        """CPU seconds so far of the processes that run, and of those that they have waited for."""
        try:
            return sum(sum(one.cpu_times()[:4]) for one in (self.process, *self.process.children(recursive=True)))
        except psutil.Error:
            return 0.0

    def cost(self, cpu_s: float, wall_s: float | None = None) -> Cost:
        peaks = (peak / 2**20 for peak in (self.main, self.worker, self.total))
        return Cost(time.monotonic() - self.started if wall_s is None else wall_s, cpu_s, *peaks)


def _pss(process: psutil.Process) -> int:
    memory = process.memory_full_info()
    return int(getattr(memory, "pss", memory.rss))


def _start(command: Sequence[str], log: IO[bytes]) -> psutil.Popen:
    # Nothing of a measured command may outlive this process: it would hold the lock of its run.
    return psutil.Popen(command, stdout=log, stderr=subprocess.STDOUT, preexec_fn=end_with_parent)


def _become_subreaper() -> None:
    """Become the parent of processes whose own has ended, as of the server of the workers: their CPU time counts."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _reap(others: set[int]) -> None:
    """Wait for what is left of a command; what does not end within ten seconds is ended."""
    deadline = time.monotonic() + 10
    while left := [child for child in psutil.Process().children() if child.pid not in others]:
        for child in left:
            if time.monotonic() > deadline:
                child.kill()
            try:
                os.waitpid(child.pid, os.WNOHANG)
            except ChildProcessError:
                return
        time.sleep(0.05)
