#!/usr/bin/env python3
"""Mend a cohort with known truth and show the score beside the classics: what mending is worth, structure by structure.

usage: mend_cohort.py COHORT [--out OUT] [--preset mend] [--mended LABELS]

COHORT holds labels_true/ and labels_noisy/. The classics, run here on the same maps: majority (3x3x3, twice), joint
Gaussian (1.2 mm) and closing (2 mm) with the expected components. `Dice error removed` is the share of the noisy map's Dice error that
was taken away; for each structure the best of the classics stands beside ours.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import cc3d
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.ndimage import binary_closing, gaussian_filter, uniform_filter

from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Anatomy
from heartmend.compute.workers import each
from heartmend.io.dataset import discover_cohort
from heartmend.io.label_maps import read_labels
from heartmend.metrics.case import Row, evaluate_case
from heartmend.metrics.evaluation import evaluate_folders
from heartmend.metrics.metric_catalogue import catalogue
from heartmend.metrics.summary import summarise
from heartmend.pipelines.config import load_config
from heartmend.pipelines.run import Request, run
from heartmend.types import Labels


def majority(labels: Labels, spacing_mm: tuple[float, float, float], anatomy: Anatomy) -> Labels:
    """Each voxel takes what most of its 3x3x3 neighbourhood shows, twice."""
    for _ in range(2):
        labels = _most(labels, anatomy, lambda mask: uniform_filter(mask, 3))
    return labels


def joint_gaussian(labels: Labels, spacing_mm: tuple[float, float, float], anatomy: Anatomy) -> Labels:
    """Every structure and the background blurred by 1.2 mm; the strongest has the voxel."""
    return _most(labels, anatomy, lambda mask: gaussian_filter(mask, [1.2 / s for s in spacing_mm]))


def closing_and_components(labels: Labels, spacing_mm: tuple[float, float, float], anatomy: Anatomy) -> Labels:
    """Each structure closed by 2 mm where there is background, and its expected number of largest components kept."""
    out = np.zeros_like(labels)
    steps = max(round(2.0 / min(spacing_mm)), 1)
    for name in reversed(anatomy.priority):
        structure = anatomy.by_name(name)
        mask = labels == structure.id
        closed = (binary_closing(mask, iterations=steps) & (labels == 0)) | mask
        components = cc3d.connected_components(closed, connectivity=26)
        sizes = np.bincount(components.ravel())
        sizes[0] = 0
        kept = [p for p in np.argsort(-sizes)[: structure.components] if sizes[p]]
        out[np.isin(components, kept)] = structure.id
    return out


def _most(labels: Labels, anatomy: Anatomy, blur) -> Labels:
    best = blur((labels == 0).astype(np.float32))
    out = np.zeros_like(labels)
    for id in anatomy.ids:
        share = blur((labels == id).astype(np.float32))
        out[share > best] = id
        np.maximum(best, share, out=best)
    return out


CLASSICS = {"majority": majority, "joint Gaussian": joint_gaussian, "closing, components": closing_and_components}


def _classic_rows(case_id: str, cohort: Path, anatomy: Anatomy) -> dict[str, list[Row]]:
    true, noisy = (discover_cohort(cohort / name, anatomy=anatomy)[case_id] for name in ("labels_true", "labels_noisy"))
    truth, before = read_labels(true.labels_path, anatomy), read_labels(noisy.labels_path, anatomy)
    spacing = truth.grid.spacing_mm
    found = {}
    for name, method in CLASSICS.items():
        mended = np.zeros_like(before.labels)
        box = _box(before.labels, 6)
        mended[box] = method(before.labels[box], spacing, anatomy)
        found[name] = evaluate_case(
            before.labels, mended, spacing, anatomy, truth.labels, case=case_id, metrics=catalogue(keys=["dice"])
        )
    return found


def _box(labels: Labels, margin: int) -> tuple[slice, ...]:
    """Where there is anything, and a little more: none of the classics reaches farther."""
    lines = [np.flatnonzero(labels.any(axis=tuple({0, 1, 2} - {a}))) for a in range(3)]
    return tuple(slice(max(int(at[0]) - margin, 0), int(at[-1]) + 1 + margin) for at in lines)


def main() -> None:
    """Run, score, print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("cohort", type=Path)
    ask.add_argument("--out", type=Path)
    ask.add_argument("--preset", default="mend")
    ask.add_argument("--mended", type=Path, help="score these label maps instead of mending here")
    asked = ask.parse_args()
    console, anatomy = Console(width=140), load_anatomy("heart")
    began = time.monotonic()
    mended = asked.mended
    if mended is None:
        out = asked.out or Path(tempfile.mkdtemp(prefix="heartmend-")) / "run"
        mended = run(Request(asked.cohort / "labels_noisy", out), load_config(asked.preset)).out / "labels"
        console.print(f"mended in {time.monotonic() - began:.0f} s: {out}")
    before, truth = asked.cohort / "labels_noisy", asked.cohort / "labels_true"
    ours = evaluate_folders(before, mended, anatomy, truth).summary
    ids = [case.id for case in discover_cohort(truth, anatomy=anatomy)]
    classic: dict[str, list[Row]] = {name: [] for name in CLASSICS}
    for _, rows, error in each(partial(_classic_rows, cohort=asked.cohort, anatomy=anatomy), ids):
        if rows is None:
            raise SystemExit(f"a classic failed: {error}")
        for name, found in rows.items():
            classic[name] += found
    reduction = {
        name: {s.structure: s.dice_error_reduction for s in summarise(rows, catalogue(keys=["dice"]))} for name, rows in classic.items()
    }

    table = Table(title=f"{asked.cohort.name}: share of the Dice error removed, and what else changed")
    for heading in ("structure", "Dice", "nsd 1 mm", "HD95, mm", "component count error", "Dice error removed", *CLASSICS, "worse"):
        table.add_column(heading, justify="left" if heading == "structure" else "right")
    for s in ours:
        pairs = (("dice", 3), ("nsd_1mm", 3), ("hd95_mm", 1), ("component_count_error", 1))
        means = [" > ".join(f"{s.spreads[key][which].mean:.{digits}f}" for which in "ab") for key, digits in pairs]
        classics = [f"{found[s.structure]:.2f}" for found in reduction.values()]
        table.add_row(s.structure, *means, f"[bold]{s.dice_error_reduction:.2f}[/]", *classics, f"{s.n_worse or 0}/{s.cases}")
    console.print(table)
    large = [s.dice_error_reduction for s in ours if anatomy.by_name(s.structure).id <= 8]
    console.print(f"mean Dice error removed over structures 1 to 8: {np.mean(large):.3f}; {time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
