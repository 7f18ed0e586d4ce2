#!/usr/bin/env python3
"""Accuracy of the repair of the same few phantom hearts in cohorts of 5, 10, 20 and 60.

usage: cohort_size.py [--sizes 5,10,20,60] [--seed 7] [--spacing-mm 1.4] [--output OUT]

Every phantom heart differs from all others in all its parameters. A cohort contains the hearts of all smaller cohorts,
and the score is that of the hearts of the smallest one, so the results differ by the size of the cohort only.
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
from heartmend.metrics.evaluation import EvaluationSettings
from heartmend.metrics.summary import count_worse
from heartmend.phantom.cohort import PhantomSettings, write_cohort
from heartmend.pipelines.config import load_config
from heartmend.pipelines.evaluate import evaluate_folders
from heartmend.pipelines.run import Request, run

KEYS = ("dice", "nsd_1mm")


def copy_first(cohort: Path, count: int, folder: Path) -> Path:
    """Copy the first `count` hearts of a cohort to a folder."""
    for kind in ("labels_true", "labels_noisy"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for path in sorted((cohort / kind).glob("*.nii.gz"))[:count]:
            shutil.copyfile(path, folder / kind / path.name)
    return folder


def main() -> None:
    """Make the cohorts, repair and evaluate them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="5,10,20,60")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--spacing-mm", type=float, default=1.4)
    parser.add_argument("-o", "--output", type=Path, help="folder of the cohorts and runs; temporary if not given")
    arguments = parser.parse_args()
    sizes = sorted(int(size) for size in arguments.sizes.split(","))
    console, anatomy = Console(width=140), load_anatomy("heart").without_absent(())
    output = arguments.output or Path(tempfile.mkdtemp(prefix="heartmend-"))
    settings = PhantomSettings(arguments.spacing_mm, faults="harsh")
    write_cohort(output / "all", sizes[-1], arguments.seed, settings, available_cores())
    shared = copy_first(output / "all", sizes[0], output / "shared")
    table = Table(title=f"Phantom hearts: share of the Dice error of the first {sizes[0]} that is removed")
    for heading in ("hearts", *anatomy.names, "mean 1-8", "worse", "seconds"):
        table.add_column(heading, justify="right")
    for size in sizes:
        started = time.monotonic()
        cohort = copy_first(output / "all", size, output / f"{size}")
        request = Request(cohort / "labels_noisy", output / f"repaired_{size}", stop_after="fuse")
        repaired = run(request, load_config()).output / "labels"
        seconds = time.monotonic() - started
        settings = EvaluationSettings(metrics=KEYS)
        found = evaluate_folders(shared / "labels_noisy", repaired, anatomy, shared / "labels_true", settings).summary
        reduction = {anatomy.by_name(s.structure).id: s.dice_error_reduction for s in found}
        table.add_row(
            str(size), *(f"{reduction.get(id, float('nan')):.2f}" for id in anatomy.ids),
            f"{np.mean([share for id, share in reduction.items() if id <= 8]):.3f}",
            str(count_worse(found)), f"{seconds:.0f}",
        )  # fmt: skip
        console.print(f"{size} hearts: {seconds:.0f} s")
    console.print(table)


if __name__ == "__main__":
    main()
