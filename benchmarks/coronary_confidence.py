#!/usr/bin/env python3
"""Calibration of the confidence of coronary segment names, on phantom trees with known names.

usage: coronary_confidence.py [--fit N] [--test N] [--spacing MM] [--workers N]

Names the segments of N trees to fit (seeds from 1000) and of N trees to test (seeds from 0), each in its true map and
in a corrupted one after its repair (as in coronary_segments.py). For each named segment: how well its course agrees
with its name (`NamedTree.agreement`), and the share of its voxels whose name is right.

Prints the table of `heartmend.coronaries.confidence` that the trees to fit give (isotonic regression, weighted by
length, for each group of names), and, on the trees to test, the mean confidence and the mean share of right names in
five classes of confidence, for the shipped table and for the agreement itself, with the expected calibration error.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from coronary_corruption import NOISE, corrupt_tree
from coronary_segments import NAMES, named
from coronary_trees import NOISE_MM, repaired
from rich.console import Console
from rich.table import Table

from heartmend.anatomy.calibre import Calibre
from heartmend.coronaries.confidence import GROUPS
from heartmend.coronaries.segment_map import nearest_points
from heartmend.coronaries.segments import Segment
from heartmend.geometry.centrelines.tree import voxel_points
from heartmend.phantom.coronary_tree import SEGMENTS, draw_tree, sample_tree
from heartmend.phantom.plan import Label

Row = tuple[int, float, float, float, float]
"""Segment, agreement, length in mm, share of right names, confidence."""


def rows_of(seed: int, spacing_mm: float) -> list[Row]:
    """Name one tree in its true and in its repaired map."""
    rng = np.random.default_rng(seed)
    phantom = draw_tree(sample_tree(rng), (spacing_mm,) * 3, rng)
    noisy = corrupt_tree(phantom, rng, NOISE[seed % len(NOISE)], float(rng.uniform(*NOISE_MM)))
    mask = repaired(noisy, (spacing_mm,) * 3, Calibre())
    right = np.zeros((len(SEGMENTS) + 1, max(Segment) + 1), bool)
    for number, name in enumerate(SEGMENTS, start=1):
        right[number, NAMES[name]] = True
    rows = []
    for vessels in (phantom.labels == Label.CORONARY, mask):
        tree = named(phantom, vessels).named
        owner = nearest_points(tree.tree, voxel_points(vessels, (spacing_mm,) * 3))
        truth, found = phantom.segments[vessels], tree.segment[owner]
        for segment in np.unique(found[found > 0]).tolist():
            points, own = tree.segment == segment, (found == segment) & (truth > 0)
            length = np.maximum(tree.tree.share_mm[points], 1e-6)
            if own.any():
                agreement, confidence = (
                    float(np.average(values[points], weights=length)) for values in (tree.agreement, tree.confidence)
                )
                share = float(right[truth[own], segment].mean())
                rows.append((segment, agreement, float(length.sum()), share, confidence))
    return rows


def isotonic(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> list[tuple[float, float]]:
    """Fit a rising step function by pooling adjacent violators; returns the middle and the level of each step."""
    blocks: list[list[float]] = []
    for k in np.argsort(x):
        blocks.append([x[k] * weight[k], y[k] * weight[k], weight[k]])
        while len(blocks) > 1 and blocks[-2][1] / blocks[-2][2] >= blocks[-1][1] / blocks[-1][2]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    return [(a / w, b / w) for a, b, w in blocks]


def thinned(steps: list[tuple[float, float]], least: float = 0.03) -> list[tuple[float, float]]:
    """Leave out steps that rise by less than `least`."""
    kept = [steps[0]]
    for step in steps[1:]:
        if step[1] - kept[-1][1] >= least or step is steps[-1]:
            kept.append(step)
    return [(round(float(a), 2), round(float(b), 2)) for a, b in kept]


def show(rows: list[Row]) -> None:
    """Print the calibration on the trees to test."""
    segment, agreement, length, share, shipped = (np.array(column) for column in zip(*rows, strict=True))
    table = Table("confidence", "segments", "mean confidence", "right names", title="by class of confidence")
    confidences = {"calibrated": shipped, "agreement itself": agreement}
    for name, value in confidences.items():
        error = 0.0
        for low in (0.0, 0.2, 0.4, 0.6, 0.8):
            own = (value >= low) & (value < low + 0.2 + (low == 0.8))
            if own.any():
                mean, right = (float(np.average(one[own], weights=length[own])) for one in (value, share))
                error += length[own].sum() / length.sum() * abs(mean - right)
                table.add_row(f"{name}, {low:.1f} to {low + 0.2:.1f}", str(own.sum()), f"{mean:.2f}", f"{right:.2f}")
        table.add_row(f"{name}: expected calibration error", str(len(rows)), "", f"{error:.3f}", end_section=True)
    for group, members in GROUPS.items():
        own = np.isin(segment, members)
        if own.any():
            means = [float(np.average(one[own], weights=length[own])) for one in (confidences["calibrated"], share)]
            table.add_row(f"calibrated, {group}", str(own.sum()), *(f"{mean:.2f}" for mean in means))
    Console(width=120).print(table)


def main() -> None:
    """Fit and test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", type=int, default=24)
    parser.add_argument("--test", type=int, default=12)
    parser.add_argument("--spacing", type=float, default=0.5, help="voxel size in mm")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.workers) as pool:
        work = partial(rows_of, spacing_mm=arguments.spacing)
        fit = [row for rows in pool.map(work, range(1000, 1000 + arguments.fit)) for row in rows]
        test = [row for rows in pool.map(work, range(arguments.test)) for row in rows]
    for group, members in GROUPS.items():
        own = np.array([row for row in fit if row[0] in members])
        if len(own):
            Console(width=160).print(group, thinned(isotonic(own[:, 1], own[:, 3], own[:, 2])))
    show(test)


if __name__ == "__main__":
    main()
