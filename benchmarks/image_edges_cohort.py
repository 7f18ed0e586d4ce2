#!/usr/bin/env python3
"""Accuracy of the repair of a cohort from label maps only, with CT images, and by a U-Net.

usage: image_edges_cohort.py COHORT [--output OUT] [--labels-only LABELS] [--unet LABELS]

COHORT contains labels_true/, labels_noisy/ and images/ (as `heartmend phantom` writes them). The cohort is repaired
with its images and, unless the result is given, without. --unet: label maps that `unet_relabel.py` wrote.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from heartmend.anatomy.load import load_anatomy
from heartmend.metrics.evaluation import EvaluationSettings
from heartmend.metrics.summary import StructureSummary, count_worse
from heartmend.pipelines.config import load_config
from heartmend.pipelines.evaluate import evaluate_folders
from heartmend.pipelines.run import Request, run


def main() -> None:
    """Repair the cohort, evaluate the results, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="folder of the runs; temporary if not given")
    parser.add_argument("--labels-only", type=Path, help="label maps that were repaired without images")
    parser.add_argument("--unet", type=Path, help="label maps of a U-Net")
    arguments = parser.parse_args()
    console, anatomy = Console(width=140), load_anatomy("heart").without_absent(())
    noisy, truth = arguments.cohort / "labels_noisy", arguments.cohort / "labels_true"
    output = arguments.output or Path(tempfile.mkdtemp(prefix="heartmend-"))

    def repair(name: str, images: Path | None) -> Path:
        started = time.monotonic()
        labels = run(Request(noisy, output / name, images, stop_after="fuse"), load_config()).output / "labels"
        console.print(f"{name}: {time.monotonic() - started:.0f} s")
        return labels

    methods = {"labels only": arguments.labels_only or repair("labels only", None)}
    methods["with CT"] = repair("with CT", arguments.cohort / "images")
    if arguments.unet is not None:
        methods["U-Net"] = arguments.unet
    settings = EvaluationSettings(metrics=("dice", "nsd_1mm"))
    found: dict[str, dict[str, StructureSummary]] = {
        method: {s.structure: s for s in evaluate_folders(noisy, labels, anatomy, truth, settings).summary}
        for method, labels in methods.items()
    }
    table = Table(title=f"{arguments.cohort.name}: Dice error removed, NSD at 1 mm, and cases that became worse")
    table.add_column("structure")
    for method in methods:
        for heading in (f"{method}: removed", "NSD", "worse"):
            table.add_column(heading, justify="right")
    for name in anatomy.names:
        cells = []
        for summary in found.values():
            s = summary[name]
            nsd = s.spreads["nsd_1mm"]["b"].mean
            cells += [f"{s.dice_error_reduction:.2f}", f"{nsd:.3f}", f"{s.n_worse or 0}/{s.cases}"]
        table.add_row(name, *cells)
    means = [np.mean([s.dice_error_reduction for s in summary.values()]) for summary in found.values()]
    table.add_row("mean", *(cell for mean in means for cell in (f"[bold]{mean:.3f}[/]", "", "")))
    console.print(table)
    for method, summary in found.items():
        console.print(f"{method}: worse {count_worse(summary.values())} of the pairs of case and structure")


if __name__ == "__main__":
    main()
