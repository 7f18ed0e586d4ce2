"""Kills of a run with two workers at random moments, by SIGKILL, SIGTERM and SIGINT; the run is then continued.

After every kill no file is incomplete under its final name, no process is left, the lock is free, and the input is as
it was. After the last one the run is continued to its end: all files of OUT have the same bytes as those of a run that
was not killed, but for logs, times and versions.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import signal
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from attacks.commands import Command, preload
from attacks.lab import RUN_MODULES, Lab, Outcome, digests
from heartmend.errors import RunError
from heartmend.io.atomic import TEMPORARY_PREFIX
from heartmend.run_folder.lock import FolderLock

COUNT = 200
KILLS = 4
"""Kills of one run, which is continued after each."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STATUSES = {signal.SIGKILL: (-9,), signal.SIGTERM: (143,), signal.SIGINT: (130,)}
TIMES = (
    "log.csv", "heartmend.log", "lock", "history.json", "run.json", "settings.json", "versions.json", "last.json",
    "done.json",
)  # fmt: skip
"""Files with times, memory or versions, or with the digest of such a file, which are not results."""


@dataclass(frozen=True)
class Undisturbed:
    """A run with two workers that was not killed.

    Attributes:
        cpu_s: its CPU time.
        results: digest of each of its results, by its path.
    """

    cpu_s: float
    results: dict[str, str]


def jobs(lab: Lab) -> int:
    """Number of jobs; each is one run that is killed several times."""
    return -(-max(round(COUNT * lab.scale), 1) // KILLS)


@contextmanager
def opened(lab: Lab) -> Iterator[Undisturbed]:
    """Run with two workers without a kill."""
    # The moments are then not in the imports, where nothing is written; every fourth run imports everything itself.
    preload(*RUN_MODULES)
    with lab.scratch() as folder:
        command = Command(lab.run_words(folder / "out", workers=2), folder / "log.txt")
        seconds = _wait(command, float("inf"), random.Random(0))
        if command.wait().status != 0:
            raise SystemExit(f"a run with two workers failed: {command.log.read_text()}")
        if problem := lab.different(folder / "out"):
            raise SystemExit(f"a run with two workers: {problem}")
        undisturbed = Undisturbed(seconds, _results(folder / "out"))
    yield undisturbed


def attack(lab: Lab, undisturbed: Undisturbed, job: int, rng: random.Random) -> Iterator[Outcome]:
    """Kill and continue a run some times, then let it end and compare its results."""
    count, run_s = min(KILLS, max(round(COUNT * lab.scale), 1) - job * KILLS), undisturbed.cpu_s
    before, outcomes = digests(lab.labels), list[Outcome]()
    with lab.scratch() as folder:
        out = folder / "out"
        turn = 0
        while turn < count:
            number = SIGNALS[(job * KILLS + turn) % len(SIGNALS)]
            command = Command(lab.run_words(out, workers=2), folder / f"{turn}.txt", new_process=job % 4 == 3)
            # A continued run is shorter: the moments cover the whole run together.
            at = rng.uniform(0, run_s / 2 if turn else 0.8 * run_s)
            _wait(command, at, rng)
            started = time.monotonic()
            if command.has_ended():
                # The run was faster than the moment: this is no kill, and another run is started.
                ended = command.wait()
                if problem := ended.fault() or lab.different(out):
                    outcomes.append(Outcome(f"end of a run: before {at:.2f} s", problem))
                    turn += 1
                shutil.rmtree(out)
                continue
            # Before its first line a program cannot handle signals: Python prints a traceback of the import.
            has_started = command.log.exists() and command.log.stat().st_size > 0
            with suppress(ProcessLookupError):
                # Ctrl-C is sent to all processes of the terminal.
                (os.killpg if number == signal.SIGINT else os.kill)(command.pid, number)
            ended = command.wait(limit_s=60)
            problem = _problem(out, command, ended.fault() if has_started and number != signal.SIGKILL else "", number)
            if not problem and has_started and ended.status not in (*STATUSES[number], 0, -number):
                problem = f"exit status {ended.status} after {number.name}: {ended.text[-200:]}"
            if not problem and digests(lab.labels) != before:
                problem = "the input has changed"
            seconds = round(time.monotonic() - started, 2)
            outcomes.append(Outcome(f"{number.name}: at {at:.2f} s of CPU time", problem, seconds))
            turn += 1
        last = Command(lab.run_words(out, workers=2), folder / "last.txt")
        ended = last.wait(limit_s=300)
        end = ended.fault() or (
            "" if ended.status == 0 else f"continued with exit status {ended.status}: {ended.text[-200:]}"
        )
        end = end or lab.different(out) or _different(out, undisturbed) or _problem(out, last, "", None)
        yield from (Outcome(o.attack, o.problem or end, o.seconds) for o in outcomes)


def _results(out: Path) -> dict[str, str]:
    """Digests of labels, change logs, shapes, model and stamps."""
    return {
        name: digest for name, digest in digests(out).items()
        if Path(name).name not in TIMES and "tensorboard" not in name and not name.startswith("run/fit/last")
    }  # fmt: skip


def _different(out: Path, undisturbed: Undisturbed) -> str:
    expected, found = undisturbed.results, _results(out)
    names = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
    return f"files differ from those of a run that was not killed: {', '.join(names[:5])}" if names else ""


def _problem(out: Path, command: Command, fault: str, number: signal.Signals | None) -> str:
    """No process is left, the lock is free, no file is incomplete; temporary files only after SIGKILL."""
    if fault:
        return fault
    if left := command.left():
        return f"{left} processes are left"
    if _is_locked(out):
        return "the lock is not free"
    if incomplete := list(_incomplete_files(out)):
        return f"incomplete: {incomplete[0]}"
    if number != signal.SIGKILL and (temporaries := list(out.rglob(f"{TEMPORARY_PREFIX}*"))):
        return f"{len(temporaries)} temporary files are left, such as {temporaries[0].name}"
    return ""


def _wait(command: Command, until_s: float, rng: random.Random) -> float:
    """Wait until a command and its children have used so many CPU seconds, or it has ended; returns the seconds."""
    process, used = psutil.Process(command.pid), 0.0
    while not command.has_ended() and used < until_s:
        used = max(used, _used_s(process))
        time.sleep(rng.uniform(0.005, 0.05))
    return used


def _used_s(process: psutil.Process) -> float:
    """CPU seconds of a run so far, with its workers."""
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += sum(each.cpu_times()[:4])
    return total


def _is_locked(out: Path) -> bool:
    """Whether the lock of a run folder cannot be taken."""
    lock = out / "run" / "lock"
    if not lock.exists():
        return False
    try:
        FolderLock(lock).release()
    except RunError:
        return True
    return False


def _incomplete_files(out: Path) -> Iterator[str]:
    """Find files that are incomplete under their final name."""
    import nibabel as nib
    import numpy as np
    from safetensors.numpy import load_file

    for path in out.rglob("*"):
        if not path.is_file() or path.name.startswith(TEMPORARY_PREFIX) or "tensorboard" in path.parts:
            continue
        try:
            if path.name.endswith(".nii.gz"):
                gzip.decompress(path.read_bytes())
                nib.load(path).get_fdata()
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".npz":
                with np.load(path, allow_pickle=False) as arrays:
                    _ = [arrays[name] for name in arrays.files]
            elif path.suffix == ".safetensors":
                load_file(path)
            elif path.suffix == ".zip" and (damaged := zipfile.ZipFile(path).testzip()):
                raise ValueError(damaged)
        except Exception as error:  # noqa: BLE001  (with any error the file is incomplete)
            yield f"{path.relative_to(out)}: {error}"
