#!/usr/bin/env python3
"""Accuracy of the repair of few hearts with and without the heart of another person as the template.

usage: prior.py COHORT [--priors none,auto,MODEL,...] [--sizes 1,2,5] [--labels labels_noisy] [--cases 001,002]

COHORT contains labels_true/ and the label maps to repair. For each size its cases are divided into data sets of so many
hearts, and each is repaired on its own. For a test on hearts that a prior has not seen, give the model of the other
anatomy: src/heartmend/models/priors/heart-male.zip for hearts of the female anatomy. A prior in `--priors` is used for
any size; `auto` as it is by default.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
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

ENDING = ".nii.gz"


@dataclass(frozen=True)
class Trial:
    """Repair of all cases in data sets of one size with one prior.

    Attributes:
        cohort: folder with the label maps of the cases and labels_true/.
        labels: folder of the label maps to repair.
        prior: none, auto or a model file.
        size: hearts of each data set.
    """

    cohort: Path
    labels: str
    prior: str
    size: int


def repair(trial: Trial, cases: Sequence[str], output: Path) -> Path:
    """Repair the cases.

    Args:
        trial: what is tried.
        cases: ids of the cases.
        output: folder of the runs.

    Returns:
        Folder of all repaired label maps.
    """
    repaired = output / "repaired"
    repaired.mkdir(parents=True)
    for first in range(0, len(cases), trial.size):
        group, folder = cases[first : first + trial.size], output / f"from_{cases[first]}"
        (folder / "labels").mkdir(parents=True)
        for case in group:
            shutil.copyfile(trial.cohort / trial.labels / f"{case}{ENDING}", folder / "labels" / f"{case}{ENDING}")
        run(Request(folder / "labels", folder / "out", stop_after="fuse", prior=trial.prior), load_config())
        for case in group:
            shutil.copyfile(folder / "out" / "labels" / f"{case}{ENDING}", repaired / f"{case}{ENDING}")
    return repaired


def score(trial: Trial, cases: Sequence[str], repaired: Path, folder: Path) -> Sequence[StructureSummary]:
    """Compare the repaired label maps with the truth, beside those that they came from."""
    for kind in (trial.labels, "labels_true"):
        (folder / kind).mkdir(parents=True)
        for case in cases:
            shutil.copyfile(trial.cohort / kind / f"{case}{ENDING}", folder / kind / f"{case}{ENDING}")
    anatomy, settings = load_anatomy("heart").without_absent(()), EvaluationSettings(metrics=("dice", "nsd_1mm"))
    return evaluate_folders(folder / trial.labels, repaired, anatomy, folder / "labels_true", settings).summary


def main() -> None:
    """Repair, evaluate, print the table row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--priors", default="none,auto")
    parser.add_argument("--sizes", default="1")
    parser.add_argument("--labels", default="labels_noisy")
    parser.add_argument("--cases", default="", help="ids of the cases; all if not given")
    arguments = parser.parse_args()
    truth = sorted((arguments.cohort / "labels_true").glob(f"*{ENDING}"))
    cases = [path.name.removesuffix(ENDING) for path in truth]
    if arguments.cases:
        cases = [case for case in cases if case in arguments.cases.split(",")]
    anatomy, console = load_anatomy("heart").without_absent(()), Console(width=150)
    data = f"{arguments.cohort.name}/{arguments.labels}"
    table = Table(title=f"{data}: share of the Dice error removed, {len(cases)} cases")
    for heading in ("hearts", "prior", *anatomy.names, "mean 1-8", "worse", "s a heart"):
        table.add_column(heading, justify="right")
    for size in (int(size) for size in arguments.sizes.split(",")):
        for prior in arguments.priors.split(","):
            trial, started = Trial(arguments.cohort, arguments.labels, prior, size), time.monotonic()
            with tempfile.TemporaryDirectory(prefix="heartmend-") as folder:
                repaired = repair(trial, cases, Path(folder) / "runs")
                seconds = (time.monotonic() - started) / len(cases)
                found = score(trial, cases, repaired, Path(folder) / "scored")
            removed = {anatomy.by_name(s.structure).id: s.dice_error_reduction for s in found}
            row = [
                str(size), Path(prior).stem, *(f"{removed.get(id, float('nan')):.2f}" for id in anatomy.ids),
                f"{np.mean([share for id, share in removed.items() if id <= 8]):.3f}",
                str(count_worse(found)), f"{seconds:.0f}",
            ]  # fmt: skip
            console.print(" | ".join(row))
            table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
