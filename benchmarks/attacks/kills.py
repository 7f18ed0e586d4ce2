"""Kills of a run with two workers at random moments, by SIGKILL, SIGTERM and SIGINT; the run is then continued."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from kill_runs import digests as all_digests
from kill_runs import incomplete_files, is_locked, used_s

from attacks.commands import Command, preload
from attacks.lab import RUN_MODULES, Lab, Outcome
from heartmend.io.atomic import TEMPORARY_PREFIX

COUNT = 200
KILLS = 4
"""Kills of one run, which is continued after each."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STATUSES = {signal.SIGKILL: (-9,), signal.SIGTERM: (143,), signal.SIGINT: (130,)}


def jobs(lab: Lab) -> int:
    """Number of jobs; each is one run that is killed several times."""
    return -(-max(round(COUNT * lab.scale), 1) // KILLS)


@contextmanager
def opened(lab: Lab) -> Iterator[float]:
    """Provide the CPU seconds of a run with two workers that is not killed."""
    # The moments are then not in the imports, where nothing is written; every fourth run imports everything itself.
    preload(*RUN_MODULES)
    with lab.scratch() as folder:
        command = Command(lab.run_words(folder / "out", workers=2), folder / "log.txt")
        seconds = _wait(command, float("inf"), random.Random(0))
        if command.wait().status != 0:
            raise SystemExit(f"a run with two workers failed: {command.log.read_text()}")
        if problem := lab.different(folder / "out"):
            raise SystemExit(f"a run with two workers: {problem}")
    yield seconds


def attack(lab: Lab, run_s: float, job: int, rng: random.Random) -> Iterator[Outcome]:
    """Kill and continue a run some times, then let it end and compare its label maps."""
    count = min(KILLS, max(round(COUNT * lab.scale), 1) - job * KILLS)
    before, outcomes = all_digests(lab.labels), list[Outcome]()
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
            if not problem and all_digests(lab.labels) != before:
                problem = "the input has changed"
            seconds = round(time.monotonic() - started, 2)
            outcomes.append(Outcome(f"{number.name}: at {at:.2f} s of CPU time", problem, seconds))
            turn += 1
        last = Command(lab.run_words(out, workers=2), folder / "last.txt")
        ended = last.wait(limit_s=300)
        end = ended.fault() or (
            "" if ended.status == 0 else f"continued with exit status {ended.status}: {ended.text[-200:]}"
        )
        end = end or lab.different(out) or _problem(out, last, "", None)
        yield from (Outcome(o.attack, o.problem or end, o.seconds) for o in outcomes)


def _problem(out: Path, command: Command, fault: str, number: signal.Signals | None) -> str:
    """No process is left, the lock is free, no file is incomplete; temporary files only after SIGKILL."""
    if fault:
        return fault
    if left := command.left():
        return f"{left} processes are left"
    if is_locked(out):
        return "the lock is not free"
    if incomplete := list(incomplete_files(out)):
        return f"incomplete: {incomplete[0]}"
    if number != signal.SIGKILL and (temporaries := list(out.rglob(f"{TEMPORARY_PREFIX}*"))):
        return f"{len(temporaries)} temporary files are left, such as {temporaries[0].name}"
    return ""


def _wait(command: Command, until_s: float, rng: random.Random) -> float:
    """Wait until a command and its children have used so many CPU seconds, or it has ended; returns the seconds."""
    process, used = psutil.Process(command.pid), 0.0
    while not command.has_ended() and used < until_s:
        used = max(used, used_s(process))
        time.sleep(rng.uniform(0.005, 0.05))
    return used
