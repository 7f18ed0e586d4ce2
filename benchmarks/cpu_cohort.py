#!/usr/bin/env python3
"""Time of each stage of a run on CPU cores, measured in one process with a profiler.

usage: cpu_cohort.py [COHORT] [--cases 20] [--spacing-mm 0.9] [--preset mend] [--output OUT]
       [--stop-after unify] [--top 3]

COHORT is a folder of label maps, or one with labels_noisy/; phantom hearts are made if it is not given. The profiler
counts CPU seconds, so other load changes the elapsed seconds only. "volumes" is the time of reading and writing label
maps and images, "files" that of the files of the run, and the rest is arithmetic.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import shutil
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from heartmend.compute.workers import available_cores
from heartmend.phantom.cohort import PhantomSettings, write_cohort
from heartmend.pipelines.config import load_config
from heartmend.pipelines.run import STAGES, Request, run

# Functions by file and name; none of a group calls another one of it.
VOLUMES = {("io/label_maps.py", "read_labels"), ("io/label_writing.py", "write_labels_like"),
           ("io/volume.py", "read_image"), ("io/volume.py", "read_volume_header")}  # fmt: skip
CODEC = {("io/gzipped.py", "open_stream"), ("io/gzipped.py", "write_stream")}
FILES = {
    *(("io/atomic.py", name) for name in ("write_npz", "read_npz", "write_text", "read_json", "write_safetensors")),
    ("io/digests.py", "file_fingerprint"), ("run_folder/stamped_stages.py", "is_done"),
    ("training/checkpoint.py", "_read"),
}  # fmt: skip


def seconds_of(stats: dict, functions: set[tuple[str, str]]) -> float:
    """Sum the CPU seconds of functions and of what they call."""
    found = 0.0
    for (file, _, name), (_, _, _, cumulative, _) in stats.items():
        found += (
            cumulative if any(name == wanted and file.endswith(f"heartmend/{end}") for end, wanted in functions) else 0
        )
    return found


def largest(stats: dict, count: int) -> str:
    """Name the functions with the most CPU seconds, without what they call."""
    own = sorted(stats.items(), key=lambda item: -item[1][2])[:count]
    return ", ".join(f"{Path(file).name}:{name} {row[2]:.1f}" for (file, _, name), row in own)


def main() -> None:
    """Run each stage, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path, nargs="?")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--spacing-mm", type=float, default=0.9)
    parser.add_argument("--preset", default="mend")
    parser.add_argument("-o", "--output", type=Path, help="working folder; temporary if not given")
    parser.add_argument("--stop-after", default="unify", choices=STAGES)
    parser.add_argument("--top", type=int, default=3)
    arguments = parser.parse_args()
    output, console = arguments.output or Path(tempfile.mkdtemp(prefix="heartmend-")), Console(width=150)
    cohort = arguments.cohort
    if cohort is None:
        settings = PhantomSettings(arguments.spacing_mm, faults="harsh", images=False)
        write_cohort(output / "phantoms", arguments.cases, 1, settings, available_cores())
        cohort = output / "phantoms"
    source = cohort / "labels_noisy" if (cohort / "labels_noisy").is_dir() else cohort
    (output / "labels").mkdir(parents=True, exist_ok=True)
    for path in sorted(p for p in source.iterdir() if p.is_file())[: arguments.cases]:
        shutil.copyfile(path, output / "labels" / path.name)
    config = load_config(arguments.preset)
    table = Table(
        title=f"{len(list((output / 'labels').iterdir()))} hearts of {source}, one process, preset {arguments.preset}"
    )
    for heading in (
        "stage",
        "elapsed, s",
        "CPU, s",
        "volumes",
        "of which gzip",
        "files",
        "arithmetic",
        "largest, CPU s",
    ):
        table.add_column(heading, justify="left" if heading in ("stage", "largest, CPU s") else "right")
    for stage in STAGES[: STAGES.index(arguments.stop_after) + 1]:
        profile, started = cProfile.Profile(time.process_time), time.monotonic()
        profile.runcall(
            run, Request(output / "labels", output / "out", device="cpu", workers=1, stop_after=stage), config
        )
        elapsed = time.monotonic() - started
        stats = pstats.Stats(profile).stats
        total = sum(own for _, _, own, _, _ in stats.values())
        volumes, codec, files = (seconds_of(stats, part) / total for part in (VOLUMES, CODEC, FILES))
        table.add_row(
            stage, f"{elapsed:.0f}", f"{total:.1f}", f"{volumes:.1%}", f"{codec:.1%}", f"{files:.1%}",
            f"{1 - volumes - files:.1%}", largest(stats, arguments.top),
        )  # fmt: skip
        console.print(f"{stage}: {total:.0f} s of CPU time")
    console.print(table)


if __name__ == "__main__":
    main()
