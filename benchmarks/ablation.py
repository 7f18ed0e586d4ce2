#!/usr/bin/env python3
"""What each part of stage 1 brings: the same cohort mended with one part changed at a time, scored against truth.

usage: mend_ablation.py COHORT [--out OUT] [--only VARIANT,VARIANT] [--reference-steps 150]

COHORT holds labels_true/ and labels_noisy/. Variants that differ in refine alone go on from the shipped fit, so they
cost a minute or two; the others are fitted anew. `reference` is the auto-decoder of the reference project, its loss,
points and network; 150 of its steps take about four times as long as all that is shipped.
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
from heartmend.metrics.evaluation import EvaluationSettings, evaluate_folders
from heartmend.pipelines.config import Config, load_config
from heartmend.pipelines.run import Request, run

SURELY_THE_LABEL = 1e6
"""A weight with which no shape ever wins against a label."""


def _refined(**changes: float) -> Callable[[Config, int], Config]:
    return lambda c, _: c.model_copy(update={"refine": c.refine.model_copy(update=changes)})


def _controls(last: int) -> Callable[[Config, int], Config]:
    def change(c: Config, _: int) -> Config:
        *first, final = c.fit.phases
        phases = (*first, replace(final, controls=last))
        return c.model_copy(update={"fit": c.fit.model_copy(update={"phases": phases})})

    return change


def _unprepared(c: Config, _: int) -> Config:
    return c.model_copy(update={"prepare": c.prepare.model_copy(update={"repair_faults": False})})


def _reference(_: Config, steps: int) -> Config:
    c = load_config("reference")
    phases = tuple(replace(p, steps=steps) for p in c.fit.phases)
    return c.model_copy(update={"fit": c.fit.model_copy(update={"phases": phases, "epochs": None, "min_epochs": 0})})


VARIANTS: dict[str, tuple[Callable[[Config, int], Config], bool]] = {
    "as shipped": (lambda c, _: c, False),
    "faults and rules only": (_refined(label_weight=SURELY_THE_LABEL), True),
    "shape alone": (_refined(label_weight=0.0), True),
    "finer field (17 controls)": (_controls(17), False),
    "faults left in": (_unprepared, False),
    "reference": (_reference, False),
}
"""Name: how the settings change, and whether the shipped fit serves."""


def main() -> None:
    """Run the variants and print the table."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("cohort", type=Path)
    ask.add_argument("--out", type=Path)
    ask.add_argument("--only", default=",".join(VARIANTS))
    ask.add_argument("--reference-steps", type=int, default=150)
    asked = ask.parse_args()
    out = asked.out or Path(tempfile.mkdtemp(prefix="heartmend-"))
    out.mkdir(parents=True, exist_ok=True)
    anatomy, console = load_anatomy("heart"), Console(width=170)
    table = Table(title=f"{asked.cohort.name}: share of the Dice error removed")
    for heading in ("variant", *anatomy.names, "mean 1-8", "worse", "seconds"):
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    shipped = out / "as shipped"
    for name in (n for n in VARIANTS if n in asked.only.split(",") or n == "as shipped"):
        change, same_fit = VARIANTS[name]
        if same_fit and not (out / name).exists():
            shutil.copytree(shipped, out / name)
        began = time.monotonic()
        done = run(
            Request(asked.cohort / "labels_noisy", out / name, until="fuse"),
            change(load_config(), asked.reference_steps),
        )
        seconds = time.monotonic() - began
        before, truth = asked.cohort / "labels_noisy", asked.cohort / "labels_true"
        found = evaluate_folders(before, done.out, anatomy, truth, EvaluationSettings(metrics=("dice", "nsd_1mm"))).summary
        reduction = {anatomy.by_name(s.structure).id: s.dice_error_reduction for s in found}
        table.add_row(
            name, *(f"{reduction.get(id, float('nan')):.2f}" for id in anatomy.ids),
            f"{np.mean([g for id, g in reduction.items() if id <= 8]):.3f}", str(sum(s.n_worse or 0 for s in found)),
            f"{seconds:.0f}",
        )  # fmt: skip
        console.print(f"{name}: done in {seconds:.0f} s")
    console.print(table)


if __name__ == "__main__":
    main()
