#!/usr/bin/env python3
"""ChangeLog a cohort with known truth: does the ranking find what is wrong?

usage: audit_ranking.py COHORT [--quick] [--preset fast] [--run OUT]

COHORT holds labels_true/ and labels_noisy/. For each structure, over the cases: the Spearman correlation of the audit's
relative_expected_error with the true Dice error of the noisy labels, and of the two halves of its estimate. With --run the fit of a
run of labels_noisy is used instead of one made here.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from heartmend.anatomy.load import load_anatomy
from heartmend.metrics.evaluation import EvaluationSettings, evaluate_folders
from heartmend.pipelines.config import load_config
from heartmend.pipelines.run import Request
from heartmend.quality.ranking import RankedStructure
from heartmend.quality.screen import screen_in_temporary_folder, screen_run


def main() -> None:
    """ChangeLog, compare, print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("cohort", type=Path)
    ask.add_argument("--quick", action="store_true")
    ask.add_argument("--preset", default="fast")
    ask.add_argument("--run", type=Path)
    ask.add_argument("--workers", type=int, default=0)
    asked = ask.parse_args()
    console, anatomy, began = Console(width=110), load_anatomy("heart"), time.monotonic()
    noisy = asked.cohort / "labels_noisy"
    if asked.run is not None:
        ranking = screen_run(asked.run, asked.quick, asked.workers)
    else:
        request = Request(noisy, Path(), workers=asked.workers)
        ranking = screen_in_temporary_folder(request, load_config(asked.preset), asked.quick)
    took = time.monotonic() - began
    truth = asked.cohort / "labels_true"
    rows = evaluate_folders(
        noisy, truth, anatomy, truth, EvaluationSettings(metrics=["dice"], workers=asked.workers)
    ).rows
    error = {(row.case, row.structure): 1 - row.values["dice"] for row in rows if row.labels == "a"}

    table = Table(title=f"{asked.cohort.name}: Spearman correlation of the audit with the true Dice error, over cases")
    for heading in ("structure", "cases", "true error, %", "expected, %", "correlation", "label alone", "shape alone"):
        table.add_column(heading, justify="left" if heading == "structure" else "right")
    large = []
    for structure in anatomy.structures:
        found = [f for f in ranking.structures if f.structure == structure.name and (f.case, f.structure) in error]
        true = [error[f.case, f.structure] for f in found]
        whole = _correlation([f.relative_expected_error for f in found], true)
        alone = _correlation([f.signs.faults_error + f.signs.roughness_error for f in found], true)
        shape = _correlation([_shape(f) for f in found], true)
        table.add_row(
            structure.name, str(len(found)), f"{100 * np.mean(true):.1f}",
            f"{100 * np.mean([f.error for f in found]):.1f}", f"[bold]{whole:.2f}[/]", f"{alone:.2f}", f"{shape:.2f}",
        )  # fmt: skip
        if structure.id <= 8:
            large.append(whole)
    console.print(table)
    console.print(f"mean correlation over structures 1 to 8: {np.mean(large):.3f}; audited in {took:.0f} s")
    pairs = [(f.error, error[f.case, f.structure]) for f in ranking.structures if (f.case, f.structure) in error]
    console.print(f"over all {len(pairs)} structures of all cases: {_correlation(*zip(*pairs, strict=True)):.3f}")


def _shape(finding: RankedStructure) -> float:
    error = finding.signs.shape_error
    return finding.error if error is None else error


def _correlation(guess, true) -> float:
    return float(spearmanr(guess, true).statistic)


if __name__ == "__main__":
    main()
