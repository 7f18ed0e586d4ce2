#!/usr/bin/env python3
"""Correlation of the errors that `heartmend screen` expects with the true Dice errors of a cohort.

usage: screen_ranking.py COHORT [--quick] [--preset fast] [--run OUT]

COHORT contains labels_true/ and labels_noisy/. For each structure, over the cases: the Spearman correlation of the
relative expected error with the true Dice error of the noisy labels, and that of its two parts. With --run the shapes
of a run of labels_noisy are used instead of a fit made here.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr
from trust_order import LOOKED_AT, share_met, share_met_in_time

from heartmend.anatomy.load import load_anatomy
from heartmend.metrics.evaluation import EvaluationSettings
from heartmend.pipelines.config import load_config
from heartmend.pipelines.evaluate import evaluate_folders
from heartmend.pipelines.run import Request
from heartmend.quality.ranking import RankedStructure
from heartmend.quality.screen import screen_in_temporary_folder, screen_run


def main() -> None:
    """Screen the cohort, compare with the truth, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--quick", action="store_true", help="without fitted shapes")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--run", type=Path, help="output folder of a run of labels_noisy")
    parser.add_argument("--workers", type=int, default=0)
    arguments = parser.parse_args()
    console, anatomy, started = Console(width=110), load_anatomy("heart").without_absent(()), time.monotonic()
    noisy, truth = arguments.cohort / "labels_noisy", arguments.cohort / "labels_true"
    if arguments.run is not None:
        ranking = screen_run(arguments.run, arguments.quick, arguments.workers)
    else:
        request = Request(noisy, Path(), workers=arguments.workers)
        ranking = screen_in_temporary_folder(request, load_config(arguments.preset), arguments.quick)
    seconds = time.monotonic() - started
    settings = EvaluationSettings(metrics=["dice"], workers=arguments.workers)
    rows = evaluate_folders(noisy, truth, anatomy, truth, settings).rows
    true_error = {(row.case, row.structure): 1 - row.values["dice"] for row in rows if row.labels == "a"}

    table = Table(title=f"{arguments.cohort.name}: Spearman correlation of expected and true Dice error over the cases")
    for heading in ("structure", "cases", "true error, %", "expected, %", "correlation", "label only", "shape only"):
        table.add_column(heading, justify="left" if heading == "structure" else "right")
    large = []
    for structure in anatomy.structures:
        ranked = [
            r for r in ranking.structures if r.structure == structure.name and (r.case, r.structure) in true_error
        ]
        true = [true_error[r.case, r.structure] for r in ranked]
        combined = _correlation([r.relative_expected_error for r in ranked], true)
        label = _correlation([r.indicators.defect_error + r.indicators.roughness_error for r in ranked], true)
        shape = _correlation([_shape_error(r) for r in ranked], true)
        table.add_row(
            structure.name, str(len(ranked)), f"{100 * np.mean(true):.1f}",
            f"{100 * np.mean([r.expected_error for r in ranked]):.1f}", f"[bold]{combined:.2f}[/]", f"{label:.2f}",
            f"{shape:.2f}",
        )  # fmt: skip
        if structure.id <= 8:
            large.append(combined)
    console.print(table)
    console.print(f"mean correlation over structures 1 to 8: {np.mean(large):.3f}; screened in {seconds:.0f} s")
    print_orders(console, ranking.structures, true_error)
    pairs = [
        (r.expected_error, true_error[r.case, r.structure])
        for r in ranking.structures
        if (r.case, r.structure) in true_error
    ]
    console.print(f"over all {len(pairs)} structures of all cases: {_correlation(*zip(*pairs, strict=True)):.3f}")


def print_orders(
    console: Console, ranked: Sequence[RankedStructure], true_error: Mapping[tuple[str, str], float]
) -> None:
    """Print the share of the true error in the first fifth of the structures, and of the minutes, in several orders."""
    counted = [one for one in ranked if (one.case, one.structure) in true_error]
    error = np.array([true_error[one.case, one.structure] for one in counted])
    minutes = np.array([one.minutes for one in counted])
    expected = np.array([one.expected_error for one in counted])
    orders = {
        "expected error in a minute (screen)": expected / minutes,
        "expected error": expected,
        "relative expected error": np.array([one.relative_expected_error for one in counted]),
        "random": np.random.default_rng(0).random(len(counted)),
        "true error": error,
        "true error in a minute": error / minutes,
    }
    table = Table("order", "of the structures", "of the minutes", title=f"Dice error in the first {LOOKED_AT:.0%}")
    for name, order in orders.items():
        met = share_met(error, order), share_met_in_time(error, order, minutes)
        table.add_row(name, *(f"{share:.2f}" for share in met))
    console.print(table)


def _shape_error(ranked: RankedStructure) -> float:
    error = ranked.indicators.shape_error
    return ranked.expected_error if error is None else error


def _correlation(expected: Sequence[float], true: Sequence[float]) -> float:
    return float(spearmanr(expected, true).statistic)


if __name__ == "__main__":
    main()
