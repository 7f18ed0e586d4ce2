#!/usr/bin/env python3
"""How much host memory each verb takes at its peak, for few cases and for many.

usage: memory.py [--cases 20,200] [--workers 2] [--spacing-mm 4] [--out OUT]

A few small phantom hearts are made and copied under other ids until there are enough. The peaks are of the main
process and of the largest of its workers: what the system holds for each (resident set), looked at every 50 ms.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from heartmend.phantom.cohort import PhantomSettings, write_cohort

PHANTOMS = 5
CONFIG = """
[prepare]
resolution = 48
[fit]
points = 500
phases = [{steps = 20, code_lr = 0.01, shape_lr = 0.1, side = 32, controls = 6}]
[unify]
points = 500
resolution = 48
side = 16
template_phases = [{steps = 10, code_lr = 0.004, shape_lr = 0.05, side = 32, controls = 6}]
phases = [{steps = 20, code_lr = 0.06, shape_lr = 0.003, loss = "joint", tolerance_mm = 1.0, penalty = 1e-4}]
"""
VERBS = ("prepare", "fit", "refine", "fuse", "unify", "evaluate", "report")


def peaks(command: list[str]) -> tuple[float, float, float]:
    """MiB of the main process and of its largest child at their peaks, and seconds on the clock."""
    began, main, child = time.monotonic(), 0, 0
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            main = max(main, process.memory_info().rss)
            child = max([child, *(c.memory_info().rss for c in process.children(recursive=True))])
        except psutil.Error:
            pass
        time.sleep(0.05)
    if process.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(command)}: ended with {process.returncode}")
    return main / 2**20, child / 2**20, time.monotonic() - began


def main() -> None:
    """Run the verbs on cohorts of each size, print a table."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--cases", default="20,200")
    ask.add_argument("--workers", type=int, default=2)
    ask.add_argument("--spacing-mm", type=float, default=4.0)
    ask.add_argument("--out", type=Path)
    ask.add_argument("--verbs", default=",".join(VERBS))
    asked = ask.parse_args()
    out, console = asked.out or Path(tempfile.mkdtemp(prefix="heartmend-")), Console(width=110)
    counts = [int(count) for count in asked.cases.split(",")]
    if not (out / "phantoms").is_dir():
        write_cohort(out / "phantoms", PHANTOMS, 1, PhantomSettings(asked.spacing_mm))
    (out / "small.toml").write_text(CONFIG)
    few = sorted((out / "phantoms" / "labels_noisy").iterdir())
    found: dict[str, list[tuple[float, float, float]]] = {}
    for count in counts:
        folder = out / f"{count}"
        (folder / "labels").mkdir(parents=True, exist_ok=True)
        for n in range(count):
            shutil.copyfile(few[n % len(few)], folder / "labels" / f"{n:05d}.nii.gz")
        for verb in asked.verbs.split(","):
            command = [sys.executable, "-m", "heartmend", verb]
            if verb == "evaluate":
                command += [str(folder / "labels"), str(folder / "out")]
            elif verb == "report":
                command += [str(folder / "out")]
            else:
                command += [str(folder / "labels"), "--out", str(folder / "out"), "--config", str(out / "small.toml")]
            found.setdefault(verb, []).append(peaks([*command, "--workers", str(asked.workers)]))
            console.print(f"{count} cases, {verb}: {found[verb][-1][2]:.0f} s")
    table = Table(title=f"Peak memory in MiB, {asked.workers} workers: main process, largest worker")
    table.add_column("verb")
    for count in counts:
        table.add_column(f"{count} cases", justify="right")
    for verb, rows in found.items():
        table.add_row(verb, *(f"{main:,.0f}, {child:,.0f}" for main, child, _ in rows))
    console.print(table)


if __name__ == "__main__":
    main()
