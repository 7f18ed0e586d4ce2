#!/usr/bin/env python3
"""Correlation of the errors that `heartmend screen` expects with the true Dice errors of a cohort.

usage: screen_ranking.py COHORT [--quick] [--preset fast] [--run OUT]

COHORT contains labels_true/ and labels_noisy/. For each structure, over the cases: the Spearman correlation of the
relative expected error with the true Dice error of the noisy labels, and that of its two parts; then the share of the
true error in the first fifth of several orders of review. All with 95 % bootstrap intervals over the cases. With --run
the shapes of a run of labels_noisy are used instead of a fit made here.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata
from trust_order import LOOKED_AT, MET, Met, case_interval

from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Anatomy
from heartmend.metrics.evaluation import EvaluationSettings
from heartmend.metrics.statistics import COVERAGE, RESAMPLES, bootstrap_interval
from heartmend.pipelines.config import load_config
from heartmend.pipelines.evaluate import evaluate_folders
from heartmend.pipelines.run import Request
from heartmend.quality.ranking import RankedStructure
from heartmend.quality.screen import screen_in_temporary_folder, screen_run
from heartmend.types import FloatArray

TrueErrors = Mapping[tuple[str, str], float]
"""Dice error of the noisy label by case and structure."""


def main() -> None:
    """Screen the cohort, compare with the truth, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--quick", action="store_true", help="without fitted shapes")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--run", type=Path, help="output folder of a run of labels_noisy")
    parser.add_argument("--workers", type=int, default=0)
    arguments = parser.parse_args()
    console, anatomy, started = Console(width=150), load_anatomy("heart").without_absent(()), time.monotonic()
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

    counted = [one for one in ranking.structures if (one.case, one.structure) in true_error]
    for made in (
        correlation_table(f"{arguments.cohort.name}, screened in {seconds:.0f} s", anatomy, counted, true_error),
        order_table(counted, true_error),
    ):
        console.print(made)


def correlation_table(
    title: str, anatomy: Anatomy, counted: Sequence[RankedStructure], true_error: TrueErrors
) -> Table:
    """Make the table of the correlations by structure, of their mean over structures 1 to 8, and of one list of all."""
    table = Table(title=f"{title}: Spearman correlation of expected and true Dice error over the cases")
    for heading in ("structure", "cases", "true error, %", "expected, %", "correlation", "label only", "shape only"):
        table.add_column(heading, justify="left" if heading == "structure" else "right")
    cases, names = sorted({one.case for one in counted}), [s.name for s in anatomy.structures]
    true, expected, relative, label, shape = np.full((5, len(cases), len(names)), np.nan)
    for one in counted:
        at = cases.index(one.case), names.index(one.structure)
        true[at] = true_error[one.case, one.structure]
        expected[at], relative[at] = one.expected_error, one.relative_expected_error
        label[at] = one.indicators.defect_error + one.indicators.roughness_error
        shape[at] = one.expected_error if one.indicators.shape_error is None else one.indicators.shape_error
    picks = np.random.default_rng(0).integers(0, len(cases), (RESAMPLES, len(cases)))
    drawn = np.stack([correlation(relative[picks, at], true[picks, at]) for at in range(len(names))], axis=1)
    found = [correlation(one.T, true.T) for one in (relative, label, shape)]
    for at, name in enumerate(names):
        there = np.isfinite(true[:, at])
        means = [mean_text(100 * one[there, at]) for one in (true, expected)]
        cells = span_text(found[0][at], drawn[:, at]), f"{found[1][at]:.2f}", f"{found[2][at]:.2f}"
        table.add_row(name, str(there.sum()), *means, *cells)
    large = [at for at, s in enumerate(anatomy.structures) if s.id <= 8]
    table.add_section()
    cells = [f"{one[large].mean():.3f}" for one in found[1:]]
    table.add_row(
        "mean of 1 to 8", *[""] * 3, span_text(found[0][large].mean(), drawn[:, large].mean(axis=1), 3), *cells
    )
    whole = correlation(expected.ravel(), true.ravel())
    lists = correlation(expected[picks].reshape(RESAMPLES, -1), true[picks].reshape(RESAMPLES, -1))
    table.add_row("one list of all", str(len(counted)), "", "", span_text(whole, lists, 3), "", "")
    return table


def order_table(counted: Sequence[RankedStructure], true_error: TrueErrors) -> Table:
    """Make the table of the share of the true error in the first fifth of the structures, and of the minutes."""
    error = np.array([true_error[one.case, one.structure] for one in counted])
    minutes, expected = (np.array([getattr(one, name) for one in counted]) for name in ("minutes", "expected_error"))
    case = np.unique([one.case for one in counted], return_inverse=True)[1]
    orders = {
        "expected error in a minute (screen)": expected / minutes,
        "expected error": expected,
        "relative expected error": np.array([one.relative_expected_error for one in counted]),
        "true error": error,
        "true error in a minute": error / minutes,
    }
    table = Table("order", *(f"of the {title}" for title in MET), title=f"Dice error in the first {LOOKED_AT:.0%}")

    def cell(order: FloatArray, met: Met) -> str:
        low, high = case_interval(case, lambda at: met(error[at], order[at], minutes[at], LOOKED_AT))
        return f"{met(error, order, minutes, LOOKED_AT):.2f} ({low:.2f} to {high:.2f})"

    for name, order in orders.items():
        table.add_row(name, *(cell(order, met) for met in MET.values()))
    return table


def correlation(a: FloatArray, b: FloatArray) -> FloatArray:
    """Compute Spearman correlations along the last axis, of the pairs that are known."""
    known = np.isfinite(a) & np.isfinite(b)
    ranks = [rankdata(np.where(known, one, np.nan), axis=-1, nan_policy="omit") for one in (a, b)]
    x, y = (np.where(known, one - np.nanmean(one, axis=-1, keepdims=True), 0.0) for one in ranks)
    return np.asarray((x * y).sum(axis=-1) / np.sqrt((x**2).sum(axis=-1) * (y**2).sum(axis=-1)))


def mean_text(values: FloatArray) -> str:
    """Mean with its 95 % bootstrap interval."""
    low, high = bootstrap_interval(values)
    return f"{values.mean():.1f} ({low:.1f} to {high:.1f})"


def span_text(value: float, drawn: FloatArray, digits: int = 2) -> str:
    """Value with the 95 % interval of resampled ones."""
    low, high = np.nanpercentile(drawn, [50 * (1 - COVERAGE), 50 * (1 + COVERAGE)])
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
