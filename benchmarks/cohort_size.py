#!/usr/bin/env python3
"""What the size of a data set is worth: the same few hearts mended among 5, 10, 20 and 60.

usage: cohort_size.py [--sizes 5,10,20,60] [--seed 7] [--spacing-mm 1.4] [--out OUT]

Makes phantom hearts, each different from all others in everything. Every size holds the hearts of the sizes before it,
and the score is always that of the first hearts, which all sizes share: so what differs is the company alone.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from heartmend.anatomy.load import load_anatomy
from heartmend.compute.workers import available_cores
from heartmend.metrics.evaluation import EvaluationSettings, evaluate_folders
from heartmend.phantom.cohort import PhantomSettings, write_cohort
from heartmend.pipelines.config import load_config
from heartmend.pipelines.run import Request, run

KEYS = ("dice", "nsd_1mm")


def part_of(cohort: Path, count: int, folder: Path) -> Path:
    """The first `count` hearts of a cohort in a folder of their own."""
    for kind in ("labels_true", "labels_noisy"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for path in sorted((cohort / kind).glob("*.nii.gz"))[:count]:
            shutil.copyfile(path, folder / kind / path.name)
    return folder


def main() -> None:
    """Make, mend, score, print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--sizes", default="5,10,20,60")
    ask.add_argument("--seed", type=int, default=7)
    ask.add_argument("--spacing-mm", type=float, default=1.4)
    ask.add_argument("--out", type=Path)
    asked = ask.parse_args()
    sizes = sorted(int(size) for size in asked.sizes.split(","))
    console, anatomy = Console(width=140), load_anatomy("heart")
    out = asked.out or Path(tempfile.mkdtemp(prefix="heartmend-"))
    write_cohort(out / "all", sizes[-1], asked.seed, PhantomSettings(asked.spacing_mm), available_cores())
    shared = part_of(out / "all", sizes[0], out / "shared")
    table = Table(title=f"Phantom hearts: share of the Dice error of the first {sizes[0]} that is removed")
    for heading in ("hearts", *anatomy.names, "mean 1-8", "worse", "seconds"):
        table.add_column(heading, justify="right")
    for size in sizes:
        began = time.monotonic()
        cohort = part_of(out / "all", size, out / f"{size}")
        mended = (
            run(Request(cohort / "labels_noisy", out / f"mended_{size}", until="fuse"), load_config()).out / "labels"
        )
        seconds = time.monotonic() - began
        settings = EvaluationSettings(metrics=KEYS)
        found = evaluate_folders(shared / "labels_noisy", mended, anatomy, shared / "labels_true", settings).summary
        reduction = {anatomy.by_name(s.structure).id: s.dice_error_reduction for s in found}
        table.add_row(
            str(size), *(f"{reduction.get(id, float('nan')):.2f}" for id in anatomy.ids),
            f"{np.mean([g for id, g in reduction.items() if id <= 8]):.3f}",
            str(sum(s.n_worse or 0 for s in found)), f"{seconds:.0f}",
        )  # fmt: skip
        console.print(f"{size} hearts: {seconds:.0f} s")
    console.print(table)


if __name__ == "__main__":
    main()
