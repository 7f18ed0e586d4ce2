#!/usr/bin/env python3
"""Width of phantom coronary trees, repaired with a CT: labels that are too wide, too thin, or wrong here and there.

usage: coronary_width.py [--trees N] [--first SEED] [--spacing MM] [--kinds A,B] [--calcium SETTING] [--json FILE]

Makes N trees with a CT (`coronary_ct.py`: partial volume, blur, noise, contrast that falls along the vessels, plaques
of 400 to 1200 HU in the wall), and labels of these kinds:

  wide, thin   one voxel too wide, or too thin, in all cases: measured and corrected as shared errors first
  local        stretches of about 10 mm too wide or too thin (rms 0.45 mm)
  lesions      round cross-sections of a calibre that is smoothed by 6 mm: stenoses are missed, ectasias cut off
  ordinary     noise of the surface, gaps and islands of `coronary_trees.py`, of three kinds in turn
  true         the true map

Truth and labels are of one convention: with plaques where `--calcium` is "included", else without. Prints for each
kind, after the version before (the surface moved to the edges of the CT), and now (moved to the lumen):

  Dice error removed   from the mean Dice, with the 95 % bootstrap interval over the trees, and worst change of a tree
  mean, local, mm      signed error of the surface: mean over trees, and rms over stretches of 2 mm
  lost                 share of the true voxels of the input that were removed
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from coronary_corruption import NOISE, corrupt_in_stages
from coronary_ct import ScannedTree, scan_tree
from coronary_trees import NOISE_MM, removed, removed_interval
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import DistanceMap, signed_distance_mm, smooth_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.metrics.centreline import cldice
from heartmend.metrics.overlap import dice
from heartmend.phantom.coronary_tree import STEP_MM
from heartmend.phantom.plan import Label
from heartmend.phantom.sdf import smooth_noise
from heartmend.repair.acceptance import check_acceptance
from heartmend.repair.case_volume import CaseVolume
from heartmend.repair.image_edges.case import snap_case
from heartmend.repair.shared_errors.correction import Correction
from heartmend.repair.shared_errors.tubes import common_shifts_mm, typical_shifts_mm
from heartmend.repair.vessels.case import repair_vessel
from heartmend.repair.vessels.lumen_width import lumen_shift_mm
from heartmend.repair.vessels.settings import ImageUse

KINDS = ("wide", "thin", "local", "lesions", "ordinary", "true")
SHARED = ("wide", "thin")
NAME = "Coronary"
LOCAL_MM, LOCAL_LENGTH_MM, SMOOTH_MM = 0.45, 10.0, 6.0
STRETCH_MM = 2.0


def label_of(tree: ScannedTree, kind: str, calcium: str, seed: int) -> np.ndarray:
    """Make the label of a kind (x, y, z) bool."""
    phantom, truth = tree.phantom, tree.truth(calcium)
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    spacing = tuple(float(step) for step in phantom.spacing_mm)
    aorta = phantom.labels == Label.AORTA
    if kind == "true":
        return truth
    if kind == "ordinary":
        labels = np.where(truth, Label.CORONARY, np.where(aorta, Label.AORTA, tree.heart)).astype(np.uint8)
        own = replace(phantom, labels=labels)
        noise = NOISE[seed % len(NOISE)]
        return np.asarray(corrupt_in_stages(own, rng, noise, float(rng.uniform(*NOISE_MM)))[1] == Label.CORONARY)
    if kind == "lesions":
        inside = np.zeros_like(truth)
        near = np.argwhere(phantom.wall_mm < 2.0)
        points = near * phantom.spacing_mm
        for branch in phantom.branches:
            width = gaussian_filter1d(branch.radius_mm, SMOOTH_MM / STEP_MM, mode="nearest")
            apart, at = cKDTree(branch.path).query(points)
            inside[tuple(near[apart < width[at]].T)] = True
        return np.asarray(inside & ~aorta)
    distance_mm = signed_distance_mm(truth, spacing)
    error_mm: Any = {"wide": min(spacing), "thin": -min(spacing)}.get(kind)
    if error_mm is None:
        error_mm = LOCAL_MM * smooth_noise(truth.shape, phantom.spacing_mm, LOCAL_LENGTH_MM, rng)
    return np.asarray((distance_mm + error_mm > 0) & ~aorta)


scanned = lru_cache(4)(scan_tree)


def made(seed: int, kind: str, calcium: str, spacing_mm: float) -> tuple[ScannedTree, np.ndarray]:
    """Make a tree and its label of a kind."""
    tree = scanned(seed, spacing_mm)
    return tree, label_of(tree, kind, calcium, seed)


def shift(seed: int, kind: str, calcium: str, spacing_mm: float) -> dict[str, float]:
    """Measure the width of a label, as `correct` does."""
    tree, label = made(seed, kind, calcium, spacing_mm)
    labels = np.where(label, Label.CORONARY, tree.heart).astype(np.uint8)
    found = lumen_shift_mm(label, labels, tree.image, (spacing_mm,) * 3)
    return {} if found is None else {NAME: found}


def repaired(tree: ScannedTree, label: np.ndarray, use: ImageUse, with_edges: bool, spacing_mm: float) -> np.ndarray:
    """Repair a label as `fuse` does: the other structures are those of the truth."""
    structure, spacing = load_anatomy("heart").by_name(NAME), (spacing_mm,) * 3
    anatomy = load_anatomy("heart")
    inside = {one.name: tree.heart == one.id for one in anatomy.structures if (tree.heart == one.id).any()}
    chambers = tuple(one.name for one in anatomy.structures if one.kind == "chamber")
    x, y, z = (slice(0, n) for n in label.shape)
    volume = CaseVolume(Grid(label.shape, np.diag([*spacing, 1.0])), (x, y, z), tree.image)
    vessel = repair_vessel(structure, label, inside, volume, Calibre(), chambers, use)
    verdict = check_acceptance(vessel.reference, vessel.mask, structure, spacing)
    mask = vessel.mask if verdict.accepted else label
    if not with_edges or vessel.follows_lumen:
        return np.asarray(mask)
    fused = np.where(mask, structure.id, tree.heart).astype(np.uint8)
    maps = {name: DistanceMap.of_mask(one, spacing) for name, one in (inside | {NAME: mask}).items()}
    return np.asarray(snap_case(fused, maps, fused, volume, anatomy, [verdict], tuple(maps)).labels == structure.id)


def surface_error_mm(tree: ScannedTree, truth: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    """Signed error of the surface: its mean, and the rms of the means over stretches of 2 mm."""
    spacing = tuple(float(step) for step in tree.phantom.spacing_mm)
    own = smooth_distance_mm(truth, spacing)
    near = np.abs(own) < 0.5 * min(spacing)
    error = np.clip(smooth_distance_mm(label, spacing) - own, -2, 2)[near]
    every = round(STRETCH_MM / STEP_MM)
    places = np.concatenate([branch.path[::every] for branch in tree.phantom.branches])
    stretch = cKDTree(places).query(np.argwhere(near) * tree.phantom.spacing_mm)[1]
    count = np.bincount(stretch, minlength=len(places))
    means = np.bincount(stretch, error, minlength=len(places))[count > 0] / count[count > 0]
    return float(error.mean()), float(np.sqrt(np.mean(np.square(means))))


def score(seed: int, kind: str, calcium: str, spacing_mm: float, correction: Correction) -> dict[str, Any]:
    """Repair and score one label."""
    tree, label = made(seed, kind, calcium, spacing_mm)
    truth, spacing = tree.truth(calcium), (spacing_mm,) * 3
    moved, keeps_width = label, True
    if kind in SHARED:
        own_mm = shift(seed, kind, calcium, spacing_mm).get(NAME)
        shift_mm = correction.tube_shift_mm(NAME, own_mm)
        if shift_mm:
            moved, keeps_width = signed_distance_mm(label, spacing) + shift_mm > 0, False
    setting = calcium if calcium in ("included", "excluded") else "as_labelled"
    row: dict[str, Any] = {"seed": seed, "kind": kind}
    before = ImageUse(follows_lumen=False)
    now = ImageUse(keeps_width=keeps_width, calcium=setting)
    results = {
        "input": label,
        "before": repaired(tree, moved, before, True, spacing_mm),
        "now": repaired(tree, moved, now, True, spacing_mm),
    }
    for name, result in results.items():
        mean_mm, local_mm = surface_error_mm(tree, truth, result)
        row[name] = {
            "dice": dice(truth, result), "cldice": cldice(result, truth), "mean_mm": mean_mm, "local_mm": local_mm,
            "lost": float((truth & label & ~result).sum() / (truth & label).sum()),
        }  # fmt: skip
    return row


def main() -> None:
    """Score every label, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=int, default=8)
    parser.add_argument("--first", type=int, default=0, help="seed of the first tree")
    parser.add_argument("--spacing", type=float, default=0.5, help="voxel size in mm")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds of labels")
    parser.add_argument("--calcium", choices=("as_labelled", "included", "excluded"), default="as_labelled")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures of every tree to this file")
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.trees)
    table = Table(
        "labels", "Dice, input > before > now", "error removed, before", "now", "worst", "clDice", "mean, mm",
        "local, mm", "lost, %",
    )  # fmt: skip
    every: list[dict[str, Any]] = []
    with ProcessPoolExecutor(arguments.workers) as pool:
        for kind in arguments.kinds.split(","):
            fixed = {"kind": kind, "calcium": arguments.calcium, "spacing_mm": arguments.spacing}
            correction = Correction.none((NAME,))
            if kind in SHARED:
                shifts = list(pool.map(partial(shift, **fixed), seeds))
                correction = replace(
                    correction,
                    tubes_mm=common_shifts_mm(shifts, "image"),
                    typical_tubes_mm=typical_shifts_mm(shifts),
                )
            rows = list(pool.map(partial(score, **fixed, correction=correction), seeds))
            every += rows
            table.add_row(*_described(kind, rows))
            if arguments.json:
                arguments.json.write_text(json.dumps(every, indent=1))
    Console(width=170).print(table)


def _described(kind: str, rows: list[dict[str, Any]]) -> list[str]:
    """One line of the table."""

    def all_of(key: str) -> list[list[float]]:
        return [[row[name][key] for row in rows] for name in ("input", "before", "now")]

    def means(key: str, digits: int) -> str:
        return " > ".join(f"{np.mean(values):.{digits}f}" for values in all_of(key))

    given, before, now = all_of("dice")
    cells = ["", ""]
    if np.mean(given) < 1:
        for at, after in enumerate((before, now)):
            low, high = removed_interval(given, after)
            cells[at] = f"{removed(given, after):.2f} ({low:.2f} to {high:.2f})"
    worst = [float(np.min(np.subtract(after, given))) for after in (before, now)]
    lost = [100 * float(np.mean(values)) for values in all_of("lost")[1:]]
    return [
        kind, means("dice", 4), *cells, f"{worst[0]:+.4f}, {worst[1]:+.4f}", means("cldice", 3),
        means("mean_mm", 2), means("local_mm", 2), f"{lost[0]:.1f}, {lost[1]:.1f}",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
