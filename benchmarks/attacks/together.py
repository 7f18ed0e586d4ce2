"""Two runs, a review and an export at once on one output folder."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from attacks.commands import Command, Ended, preload
from attacks.lab import RUN_MODULES, Lab, Outcome

COUNT = 10
IMPORTS_MB = 1000.0
"""This process imports all that a run needs before it forks."""


def jobs(lab: Lab) -> int:
    """Number of jobs; each is one attack."""
    return max(round(COUNT * lab.scale), 1)


@contextmanager
def opened(lab: Lab) -> Iterator[None]:
    """Import what the commands need."""
    preload(*RUN_MODULES, "heartmend.cli.export", "heartmend.cli.review", "heartmend.release.export")
    yield


def attack(lab: Lab, target: None, job: int, rng: random.Random) -> Iterator[Outcome]:
    """Start the commands at random moments, on a finished run or on an empty folder."""
    with lab.scratch() as folder:
        out = folder / "out"
        if job % 2 == 0:
            shutil.copytree(lab.undisturbed, out)
            for stage in ("fuse", "refine"):
                shutil.rmtree(out / "run" / stage)
        commands: dict[str, list[object]] = {
            "run 1": lab.run_words(out), "run 2": lab.run_words(out),
            "export": ["export", out, "-o", folder / "export", "--undecided", "accept", "--workers", 1],
            "review": ["review", out, "--no-browser", "--port", 0, "--workers", 1],
        }  # fmt: skip
        names = list(commands)
        rng.shuffle(names)
        started: dict[str, Command] = {}
        for name in names:
            started[name] = Command(commands[name], folder / f"{name}.txt")
            time.sleep(rng.uniform(0, 0.5))
        ended = {name: command.wait(300) for name, command in started.items() if name != "review"}
        with suppress(ProcessLookupError):
            os.kill(started["review"].pid, signal.SIGTERM)
        ended["review"] = started["review"].wait(60)
        problem = _problem(ended)
        again = lab.run(out)
        if not problem and again.status != 0:
            problem = f"continued with exit status {again.status}: {again.text[-300:]}"
        yield Outcome.of("two runs, review and export at once", ended["run 1"], problem or lab.different(out))


def _problem(ended: dict[str, Ended]) -> str:
    """Every command ends properly; one of the runs succeeds, or another command had the lock."""
    for name, one in ended.items():
        if fault := one.fault():
            return f"{name}: {fault}"
        if one.status == 1 and (problem := one.not_refused("out", peak_mb=IMPORTS_MB)) and not one.is_late():
            return f"{name}: {problem}"
    runs = [ended["run 1"], ended["run 2"]]
    if not any(one.status == 0 or one.names("lock", "another", "working on", "in use") for one in runs):
        return f"no run succeeded: {runs[0].text[-200:]} {runs[1].text[-200:]}"
    return ""
