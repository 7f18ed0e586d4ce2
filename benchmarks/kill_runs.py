#!/usr/bin/env python3
"""Robustness of runs against SIGKILL at random moments: a resumed run must give the same files as an undisturbed one.

usage: kill_runs.py [--kills 50] [--seed 0] [--workers 2] [--stop-after unify] [--table TABLE.csv]

A small phantom cohort is repaired once undisturbed. Then a `heartmend run` of it is killed at a moment that is drawn
uniformly from the CPU time of the undisturbed run, and the same command is started again; where it ends before that
moment, a new run is started. After every kill: is a file incomplete under its final name, is a process left, is the
lock still taken, is the input unchanged? After every end: do labels and run folder have the same bytes? Exits with 1
if any check fails.
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
from heartmend.pipelines.run import STAGES, StageName
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
# Files with times, memory or versions, or with the digest of such a file, which are not results.
TIMES = ("log.csv", "heartmend.log", "lock", "run.json", "config.json", "versions.json", "last.json", "done.json")


@dataclass(frozen=True)
class Kill:
    """One kill: the moment, the stage, and the checks after it."""

    run: int
    moment_s: float
    stage: str
    files: int
    temporaries: int
    incomplete: str
    left_processes: int
    still_locked: bool
    input_changed: bool


def start(labels: Path, out: Path, settings: Path, workers: int, stop_after: StageName) -> psutil.Popen:
    """Start `heartmend run`."""
    words = [sys.executable, "-m", "heartmend", "run", labels, "-o", out, "--config", settings, "--device", "cpu"]
    words += ["--stop-after", stop_after, "--workers", workers]
    with open(out.parent / "log.txt", "ab") as log:
        return psutil.Popen(list(map(str, words)), stdout=log, stderr=log)


def digests(folder: Path) -> dict[str, str]:
    """Compute the digest of every file of a folder, by its relative path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def results(out: Path) -> dict[str, str]:
    """Compute the digests of the results of a run: labels, change logs, shapes, model and stamps."""
    return {
        name: digest for name, digest in digests(out).items()
        if Path(name).name not in TIMES and "tensorboard" not in name and not name.startswith("run/fit/last")
    }  # fmt: skip


def incomplete_files(out: Path) -> Iterator[str]:
    """Find files that are incomplete under their final name."""
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


def stage_of(out: Path, cases: int) -> str:
    """Determine the stage of a run by its finished cases."""
    done = {stage: len(list((out / "run" / stage / "done").glob("*.json"))) for stage in ("prepare", "refine", "fuse")}
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
    """Measure the CPU seconds of a run so far, with its workers."""
    total = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(each.cpu_times()[:4])
    return total


def wait_for(process: psutil.Popen, until_s: float, rng: random.Random) -> float:
    """Wait until a run has used so many CPU seconds, or has ended; returns the CPU seconds."""
    used = 0.0
    while process.poll() is None and used < until_s:
        used = max(used, used_s(process))
        time.sleep(rng.uniform(0.02, 0.2))
    return used


def kill(process: psutil.Popen) -> int:
    """Send SIGKILL to the main process only, as the system does; returns how many processes are left a minute later.

    With much other load the server process that forks the workers may still be importing: it ends after that.
    """
    workers = process.children(recursive=True)
    process.kill()
    process.wait()
    return len(psutil.wait_procs(workers, timeout=60)[1])


def is_locked(out: Path) -> bool:
    """Whether the lock of a run folder cannot be taken."""
    lock = out / "run" / "lock"
    if not lock.exists():
        return False
    try:
        FolderLock(lock).release()
    except RunError:
        return True
    return False


def main() -> None:
    """Make the cohort, kill and resume runs, compare the results, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--stop-after", choices=STAGES, default="unify", help="the last stage")
    parser.add_argument("--table", type=Path, help="CSV file with one line for each kill")
    arguments, console = parser.parse_args(), Console(width=140, highlight=False)
    folder, rng = Path(tempfile.mkdtemp(prefix="heartmend-kill-")), random.Random(arguments.seed)
    write_cohort(folder / "cohort", arguments.cases, 3, PhantomSettings(spacing_mm=3.0))
    labels, settings = folder / "cohort" / "labels_noisy", folder / "settings.toml"
    settings.write_text(SETTINGS)
    # On one core, because threads that wait for each other would distort the CPU time.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    before = digests(labels)
    start_run = partial(start, labels, settings=settings, workers=arguments.workers, stop_after=arguments.stop_after)
    undisturbed = start_run(folder / "undisturbed")
    undisturbed_s = wait_for(undisturbed, float("inf"), rng)
    if undisturbed.returncode != 0:
        raise SystemExit(f"the undisturbed run failed: see {folder / 'log.txt'}")
    expected = results(folder / "undisturbed")
    console.print(f"undisturbed: {undisturbed_s:.1f} s of CPU time, {len(expected)} files")

    kills, ends, different, number = list[Kill](), 0, list[str](), 0
    out = folder / "killed"
    while len(kills) < arguments.kills:
        process, moment_s = start_run(out), rng.uniform(0, undisturbed_s)
        wait_for(process, moment_s, rng)
        if process.poll() is None:
            left = kill(process)
            files = [p for p in out.rglob("*") if p.is_file()] if out.exists() else []
            kills.append(
                Kill(number, round(moment_s, 2), stage_of(out, arguments.cases), len(files),
                     sum(p.name.startswith(TEMPORARY_PREFIX) for p in files), "; ".join(incomplete_files(out)), left,
                     is_locked(out), digests(labels) != before)
            )  # fmt: skip
            console.print(len(kills), asdict(kills[-1]))
            if len(kills) < arguments.kills:
                continue
            process = start_run(out)
            process.wait()
        ends += process.returncode == 0
        found = results(out)
        different += [f"run {number}: {n}" for n in expected.keys() | found.keys() if expected.get(n) != found.get(n)]
        console.print(f"run {number} ended: status {process.returncode}, different files so far: {different or 'none'}")
        shutil.rmtree(out)
        number += 1

    if arguments.table:
        with open(arguments.table, "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow([field.name for field in fields(Kill)])
            rows.writerows(astuple(k) for k in kills)
    table = Table(title=f"{len(kills)} kills of {number} runs over {undisturbed_s:.0f} s, {os.cpu_count()} cores")
    for heading in (
        "stage",
        "kills",
        "temporary files left",
        "incomplete files",
        "processes left",
        "locked",
        "input changed",
    ):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage in ("start", "prepare", "fit", "refine", "fuse", "unify", "end"):
        of = [k for k in kills if k.stage == stage]
        table.add_row(stage, *(str(sum(map(bool, c))) for c in (
            [1] * len(of), [k.temporaries for k in of], [k.incomplete for k in of], [k.left_processes for k in of],
            [k.still_locked for k in of], [k.input_changed for k in of])))  # fmt: skip
    console.print(table)
    console.print(f"{ends} of {number} runs ended; files that differ from the undisturbed run: {different or 'none'}")
    shutil.rmtree(folder)
    if (
        different
        or ends < number
        or any(k.incomplete or k.left_processes or k.still_locked or k.input_changed for k in kills)
    ):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
