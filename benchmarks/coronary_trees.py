#!/usr/bin/env python3
"""Repair of phantom coronary trees whose cross-sections are no discs.

usage: coronary_trees.py [--trees N] [--spacing MM] [--workers N] [--json FILE]

Makes N trees (`heartmend.phantom.coronary_tree`), corrupts them (surface noise of 0.2 to 0.5 mm of three kinds, 2 to
6 gaps, 1 to 4 islands; `coronary_corruption.py`), and repairs them as `heartmend run` does, without a CT. Also repairs
the true maps, which must not change. Prints for each kind of noise the means, with 95 % bootstrap intervals over trees:

  Dice error removed    1 - (1 - Dice after) / (1 - Dice before), from the mean Dice
  clDice, components    after the repair; components: difference of the number from that of the truth
  lost                  share of the true voxels of the input that the repair removed
  worst                 smallest change of Dice of a tree
  RecSen, RecSpe        share of the true fragments that were joined to their tree, and of the false ones that were not
  sound                 voxels that change in the true map

Dice error removed is also printed for a repair that makes every gap and every island perfect and nothing else, for a
filter of small components (100 and 500 voxels), for the two largest components, and for Gaussian smoothing of 0.4 mm
with the volume kept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from coronary_corruption import NOISE, corrupt_in_stages
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.centrelines.measurement import measure_tree, tree_radius_mm
from heartmend.geometry.components import count_components, label_components
from heartmend.geometry.grid import Grid
from heartmend.metrics.centreline import cldice
from heartmend.metrics.overlap import dice
from heartmend.metrics.reconnection import Fragment, Reconnection, find_fragments
from heartmend.metrics.statistics import bootstrap_interval
from heartmend.phantom.coronary_tree import draw_tree, sample_tree
from heartmend.phantom.plan import Label
from heartmend.repair.acceptance import check_acceptance
from heartmend.repair.case_volume import CaseVolume
from heartmend.repair.vessels.case import repair_vessel

NOISE_MM = (0.2, 0.5)
PERFECT = "gaps and islands perfect"
METHODS = ("components of 100 voxels", "components of 500 voxels", "two largest components", "Gaussian 0.4 mm")


def make(seed: int, spacing_mm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[float, float, float]]:
    """Make the true map of a tree, the one with noise of the surface alone, and the corrupted one; with the spacing."""
    rng = np.random.default_rng(seed)
    phantom = draw_tree(sample_tree(rng), (spacing_mm,) * 3, rng)
    rough, noisy = corrupt_in_stages(phantom, rng, NOISE[seed % len(NOISE)], float(rng.uniform(*NOISE_MM)))
    return phantom.labels, rough, noisy, (spacing_mm,) * 3


def radius(seed: int, spacing_mm: float) -> float:
    """Measure the mean radius of a corrupted tree, from which the calibre of the cohort is estimated."""
    _, _, noisy, spacing = make(seed, spacing_mm)
    return tree_radius_mm(measure_tree(noisy == Label.CORONARY, spacing))


def repaired(labels: np.ndarray, spacing: tuple[float, float, float], calibre: Calibre) -> np.ndarray:
    """Repair the coronaries of a map, with the acceptance test; the other structures are the context."""
    structure = load_anatomy("heart").by_name("Coronary")
    inside = {"Aorta": labels == Label.AORTA, "Myocardium": labels == Label.MYOCARDIUM}
    x, y, z = (slice(0, n) for n in labels.shape)
    volume = CaseVolume(Grid(labels.shape, np.diag([*spacing, 1.0])), (x, y, z))
    label = labels == Label.CORONARY
    vessel = repair_vessel(structure, label, inside, volume, calibre)
    accepted = check_acceptance(vessel.reference, vessel.mask, structure, spacing).accepted
    return np.asarray(vessel.mask if accepted else label)


def classic(label: np.ndarray, method: str, spacing_mm: float | Sequence[float]) -> np.ndarray:
    """Apply a classic method to a mask."""
    if method.startswith("Gaussian"):
        density = gaussian_filter(label.astype(np.float32), np.divide(0.4, spacing_mm))
        return np.asarray(density >= np.partition(density.ravel(), -int(label.sum()))[-int(label.sum())])
    components, sizes = label_components(label)
    limit = np.sort(sizes)[-2:].min() if method.startswith("two") else int(method.split()[2])
    return np.asarray((sizes >= limit)[components] & label)


def score(seed: int, spacing_mm: float, calibre: Calibre) -> dict[str, Any]:
    """Corrupt, repair and score one tree."""
    labels, rough_labels, noisy_labels, spacing = make(seed, spacing_mm)
    truth, rough, noisy = (one == Label.CORONARY for one in (labels, rough_labels, noisy_labels))
    result, sound = repaired(noisy_labels, spacing, calibre), repaired(labels, spacing, calibre)
    kept = truth & noisy
    components = count_components(truth)
    return {
        "seed": seed, "noise": NOISE[seed % len(NOISE)],
        "before": dice(truth, noisy), "after": dice(truth, result),
        "cldice_before": cldice(noisy, truth), "cldice": cldice(result, truth),
        "components_before": abs(count_components(noisy) - components),
        "components": abs(count_components(result) - components),
        "lost": float((kept & ~result).sum() / kept.sum()), "sound": int((sound != truth).sum()),
        "fragments": find_fragments(noisy, result, truth, spacing),
        "classic": {method: dice(truth, classic(noisy, method, spacing_mm)) for method in METHODS}
        | {PERFECT: dice(truth, np.where(rough != noisy, truth, noisy))},
    }  # fmt: skip


def removed(before: list[float], after: list[float]) -> float:
    """Compute the Dice error removed from Dice values."""
    return float(1 - (1 - np.mean(after)) / (1 - np.mean(before)))


def removed_interval(before: list[float], after: list[float]) -> tuple[float, float]:
    """Compute the 95 % bootstrap interval of the Dice error removed over the trees."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(before), (2000, len(before)))
    gains = 1 - (1 - np.array(after)[picks].mean(axis=1)) / (1 - np.array(before)[picks].mean(axis=1))
    low, high = np.percentile(gains, [2.5, 97.5])
    return float(low), float(high)


def rates(fragments: list[list[Fragment]]) -> tuple[str, str]:
    """Describe RecSen and RecSpe of the fragments of several trees."""
    found = Reconnection.of(one for tree in fragments for one in tree)
    return f"{found.joined} of {found.true}", f"{found.left_out} of {found.false}"


def main() -> None:
    """Score every tree, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=int, default=30)
    parser.add_argument("--spacing", type=float, default=0.5, help="voxel size in mm")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures of every tree to this file")
    arguments = parser.parse_args()
    seeds = range(arguments.trees)
    with ProcessPoolExecutor(arguments.workers) as pool:
        radii = list(pool.map(partial(radius, spacing_mm=arguments.spacing), seeds))
        calibre = Calibre.of_cohort(radii, arguments.spacing)
        rows = list(pool.map(partial(score, spacing_mm=arguments.spacing, calibre=calibre), seeds))
    table = Table(
        "noise", "trees", "Dice", "Dice error removed", "clDice", "components", "lost, %", "worst", "sound", "RecSen",
        "RecSpe",
    )  # fmt: skip
    for noise in (*NOISE, "all"):
        part = [row for row in rows if noise in (row["noise"], "all")]
        if not part:
            continue
        value = {key: [row[key] for row in part] for key in rows[0] if key != "noise"}
        spans = {key: bootstrap_interval(np.array(value[key], float)) for key in ("cldice", "components", "lost")}
        low, high = removed_interval(value["before"], value["after"])
        low_cl, high_cl = spans["cldice"]
        mean = {key: float(np.mean(value[key])) for key in value if key not in ("classic", "fragments")}
        change = np.array(value["after"]) - np.array(value["before"])
        table.add_row(
            noise, str(len(part)), f"{mean['before']:.3f} > {mean['after']:.3f}",
            f"{removed(value['before'], value['after']):.2f} ({low:.2f} to {high:.2f})",
            f"{mean['cldice_before']:.3f} > {mean['cldice']:.3f} ({low_cl:.3f} to {high_cl:.3f})",
            f"{mean['components_before']:.1f} > {mean['components']:.2f} "
            f"({spans['components'][0]:.2f} to {spans['components'][1]:.2f})",
            f"{100 * mean['lost']:.2f} ({100 * spans['lost'][0]:.2f} to {100 * spans['lost'][1]:.2f})",
            f"{change.min():+.4f}", str(sum(value["sound"])), *rates(value["fragments"]),
        )  # fmt: skip
    others = Table("method", "Dice error removed")
    for method in (*METHODS, PERFECT):
        before = [row["before"] for row in rows]
        others.add_row(method, f"{removed(before, [row['classic'][method] for row in rows]):.2f}")
    console = Console(width=170)
    console.print(table)
    console.print(others)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1, default=vars))


if __name__ == "__main__":
    main()
