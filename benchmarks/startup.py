#!/usr/bin/env python3
"""CPU time that the program takes before it works: --help, --version, a mistyped command, and `check` on small maps.

usage: startup.py [--repeat 7] [--cases 5] [--imports 15]

Prints the median of several runs in CPU seconds (user and system, of the process and its workers), the wall time, and
the modules that take longest to import for --help and for `check`, by `python -X importtime`. The limit of --help,
--version and a mistyped command is 0.3 s. Each command is run once before, so that files are cached.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from rich.console import Console

LIMIT_S = 0.3
SHAPE = (32, 32, 32)


console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Measure and print the tables."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--repeat", type=int, default=7, help="runs of each command")
    ask.add_argument("--cases", type=int, default=5, help="label maps of `check`")
    ask.add_argument("--imports", type=int, default=15, help="modules to list")
    given = ask.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        labels = small_maps(Path(folder) / "labels", given.cases)
        check = ("check", str(labels), "--workers", "1", "--quiet")
        console.print(f"{'command':<22} {'CPU s':>7} {'wall s':>7}")
        for name, words in (
            ("--help", ("--help",)), ("--version", ("--version",)), ("a mistyped command", ("rnu",)),
            ("run --help", ("run", "--help")), (f"check, {given.cases} maps", check),
        ):  # fmt: skip
            cpu_s, wall_s = measure(words, given.repeat)
            above = "  above the limit" if name.startswith(("--", "a ")) and cpu_s > LIMIT_S else ""
            console.print(f"{name:<22} {cpu_s:7.3f} {wall_s:7.3f}{above}")
        for name, words in (("--help", ("--help",)), ("check", check)):
            console.print(f"\nslowest imports of {name}, ms with what they import")
            for module, seconds in slowest_imports(words)[: given.imports]:
                console.print(f"{1000 * seconds:8.1f}  {module}")


def small_maps(folder: Path, count: int) -> Path:
    """Write label maps of one ellipsoid each."""
    folder.mkdir(parents=True)
    at = np.indices(SHAPE) - np.array(SHAPE).reshape(3, 1, 1, 1) / 2
    for n in range(count):
        labels = ((at**2).sum(axis=0) < (8 + n) ** 2).astype(np.uint8) * 3
        nib.save(nib.Nifti1Image(labels, np.diag([-1.0, -1.0, 1.0, 1.0])), folder / f"{n}.nii.gz")
    return folder


def measure(words: Sequence[str], repeat: int) -> tuple[float, float]:
    """Median CPU and wall seconds of a command, after one run that is not counted."""
    cpu, wall = [], []
    for turn in range(repeat + 1):
        before, started = os.times(), time.perf_counter()
        subprocess.run([sys.executable, "-m", "heartmend", *words], capture_output=True, check=False)
        after = os.times()
        if turn:
            wall.append(time.perf_counter() - started)
            cpu.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return statistics.median(cpu), statistics.median(wall)


def slowest_imports(words: Sequence[str]) -> list[tuple[str, float]]:
    """Modules with the seconds of their import, those that they import included; the slowest first."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "heartmend", *words], capture_output=True, text=True, check=False
    )
    found = []
    for line in done.stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if line.startswith("import time:") and len(parts) == 3 and parts[1].strip().isdigit():
            found.append((parts[2].strip(), int(parts[1]) / 1e6))
    return sorted(found, key=lambda pair: -pair[1])


if __name__ == "__main__":
    main()
