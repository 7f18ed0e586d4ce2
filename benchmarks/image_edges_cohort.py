#!/usr/bin/env python3
"""What the CT brings: a cohort mended by labels alone, with its images, and by a U-Net, scored against truth.

usage: appearance_cohort.py COHORT [--out OUT] [--labels-alone LABELS] [--unet LABELS]

COHORT holds labels_true/, labels_noisy/ and images/ (`heartmend phantom` makes such a folder). Mends it with its images
and, unless their result is given, without. --unet: what `unet_relabel.py` wrote, for a column more.
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
from heartmend.metrics.evaluation import EvaluationSettings, evaluate_folders
from heartmend.metrics.summary import StructureSummary
from heartmend.pipelines.config import load_config
from heartmend.pipelines.run import Request, run


def main() -> None:
    """Mend, score, print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("cohort", type=Path)
    ask.add_argument("--out", type=Path)
    ask.add_argument("--labels-alone", type=Path)
    ask.add_argument("--unet", type=Path)
    asked = ask.parse_args()
    console, anatomy = Console(width=140), load_anatomy("heart")
    noisy, truth = asked.cohort / "labels_noisy", asked.cohort / "labels_true"
    out = asked.out or Path(tempfile.mkdtemp(prefix="heartmend-"))

    def mended(name: str, images: Path | None) -> Path:
        began = time.monotonic()
        done = run(Request(noisy, out / name, images, until="fuse"), load_config()).out / "labels"
        console.print(f"{name}: {time.monotonic() - began:.0f} s")
        return done

    ways = {"labels alone": asked.labels_alone or mended("labels alone", None)}
    ways["with CT"] = mended("with CT", asked.cohort / "images")
    if asked.unet is not None:
        ways["U-Net"] = asked.unet
    settings = EvaluationSettings(metrics=("dice", "nsd_1mm"))
    found: dict[str, dict[str, StructureSummary]] = {
        way: {s.structure: s for s in evaluate_folders(noisy, labels, anatomy, truth, settings).summary}
        for way, labels in ways.items()
    }
    table = Table(title=f"{asked.cohort.name}: share of the Dice error removed; surface Dice at 1 mm; worse of all cases")
    table.add_column("structure")
    for way in ways:
        for heading in (f"{way}: removed", "nsd", "worse"):
            table.add_column(heading, justify="right")
    for name in anatomy.names:
        cells = []
        for of_way in found.values():
            s = of_way[name]
            cells += [f"{s.dice_error_reduction:.2f}", f"{s.spreads['nsd_1mm']['b'].mean:.3f}", f"{s.n_worse or 0}/{s.cases}"]
        table.add_row(name, *cells)
    means = [np.mean([s.dice_error_reduction for s in of_way.values()]) for of_way in found.values()]
    table.add_row("mean", *(cell for mean in means for cell in (f"[bold]{mean:.3f}[/]", "", "")))
    console.print(table)


if __name__ == "__main__":
    main()
