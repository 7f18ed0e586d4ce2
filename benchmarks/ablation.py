#!/usr/bin/env python3
"""Contribution of each part of `fit`: Dice error removed with one part changed at a time.

usage: ablation.py COHORT [--output OUT] [--only VARIANT,VARIANT] [--reference-steps 150]

COHORT contains labels_true/ and labels_noisy/. Variants that differ in the stage `refine` only continue from the
default fit and take a minute or two; the others are fitted from the start. "reference" is the auto-decoder of the
reference project with its loss, points and network; 150 of its steps take about four times as long as a default run.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from heartmend.anatomy.load import load_anatomy
from heartmend.metrics.evaluation import EvaluationSettings
from heartmend.metrics.summary import count_worse
from heartmend.pipelines.config import Config, load_config
from heartmend.pipelines.evaluate import evaluate_folders
from heartmend.pipelines.run import Request, run

LABEL_ALWAYS = 1e6
"""A label weight with which the shape never changes a label."""
DEFAULT = "default"


def _refine_settings(**changes: float) -> Callable[[Config, int], Config]:
    return lambda c, _: c.model_copy(update={"refine": c.refine.model_copy(update=changes)})


def _controls(last: int) -> Callable[[Config, int], Config]:
    def change(c: Config, _: int) -> Config:
        *first, final = c.fit.phases
        phases = (*first, replace(final, controls=last))
        return c.model_copy(update={"fit": c.fit.model_copy(update={"phases": phases})})

    return change


def _without_repaired_faults(c: Config, _: int) -> Config:
    return c.model_copy(update={"prepare": c.prepare.model_copy(update={"repair_visible_errors": False})})


def _reference(_: Config, steps: int) -> Config:
    c = load_config("reference")
    phases = tuple(replace(p, steps=steps) for p in c.fit.phases)
    return c.model_copy(update={"fit": c.fit.model_copy(update={"phases": phases, "epochs": None, "min_epochs": 0})})


VARIANTS: dict[str, tuple[Callable[[Config, int], Config], bool]] = {
    DEFAULT: (lambda c, _: c, False),
    "faults and rules only": (_refine_settings(label_weight=LABEL_ALWAYS), True),
    "shape only": (_refine_settings(label_weight=0.0), True),
    "finer field (17 controls)": (_controls(17), False),
    "faults not repaired": (_without_repaired_faults, False),
    "reference": (_reference, False),
}
"""By name: how the settings change, and whether the default fit can be used."""


def main() -> None:
    """Run the variants, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="folder of the runs; temporary if not given")
    parser.add_argument("--only", default=",".join(VARIANTS), help="names of variants, separated by commas")
    parser.add_argument("--reference-steps", type=int, default=150)
    arguments = parser.parse_args()
    output = arguments.output or Path(tempfile.mkdtemp(prefix="heartmend-"))
    output.mkdir(parents=True, exist_ok=True)
    anatomy, console = load_anatomy("heart").without_absent(()), Console(width=170)
    table = Table(title=f"{arguments.cohort.name}: share of the Dice error removed")
    for heading in ("variant", *anatomy.names, "mean 1-8", "worse", "seconds"):
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    for name in (n for n in VARIANTS if n in arguments.only.split(",") or n == DEFAULT):
        change, same_fit = VARIANTS[name]
        if same_fit and not (output / name).exists():
            shutil.copytree(output / DEFAULT, output / name)
        started = time.monotonic()
        request = Request(arguments.cohort / "labels_noisy", output / name, stop_after="fuse")
        result = run(request, change(load_config(), arguments.reference_steps))
        seconds = time.monotonic() - started
        before, truth = arguments.cohort / "labels_noisy", arguments.cohort / "labels_true"
        settings = EvaluationSettings(metrics=("dice", "nsd_1mm"))
        found = evaluate_folders(before, result.output, anatomy, truth, settings).summary
        reduction = {anatomy.by_name(s.structure).id: s.dice_error_reduction for s in found}
        table.add_row(
            name, *(f"{reduction.get(id, float('nan')):.2f}" for id in anatomy.ids),
            f"{np.mean([share for id, share in reduction.items() if id <= 8]):.3f}",
            str(count_worse(found)), f"{seconds:.0f}",
        )  # fmt: skip
        console.print(f"{name}: done in {seconds:.0f} s")
    console.print(table)


if __name__ == "__main__":
    main()
