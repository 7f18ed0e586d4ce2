#!/usr/bin/env python3
"""How far mending could go: every choice that Heartmend has to make, made by an oracle that knows the truth.

usage: smoother_bound.py COHORT RUN

COHORT holds labels_true/ and labels_noisy/; RUN is a finished run of these noisy maps (as `heartmend run --out`). For
each structure of each case: the prepared label; the best of seven Gaussian smoothings of its signed distances, chosen
by the truth; the best of eight votes between label and shape, chosen by the truth; and what the run came to, which
chooses without it. Share of the Dice error gone, before fusing.
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
from heartmend.models.lattice import render_case
from heartmend.repair.shape_label_fusion import fuse_shape_and_label
from heartmend.run_folder.folder import Run
from heartmend.run_folder.records import PREPARED, PreparedCase, load_fields
from heartmend.training.checkpoint import load_model
from heartmend.types import Mask

WIDTHS_MM = (0.0, 0.6, 0.9, 1.3, 1.8, 2.5, 3.5)
VOTES_MM = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.2, 8.0)
WAYS = ("faults alone", "best smoothing", "best vote", "Heartmend")


def scores(case_id: str, cohort: Path, out: Path) -> dict[str, tuple[float, ...]]:
    """For each structure Dice as it came and in each of `WAYS`."""
    anatomy, run = load_anatomy("heart"), Run.at(out)
    case = PreparedCase.load(run, case_id)
    box, spacing = case.roi.source_box(), case.roi.grid.spacing_mm
    truth, noisy = (
        read_labels(discover_cohort(cohort / name, anatomy=anatomy)[case_id].labels_path, anatomy).labels[box]
        for name in ("labels_true", "labels_noisy")
    )
    shape, codes = load_model(run.folder("fit") / "model.safetensors")
    shapes, mended = render_case(shape, codes, case_id, case.roi), load_fields(run.case_path("refine", case_id, ".npz"))
    found = {}
    for name, field in shapes.items():
        id = anatomy.by_name(name).id
        true, label = truth == id, without_small_components(case.source == id)
        if not true.any() or not label.any():
            continue
        score = partial(dice, true)
        distance = signed_distance_mm(label, spacing)
        smoothed = max(score(_smooth(distance, width, spacing)) for width in WIDTHS_MM)
        drawn = fuse_shape_and_label(label, np.clip(field, -CLIP_MM, CLIP_MM), spacing).shape_mm
        voted = max(score(drawn + np.where(label, vote, -vote) > 0) for vote in VOTES_MM)
        found[name] = (score(noisy == id), score(label), smoothed, voted, score(mended[name] > 0))
    return found


def _smooth(distance: np.ndarray, width_mm: float, spacing_mm: tuple[float, float, float]) -> Mask:
    return np.asarray(gaussian_filter(distance, [width_mm / step for step in spacing_mm], truncate=2.5) > 0)


def main() -> None:
    """Score every case, print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("cohort", type=Path)
    ask.add_argument("run", type=Path)
    asked = ask.parse_args()
    ids = sorted(path.stem for path in Run.at(asked.run).folder(PREPARED).glob("*.json"))
    rows: dict[str, list[tuple[float, ...]]] = {}
    for _, found, error in each(partial(scores, cohort=asked.cohort, out=asked.run), ids):
        if found is None:
            raise SystemExit(f"a case failed: {error}")
        for name, row in found.items():
            rows.setdefault(name, []).append(row)
    errors = {name: 1 - np.mean(found, axis=0) for name, found in rows.items()}
    gone = {name: 1 - error[1:] / error[0] for name, error in errors.items()}
    table = Table(title=f"{asked.cohort.name}: share of the Dice error gone, before fusing")
    for heading in ("way", *gone, "mean 1-8"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    large = [name for name in gone if load_anatomy("heart").by_name(name).id <= 8]
    for column, way in enumerate(WAYS):
        mean = np.mean([gone[name][column] for name in large])
        table.add_row(way, *(f"{share[column]:.2f}" for share in gone.values()), f"{mean:.3f}")
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
