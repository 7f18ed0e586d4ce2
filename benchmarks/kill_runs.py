#!/usr/bin/env python3
"""Kill a run with SIGKILL at random moments, go on each time, and hold the end against that of a run left alone.

usage: kill_runs.py [--kills 50] [--seed 0] [--workers 2] [--until unify] [--to TABLE.csv]

A small phantom cohort is mended once undisturbed. Then a `heartmend run` of it is killed at a moment drawn evenly over
the time that the undisturbed one took (of the processor, so that a busy machine changes nothing), and the same command
is given again; where it ends before that moment, a fresh run is begun. After every kill: is any file half-written under
its final name, is a process left behind, is the lock still held, is the input as it was? After every end: are labels
and run folder the same bytes? Exits with 1 when anything is not.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gzip
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass, fields
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file

from heartmend.errors import RunError
from heartmend.io.atomic import TEMPORARY_PREFIX
from heartmend.phantom.cohort import PhantomSettings, write_cohort
from heartmend.pipelines.run import VERBS, Verb
from heartmend.run_folder.lock import FolderLock

SETTINGS = """
[prepare]
resolution = 32

[fit]
points = 64
checkpoint_seconds = 0
phases = [
  {steps = 15, code_lr = 0.01, shape_lr = 0.1, side = 16, controls = 5, tolerance_mm = 3.0},
  {steps = 15, code_lr = 0.006, shape_lr = 0.05, side = 24, controls = 6},
]

[unify]
resolution = 32
side = 8
points = 100
positives = 30
checkpoint_seconds = 0
template_phases = [{steps = 10, code_lr = 0.005, shape_lr = 0.05, side = 24, controls = 7}]
phases = [{steps = 20, code_lr = 0.05, shape_lr = 0.005, loss = "joint"}]
"""
# What says when, with which memory, or on what: not the result.
TIMES = ("log.csv", "lock", "run.json", "config.json", "versions.json", "last.json")


@dataclass(frozen=True)
class Kill:
    """One kill: when, in which verb, and what was found after it."""

    run: int
    moment_s: float
    verb: str
    files: int
    temporaries: int
    half_written: str
    left_behind: int
    still_locked: bool
    input_changed: bool


def begin(labels: Path, out: Path, settings: Path, workers: int, until: Verb) -> psutil.Popen:
    """`heartmend run`, begun."""
    words = [sys.executable, "-m", "heartmend", "run", labels, "-o", out, "--config", settings, "--device", "cpu"]
    words += ["--until", until, "--workers", workers]
    with open(out.parent / "log.txt", "ab") as log:
        return psutil.Popen(list(map(str, words)), stdout=log, stderr=log)


def digests(folder: Path) -> dict[str, str]:
    """The content of every file in a folder, by its path there."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def results(out: Path) -> dict[str, str]:
    """All that a run leaves but its logs: labels, audits, shapes, model, stamps."""
    return {
        name: digest for name, digest in digests(out).items()
        if Path(name).name not in TIMES and "tensorboard" not in name and not name.startswith("run/fit/last")
    }  # fmt: skip


def half_written(out: Path) -> Iterator[str]:
    """Files under a final name that are not whole."""
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
        except Exception as error:  # noqa: BLE001  (whatever it is, the file is not whole)
            yield f"{path.relative_to(out)}: {error}"


def verb_of(out: Path, cases: int) -> str:
    """Where a run stood, by what is done."""
    done = {verb: len(list((out / "run" / verb / "done").glob("*.json"))) for verb in ("prepare", "refine", "fuse")}
    if not (out / "run" / "run.json").exists():
        return "start"
    if done["prepare"] < cases:
        return "prepare"
    if not (out / "run" / "fit" / "done.json").exists():
        return "fit"
    if done["refine"] < cases or done["fuse"] < cases:
        return "refine" if done["refine"] < cases else "fuse"
    return "end" if (out / "run" / "unify" / "done.json").exists() else "unify"


def used_s(process: psutil.Popen) -> float:
    """Seconds of the processor that a run took so far, with its workers, those too that have ended."""
    total = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(each.cpu_times()[:4])
    return total


def watch(process: psutil.Popen, until_s: float, chance: random.Random) -> float:
    """Wait until a run has used so many seconds of the processor, or has ended; what it had used when last seen."""
    used = 0.0
    while process.poll() is None and used < until_s:
        used = max(used, used_s(process))
        time.sleep(chance.uniform(0.02, 0.2))
    return used


def kill(process: psutil.Popen) -> int:
    """SIGKILL to the run alone, as the system does; how many of its processes are there a minute later.

    On a busy machine the one that workers are forked from may be importing: it looks for its parent after that.
    """
    workers = process.children(recursive=True)
    process.kill()
    process.wait()
    return len(psutil.wait_procs(workers, timeout=60)[1])


def is_locked(out: Path) -> bool:
    """Whether the lock on a run's folder cannot be taken."""
    lock = out / "run" / "lock"
    if not lock.exists():
        return False
    try:
        FolderLock(lock).release()
    except RunError:
        return True
    return False


def main() -> None:
    """Make, run, kill, compare, print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--kills", type=int, default=50)
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--cases", type=int, default=3)
    ask.add_argument("--workers", type=int, default=2)
    ask.add_argument("--until", choices=VERBS, default="unify", help="the last verb")
    ask.add_argument("--to", type=Path, help="CSV file for one line each kill")
    asked, screen = ask.parse_args(), Console(width=140, highlight=False)
    folder, chance = Path(tempfile.mkdtemp(prefix="heartmend-kill-")), random.Random(asked.seed)
    write_cohort(folder / "cohort", asked.cases, 3, PhantomSettings(spacing_mm=3.0))
    labels, settings = folder / "cohort" / "labels_noisy", folder / "settings.toml"
    settings.write_text(SETTINGS)
    # On one core: threads that wait for each other would be most of what is measured on a busy machine.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    before = digests(labels)
    started = partial(begin, labels, settings=settings, workers=asked.workers, until=asked.until)
    whole = started(folder / "whole")
    whole_s = watch(whole, float("inf"), chance)
    if whole.returncode != 0:
        raise SystemExit(f"the undisturbed run failed: see {folder / 'log.txt'}")
    wanted = results(folder / "whole")
    screen.print(f"undisturbed: {whole_s:.1f} s of the processor, {len(wanted)} files")

    kills, ends, unlike, number = list[Kill](), 0, list[str](), 0
    out = folder / "killed"
    while len(kills) < asked.kills:
        process, moment_s = started(out), chance.uniform(0, whole_s)
        watch(process, moment_s, chance)
        if process.poll() is None:
            left = kill(process)
            files = [p for p in out.rglob("*") if p.is_file()] if out.exists() else []
            kills.append(
                Kill(number, round(moment_s, 2), verb_of(out, asked.cases), len(files),
                     sum(p.name.startswith(TEMPORARY_PREFIX) for p in files), "; ".join(half_written(out)), left,
                     is_locked(out), digests(labels) != before)
            )  # fmt: skip
            screen.print(len(kills), asdict(kills[-1]))
            if len(kills) < asked.kills:
                continue
            process = started(out)
            process.wait()
        ends += process.returncode == 0
        found = results(out)
        unlike += [f"run {number}: {n}" for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n)]
        screen.print(f"run {number} ended: status {process.returncode}, unlike so far: {unlike or 'none'}")
        shutil.rmtree(out)
        number += 1

    if asked.to:
        with open(asked.to, "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow([field.name for field in fields(Kill)])
            rows.writerows(astuple(k) for k in kills)
    table = Table(title=f"{len(kills)} kills of {number} runs over {whole_s:.0f} s, {os.cpu_count()} cores")
    for heading in ("verb", "kills", "temporaries left", "half-written", "processes left", "locked", "input changed"):
        table.add_column(heading, justify="left" if heading == "verb" else "right")
    for verb in ("start", "prepare", "fit", "refine", "fuse", "unify", "end"):
        of = [k for k in kills if k.verb == verb]
        table.add_row(verb, *(str(sum(map(bool, c))) for c in (
            [1] * len(of), [k.temporaries for k in of], [k.half_written for k in of], [k.left_behind for k in of],
            [k.still_locked for k in of], [k.input_changed for k in of])))  # fmt: skip
    screen.print(table)
    screen.print(f"{ends} of {number} runs came to their end; files unlike the undisturbed run's: {unlike or 'none'}")
    shutil.rmtree(folder)
    if (
        unlike
        or ends < number
        or any(k.half_written or k.left_behind or k.still_locked or k.input_changed for k in kills)
    ):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
