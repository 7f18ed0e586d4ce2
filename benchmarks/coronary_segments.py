#!/usr/bin/env python3
"""Names of coronary segments on phantom trees with known names.

usage: coronary_segments.py [--trees N] [--spacing MM] [--workers N]

Makes N trees (`heartmend.phantom.coronary_tree`) with the chambers around their grooves, and names their segments by
position (`heartmend.coronaries`): in the true map, and in a corrupted one (as in coronary_trees.py) after its repair.
Prints for each vessel the share of its voxels that have its name (D: D1 or D2; OM: OM1 or OM2; RV: Other), with the
95 % bootstrap interval over the trees and the lowest tree, its confidence, and the share on the right side.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from coronary_corruption import NOISE, corrupt_tree
from coronary_trees import NOISE_MM, repaired
from rich.console import Console
from rich.table import Table

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.load import load_anatomy
from heartmend.coronaries.segment_map import SegmentMap, map_segments
from heartmend.coronaries.segments import Segment, Side
from heartmend.geometry.grid import Grid
from heartmend.metrics.statistics import bootstrap_interval
from heartmend.phantom.coronary_tree import SEGMENTS, CoronaryPhantom, draw_tree, sample_tree
from heartmend.phantom.plan import Label

NAMES = {
    "LM": [Segment.LM], "LAD": [Segment.LAD], "LCx": [Segment.LCX], "RCA": [Segment.RCA],
    "D": [Segment.D1, Segment.D2], "OM": [Segment.OM1, Segment.OM2], "PDA": [Segment.R_PDA], "PLA": [Segment.R_PLA],
    "RV": [Segment.OTHER],
}  # fmt: skip
RIGHT = ("RCA", "PDA", "PLA", "RV")


def named(phantom: CoronaryPhantom, vessels: np.ndarray) -> SegmentMap:
    """Name the segments of a mask of vessels beside the chambers of a phantom."""
    labels = np.where(vessels, Label.CORONARY, phantom.chambers).astype(np.uint8)
    found = map_segments(labels, Grid(labels.shape, phantom.affine), load_anatomy("heart"))
    assert found is not None
    return found


def score(seed: int, spacing_mm: float) -> dict[str, Any]:
    """Name one tree in its true and in its repaired map."""
    rng = np.random.default_rng(seed)
    phantom = draw_tree(sample_tree(rng), (spacing_mm,) * 3, rng)
    noisy = corrupt_tree(phantom, rng, NOISE[seed % len(NOISE)], float(rng.uniform(*NOISE_MM)))
    mask = repaired(noisy, (spacing_mm,) * 3, Calibre())
    scores: dict[str, Any] = {}
    for which, vessels in (("true", phantom.labels == Label.CORONARY), ("repaired", mask)):
        found = named(phantom, vessels)
        confidence = {record.segment: record.confidence for record in found.records}
        for i, name in enumerate(SEGMENTS, start=1):
            voxels = vessels & (phantom.segments == i)
            if not voxels.any():
                continue
            side = Side.RIGHT if name in RIGHT else Side.LEFT
            scores[which, name] = (
                float(np.isin(found.values[voxels], NAMES[name]).mean()),
                float((found.sides[voxels] == side).mean()),
                confidence.get(NAMES[name][0].label, np.nan),
            )
    return scores


def main() -> None:
    """Score every tree, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=int, default=24)
    parser.add_argument("--spacing", type=float, default=0.5, help="voxel size in mm")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.workers) as pool:
        rows = list(pool.map(partial(score, spacing_mm=arguments.spacing), range(arguments.trees)))
    table = Table("vessel", "trees", "true map", "lowest", "after repair", "lowest", "right side", "confidence")
    for name in SEGMENTS:
        cells = []
        for which in ("true", "repaired"):
            values = np.array([row[which, name][0] for row in rows if (which, name) in row])
            low, high = bootstrap_interval(values)
            cells += [f"{values.mean():.3f} ({low:.3f} to {high:.3f})", f"{values.min():.2f}"]
        both = [row[key] for row in rows for key in row if key[1] == name]
        side, sure = np.mean([one[1] for one in both]), np.nanmedian([one[2] for one in both])
        table.add_row(name, str(len(values)), *cells, f"{side:.3f}", f"{sure:.2f}")
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
