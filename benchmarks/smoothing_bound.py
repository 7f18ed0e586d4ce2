#!/usr/bin/env python3
"""Upper bound of the accuracy of smoothing and of shape and label fusion, with parameters chosen by the ground truth.

usage: smoothing_bound.py COHORT RUN

COHORT contains labels_true/ and labels_noisy/; RUN is the output folder of a finished run of labels_noisy. For each
structure of each case: the prepared label; the best of seven Gaussian smoothings of its signed distance, and the best
of eight label margins in the fusion of shape and label, both chosen by the truth; and the result of the run, which has
no truth. Share of the Dice error removed, before the stage `fuse`.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter

from heartmend.anatomy.load import load_anatomy
from heartmend.compute.workers import each
from heartmend.geometry.components import without_small_components
from heartmend.geometry.distance import CLIP_MM, signed_distance_mm
from heartmend.io.dataset import discover_cohort
from heartmend.io.label_maps import read_labels
from heartmend.metrics.overlap import dice
from heartmend.models.lattice import evaluate_case
from heartmend.repair.shape_label_fusion import fuse_shape_and_label
from heartmend.run_folder.folder import RunFolder
from heartmend.types import Mask

WIDTHS_MM = (0.0, 0.6, 0.9, 1.3, 1.8, 2.5, 3.5)
MARGINS_MM = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.2, 8.0)
METHODS = ("prepared", "best smoothing", "best margin", "Heartmend")


def dices(case_id: str, cohort: Path, output: Path) -> dict[str, tuple[float, ...]]:
    """Compute for each structure the Dice of the noisy label and of each of `METHODS`."""
    anatomy, run = load_anatomy("heart"), RunFolder.at(output)
    case = run.prepared(case_id)
    box, spacing = case.roi.source_box(), case.roi.grid.spacing_mm
    truth, noisy = (
        read_labels(discover_cohort(cohort / name, anatomy=anatomy)[case_id].labels_path, anatomy).labels[box]
        for name in ("labels_true", "labels_noisy")
    )
    shapes, refined = evaluate_case(*run.fitted(), case_id, case.roi), run.distances(case_id)
    found = {}
    for name, field in shapes.items():
        id = anatomy.by_name(name).id
        true, label = truth == id, without_small_components(case.cleaned == id)
        if not true.any() or not label.any():
            continue
        score = partial(dice, true)
        distance = signed_distance_mm(label, spacing)
        smoothed = max(score(_smooth(distance, width, spacing)) for width in WIDTHS_MM)
        fusion = fuse_shape_and_label(label, field, spacing)
        registered = np.full_like(field, -CLIP_MM)
        registered[fusion.box] = fusion.shape_mm
        fused = max(score(registered + np.where(label, margin, -margin) > 0) for margin in MARGINS_MM)
        found[name] = (score(noisy == id), score(label), smoothed, fused, score(refined[name].steps > 0))
    return found


def _smooth(distance: np.ndarray, width_mm: float, spacing_mm: tuple[float, float, float]) -> Mask:
    return np.asarray(gaussian_filter(distance, [width_mm / step for step in spacing_mm], truncate=2.5) > 0)


def main() -> None:
    """Evaluate every case, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("run", type=Path, help="output folder of a run of labels_noisy")
    arguments = parser.parse_args()
    rows: dict[str, list[tuple[float, ...]]] = {}
    work = partial(dices, cohort=arguments.cohort, output=arguments.run)
    for case_id, found, error in each(work, RunFolder.at(arguments.run).prepared_ids()):
        if found is None:
            raise SystemExit(f"case {case_id} failed: {error}")
        for name, row in found.items():
            rows.setdefault(name, []).append(row)
    errors = {name: 1 - np.mean(found, axis=0) for name, found in rows.items()}
    removed = {name: 1 - error[1:] / error[0] for name, error in errors.items()}
    table = Table(title=f"{arguments.cohort.name}: share of the Dice error removed, before the stage fuse")
    for heading in ("method", *removed, "mean 1-8"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    large = [name for name in removed if load_anatomy("heart").by_name(name).id <= 8]
    for column, method in enumerate(METHODS):
        mean = np.mean([removed[name][column] for name in large])
        table.add_row(method, *(f"{share[column]:.2f}" for share in removed.values()), f"{mean:.3f}")
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
