"""Runs with too few file descriptors or too little address space, which are then continued without a limit."""

from __future__ import annotations

import random
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from attacks.commands import preload, run_command
from attacks.lab import RUN_MODULES, Lab, Outcome
from heartmend.io.atomic import TEMPORARY_PREFIX

COUNT = 20


def jobs(lab: Lab) -> int:
    """Number of jobs; each is one attack."""
    return max(round(COUNT * lab.scale), 2)


@contextmanager
def opened(lab: Lab) -> Iterator[int]:
    """Provide the address space of this process, which a run inherits, in bytes."""
    preload(*RUN_MODULES)
    import psutil

    yield psutil.Process().memory_info().vms


def attack(lab: Lab, address_space: int, job: int, rng: random.Random) -> Iterator[Outcome]:
    """Run with a limit that may be too low, then without."""
    if job % 2:
        limits = {resource.RLIMIT_NOFILE: rng.randrange(4, 24)}
        name = f"RLIMIT_NOFILE: {limits[resource.RLIMIT_NOFILE]}"
    else:
        more = int(2 ** rng.uniform(20, 29))
        limits, name = {resource.RLIMIT_AS: address_space + more}, f"RLIMIT_AS: {more >> 20} MiB above the imports"
    with lab.scratch() as folder:
        out = folder / "out"
        ended = run_command(lab.run_words(out), folder / "log.txt", 300, limits)
        # C++ libraries end the process where no thread can be started: that is a kill like any other.
        problem = "" if ended.status == -signal.SIGABRT and job % 2 == 0 else ended.fault()
        if not problem and ended.status == 0:
            problem = lab.different(out)
        elif not problem and ended.status != -signal.SIGABRT and not ended.messages:
            problem = f"exit status {ended.status} without a message: {ended.text[-200:]}"
        again = run_command(lab.run_words(out), folder / "again.txt", 300)
        if not problem and again.status != 0:
            problem = f"continued with exit status {again.status}: {again.text[-300:]}"
        if not problem and (left := list(out.rglob(f"{TEMPORARY_PREFIX}*"))):
            problem = f"temporary files are left, such as {left[0].name}"
        yield Outcome.of(name, ended, problem or lab.different(out))
