#!/usr/bin/env python3
"""Where the time of a run goes on CPU cores: each verb in this one process, under a profiler.

usage: cpu_cohort.py [COHORT] [--cases 20] [--spacing-mm 0.9] [--preset mend] [--out OUT] [--until unify] [--top 3]

COHORT is a folder with labels_noisy/, or of label maps; phantom hearts are made when it is not given. The profiler
counts CPU seconds, so a busy machine changes the seconds on the clock alone. Volumes are the label maps and images that
are read and written; files are those of the run; what is left is arithmetic.
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
from heartmend.pipelines.run import VERBS, Request, run

# Functions none of which calls another one of them, by file and name.
VOLUMES = {("io/label_maps.py", "read_labels"), ("io/label_maps.py", "write_labels_like"),
           ("io/volume.py", "read_image"), ("io/volume.py", "read_volume_header")}  # fmt: skip
CODEC = {("io/gzipped.py", "open_stream"), ("io/gzipped.py", "write_stream")}
FILES = {
    *(("io/atomic.py", name) for name in ("write_npz", "read_npz", "write_text", "read_json", "write_safetensors")),
    ("io/digests.py", "file_fingerprint"), ("run_folder/stamps.py", "is_done"), ("training/checkpoint.py", "_read"),
}  # fmt: skip


def seconds_of(stats: dict, functions: set[tuple[str, str]]) -> float:
    """CPU seconds in these functions and what they call."""
    found = 0.0
    for (file, _, name), (_, _, _, cumulative, _) in stats.items():
        found += (
            cumulative if any(name == wanted and file.endswith(f"heartmend/{end}") for end, wanted in functions) else 0
        )
    return found


def largest(stats: dict, count: int) -> str:
    """The functions in which most CPU seconds are spent, what they call not counted."""
    own = sorted(stats.items(), key=lambda item: -item[1][2])[:count]
    return ", ".join(f"{Path(file).name}:{name} {row[2]:.1f}" for (file, _, name), row in own)


def main() -> None:
    """Run each verb, print a line for it."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("cohort", type=Path, nargs="?")
    ask.add_argument("--cases", type=int, default=20)
    ask.add_argument("--spacing-mm", type=float, default=0.9)
    ask.add_argument("--preset", default="mend")
    ask.add_argument("--out", type=Path)
    ask.add_argument("--until", default="unify", choices=VERBS)
    ask.add_argument("--top", type=int, default=3)
    asked = ask.parse_args()
    out, console = asked.out or Path(tempfile.mkdtemp(prefix="heartmend-")), Console(width=150)
    cohort = asked.cohort
    if cohort is None:
        write_cohort(out / "phantoms", asked.cases, 1, PhantomSettings(asked.spacing_mm), available_cores())
        cohort = out / "phantoms"
    source = cohort / "labels_noisy" if (cohort / "labels_noisy").is_dir() else cohort
    (out / "labels").mkdir(parents=True, exist_ok=True)
    for path in sorted(p for p in source.iterdir() if p.is_file())[: asked.cases]:
        shutil.copyfile(path, out / "labels" / path.name)
    config = load_config(asked.preset)
    table = Table(
        title=f"{len(list((out / 'labels').iterdir()))} hearts of {source}, one process, preset {asked.preset}"
    )
    for heading in (
        "verb",
        "s on the clock",
        "s of CPU",
        "volumes",
        "of it gzip",
        "files",
        "arithmetic",
        "most, s of CPU",
    ):
        table.add_column(heading, justify="left" if heading in ("verb", "most, s of CPU") else "right")
    for verb in VERBS[: VERBS.index(asked.until) + 1]:
        profile, began = cProfile.Profile(time.process_time), time.monotonic()
        profile.runcall(run, Request(out / "labels", out / "out", device="cpu", workers=1, until=verb), config)
        clock = time.monotonic() - began
        stats = pstats.Stats(profile).stats
        total = sum(own for _, _, own, _, _ in stats.values())
        volumes, codec, files = (seconds_of(stats, part) / total for part in (VOLUMES, CODEC, FILES))
        table.add_row(
            verb, f"{clock:.0f}", f"{total:.1f}", f"{volumes:.1%}", f"{codec:.1%}", f"{files:.1%}",
            f"{1 - volumes - files:.1%}", largest(stats, asked.top),
        )  # fmt: skip
        console.print(f"{verb}: {total:.0f} s of CPU")
    console.print(table)


if __name__ == "__main__":
    main()
