#!/usr/bin/env python3
"""Missing branches and veins of phantom coronary trees in a simulated CT.

usage: coronary_lumen.py [--trees N] [--spacing MM] [--workers N]

Makes N trees with chambers and aorta (`heartmend.phantom.coronary_tree`) and a CT of each: contrast, blur and noise of
`heartmend.phantom.ct`. From the label two whole side branches and the last 20 mm of two vessels are removed, and a
cardiac vein is added to label and CT: a tube of 35 mm beside the heart, as wide as a vessel, with 0.25 to 0.5 of the
contrast of the arteries. The repair (with `fuse.missing_branches`) is that of `heartmend run`. Prints, as sums over the
trees with the lowest tree:

  found       share of the removed length that the added branches cover
  false       length of what was added where no vessel is, in mm in a tree
  veins       flagged veins; and pieces of arteries that were flagged as one
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.centrelines.measurement import measure_tree
from heartmend.geometry.centrelines.tree import chain, voxel_points
from heartmend.geometry.centrelines.tube import tube_sdf
from heartmend.geometry.grid import Grid
from heartmend.geometry.masks import grow_mask
from heartmend.phantom import ct
from heartmend.phantom.coronary_tree import STEP_MM, CoronaryPhantom, draw_tree, sample_tree
from heartmend.phantom.plan import Label
from heartmend.repair.case_volume import CaseVolume
from heartmend.repair.vessels.case import repair_vessel
from heartmend.repair.vessels.settings import ImageUse

TAIL_MM = 20.0
VEIN_MM, VEIN_RADIUS_MM = 35.0, 1.6
NEAR_MM = 1.5
CHAMBERS = {"LA": Label.LA, "LV": Label.LV, "RA": Label.RA, "RV": Label.RV}


def removed_lines(phantom: CoronaryPhantom, rng: np.random.Generator) -> list[np.ndarray]:
    """Centrelines of two side branches and of the ends of two other vessels."""
    side = [b for b in phantom.branches if b.name in ("D", "OM", "PDA", "PLA", "RV")]
    chosen = rng.permutation(len(side))
    lines = [side[k].path for k in chosen[:2]]
    return lines + [side[k].path[-round(TAIL_MM / STEP_MM) :] for k in chosen[2:4]]


def near_lines(voxels: np.ndarray, own: list[np.ndarray], phantom: CoronaryPhantom) -> np.ndarray:
    """Whether each position belongs to some of the centrelines and to no other vessel."""
    everything = np.concatenate([b.path for b in phantom.branches])
    mine = cKDTree(np.concatenate(own)).query(everything)[0] < 1e-9
    return np.asarray(mine[cKDTree(everything).query(voxels)[1]])


def vein_of(phantom: CoronaryPhantom, rng: np.random.Generator) -> np.ndarray:
    """A vein (x, y, z) along a vessel in its groove, 6 mm beside it on the heart."""
    spacing = phantom.spacing_mm
    host = next(b for b in phantom.branches if b.name == str(rng.choice(["LCx", "LAD", "RCA"])))
    first = int(0.35 * len(host.path))
    path = host.path[first : first + round(VEIN_MM / STEP_MM)]
    centre = np.argwhere(phantom.labels == Label.MYOCARDIUM).mean(axis=0) * spacing
    outward = path - centre
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    along = np.gradient(path, axis=0)
    beside = np.cross(along, outward)
    beside /= np.maximum(np.linalg.norm(beside, axis=1, keepdims=True), 1e-9)
    line = path + 6.0 * beside + 1.0 * outward
    tree = chain(line, np.full(len(line), VEIN_RADIUS_MM))
    mask = np.zeros(phantom.labels.shape, bool)
    index = np.round(line / spacing).astype(int)
    index = index[((index >= 0) & (index < mask.shape)).all(axis=1)]
    mask[tuple(index.T)] = True
    near = grow_mask(mask, VEIN_RADIUS_MM + 0.5, tuple(spacing))
    mask[near] = tube_sdf(tree, voxel_points(near, tuple(spacing))) < 0
    vessel = phantom.labels == Label.CORONARY
    return mask & ~grow_mask(vessel, 1.0, tuple(spacing)) & (phantom.labels == Label.BACKGROUND)


def score(seed: int, spacing_mm: float) -> dict[str, Any]:
    """Remove branches, add a vein, repair and score one tree."""
    rng = np.random.default_rng(seed)
    spacing = (spacing_mm,) * 3
    phantom = draw_tree(sample_tree(rng), spacing, rng)
    truth = phantom.labels == Label.CORONARY
    heart = np.where(phantom.chambers > 0, phantom.chambers, np.where(phantom.labels == Label.MYOCARDIUM, 1, 0))
    full = np.where(truth, Label.CORONARY, heart).astype(np.uint8)
    image = ct.scan(full, phantom.spacing_mm, rng).astype(np.float32)
    vein = vein_of(phantom, rng)
    inside, outside = float(np.median(image[truth])), ct.FAT_HU
    share = gaussian_filter(vein.astype(np.float32), 0.6 / spacing_mm)
    image += share * (outside + float(rng.uniform(0.25, 0.5)) * (inside - outside) - outside)
    lines = removed_lines(phantom, rng)
    removed = np.zeros_like(truth)
    removed[truth] = near_lines(voxel_points(truth, spacing), lines, phantom)
    label = truth & ~removed | vein
    structures = {"Aorta": heart == Label.AORTA, "Myocardium": heart == Label.MYOCARDIUM}
    structures |= {name: heart == value for name, value in CHAMBERS.items()}
    x, y, z = (slice(0, n) for n in truth.shape)
    volume = CaseVolume(Grid(truth.shape, np.diag([*spacing, 1.0])), (x, y, z), image)
    coronary = load_anatomy("heart").by_name("Coronary")
    found = repair_vessel(
        coronary, label, structures, volume, Calibre(), tuple(CHAMBERS), ImageUse(missing_branches=True)
    )
    added = measure_tree(found.mask & ~label, spacing)
    line = np.concatenate([one[:: round(0.5 / STEP_MM)] for one in lines])
    covered = cKDTree(added.points_mm).query(line)[0] <= NEAR_MM if len(added) else np.zeros(len(line), bool)
    true_points = cKDTree(voxel_points(truth, spacing)).query(added.points_mm)[0] <= NEAR_MM if len(added) else covered
    flags = [change for change in found.changes if "a vein?" in change.note]
    centre = voxel_points(vein, spacing)
    hits = 0
    for flag in flags:
        low, high = np.array(flag.box_mm)
        hits += bool(((centre >= low) & (centre <= high)).all(axis=1).mean() > 0.5)
    return {
        "removed_mm": 0.5 * len(line), "found_mm": 0.5 * int(covered.sum()),
        "false_mm": float(added.share_mm[~true_points].sum()) if len(added) else 0.0,
        "veins": int(len(measure_tree(vein, spacing)) > 0), "flagged": min(hits, 1), "false_flags": len(flags) - hits,
    }  # fmt: skip


def main() -> None:
    """Score every tree, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=int, default=12)
    parser.add_argument("--first", type=int, default=0, help="seed of the first tree")
    parser.add_argument("--spacing", type=float, default=0.5, help="voxel size in mm")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.trees)
    with ProcessPoolExecutor(arguments.workers) as pool:
        rows = list(pool.map(partial(score, spacing_mm=arguments.spacing), seeds))
    total = {key: sum(row[key] for row in rows) for key in rows[0]}
    shares = [row["found_mm"] / row["removed_mm"] for row in rows]
    table = Table("trees", "removed, mm", "found", "lowest tree", "false, mm in a tree", "veins flagged", "false flags")
    table.add_row(
        str(len(rows)), f"{total['removed_mm']:.0f}", f"{total['found_mm'] / total['removed_mm']:.2f}",
        f"{min(shares):.2f}", f"{total['false_mm'] / len(rows):.1f} (at most {max(r['false_mm'] for r in rows):.1f})",
        f"{total['flagged']} of {total['veins']}", str(total["false_flags"]),
    )  # fmt: skip
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
