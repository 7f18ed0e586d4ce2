#!/usr/bin/env python3
"""Peak memory of each stage on the host, for small and large cohorts.

usage: memory.py [--cases 20,200] [--workers 2] [--spacing-mm 4] [--output OUT]

A few small phantom hearts are copied under other ids. The peaks are the resident set sizes of the main process and of
its largest worker, sampled every 100 ms.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from command_cost import Cost, measure
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
phases = [{steps = 20, code_lr = 0.06, shape_lr = 0.003, loss = "joint", tolerance_mm = 1.0, regularisation = 1e-4}]
"""
STAGES = ("prepare", "fit", "refine", "fuse", "unify", "evaluate", "report")


def main() -> None:
    """Run the stages on cohorts of each size, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="20,200")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--spacing-mm", type=float, default=4.0)
    parser.add_argument("-o", "--output", type=Path, help="working folder; temporary if not given")
    parser.add_argument("--stages", default=",".join(STAGES))
    arguments = parser.parse_args()
    output, console = arguments.output or Path(tempfile.mkdtemp(prefix="heartmend-")), Console(width=110)
    counts = [int(count) for count in arguments.cases.split(",")]
    if not (output / "phantoms").is_dir():
        settings = PhantomSettings(arguments.spacing_mm, faults="harsh", images=False)
        write_cohort(output / "phantoms", PHANTOMS, 1, settings)
    (output / "small.toml").write_text(CONFIG)
    phantoms = sorted((output / "phantoms" / "labels_noisy").iterdir())
    found: dict[str, list[Cost]] = {}
    for count in counts:
        folder = output / f"{count}"
        (folder / "labels").mkdir(parents=True, exist_ok=True)
        for n in range(count):
            shutil.copyfile(phantoms[n % len(phantoms)], folder / "labels" / f"{n:05d}.nii.gz")
        for stage in arguments.stages.split(","):
            command = [sys.executable, "-m", "heartmend", stage]
            if stage == "evaluate":
                command += [str(folder / "labels"), str(folder / "out")]
            elif stage == "report":
                command += [str(folder / "out")]
            else:
                command += [
                    str(folder / "labels"),
                    "--output",
                    str(folder / "out"),
                    "--config",
                    str(output / "small.toml"),
                ]
            cost = measure([*command, "--workers", str(arguments.workers)], folder / "log.txt")
            found.setdefault(stage, []).append(cost)
            console.print(f"{count} cases, {stage}: {cost.wall_s:.0f} s")
    table = Table(title=f"Peak memory in MiB, {arguments.workers} workers: main process, largest worker")
    table.add_column("stage")
    for count in counts:
        table.add_column(f"{count} cases", justify="right")
    for stage, rows in found.items():
        table.add_row(stage, *(f"{cost.main_mib:,.0f}, {cost.worker_mib:,.0f}" for cost in rows))
    console.print(table)


if __name__ == "__main__":
    main()
