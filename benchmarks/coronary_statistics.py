#!/usr/bin/env python3
"""Statistics of phantom coronary trees beside those of real ones.

usage: coronary_statistics.py [--trees N] [--spacing MM] [--labels FOLDER --id ID]

Makes N trees of `heartmend.phantom.coronary_tree`, or reads the label maps of a folder, and prints the median and the
range over the trees beside the figures of ten real trees at 0.5 mm. Lengths and radii are those of the label:

  volume            volume of the label
  centreline        length of the centreline
  radius            distance to the background at the voxels of the skeleton, 10th, 50th and 90th percentile
  variation         standard deviation of this radius over its mean within 5 mm of vessel, median
  aspect            square root of the ratio of the second moments of a cross-section, median and 90th percentile
  inscribed         radius above at the cross-section over that of the disc of equal area, median and 10th percentile
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.ndimage import label as label_plane
from scipy.ndimage import map_coordinates

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.centrelines.measurement import measure_tree
from heartmend.geometry.centrelines.skeleton import prune_spurs, trace_centreline
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.io.dataset import discover_cohort
from heartmend.io.label_maps import read_labels
from heartmend.phantom.coronary_tree import draw_tree, sample_tree
from heartmend.phantom.plan import Label

REAL = {
    "volume, ml": "6.2 (4.1 to 7.8)",
    "centreline, mm": "520 (380 to 610)",
    "radius, 10th percentile, mm": "1.1",
    "radius, median, mm": "1.5",
    "radius, 90th percentile, mm": "2.1",
    "variation within 5 mm, %": "11 (8 to 15)",
    "aspect, median": "1.18",
    "aspect, 90th percentile": "1.74 (up to 2.2)",
    "inscribed over equal area, median": "0.85",
    "inscribed over equal area, 10th percentile": "0.69",
}
"""Median and range of ten real trees, where they are known."""
WINDOW_MM = 5.0
PLANE_MM = 0.25
REACH_MM = 6.0


def statistics(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    """Measure the statistics of a tree by the keys of `REAL`."""
    raw = prune_spurs(trace_centreline(mask, spacing_mm), 3.0)
    near = raw.along_mm(WINDOW_MM / 2)
    inside = np.isfinite(near)
    mean = inside @ raw.radius_mm / inside.sum(axis=1)
    square = inside @ raw.radius_mm**2 / inside.sum(axis=1)
    variation = np.sqrt(np.maximum(square - mean**2, 0)) / mean
    sections = np.array(cross_sections(mask, spacing_mm))
    tree = measure_tree(mask, spacing_mm)
    values = [
        mask.sum() * np.prod(spacing_mm) / 1000, tree.share_mm.sum(), *np.percentile(raw.radius_mm, [10, 50, 90]),
        100 * np.median(variation), *np.percentile(sections[:, 0], [50, 90]), *np.percentile(sections[:, 1], [50, 10]),
    ]  # fmt: skip
    return dict(zip(REAL, map(float, values), strict=True))


def cross_sections(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> list[tuple[float, float]]:
    """Measure aspect and inscribed radius over equal-area radius of the sections away from branchings and ends."""
    tree, depth = measure_tree(mask, spacing_mm), distance_transform_mm(mask, spacing_mm)
    special = np.flatnonzero(tree.degree != 2)
    beside = np.isfinite(tree.along_mm(4.0, special)).any(axis=0)
    side = np.arange(-REACH_MM, REACH_MM + PLANE_MM / 2, PLANE_MM)
    plane = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1)
    middle = (len(side) // 2, len(side) // 2)
    found = []
    for i in np.flatnonzero(~beside)[::2]:
        near = np.flatnonzero(np.isfinite(tree.along_mm(2.0, np.array([i]))[0]))
        centred = tree.points_mm[near] - tree.points_mm[near].mean(axis=0)
        _, _, axes = np.linalg.svd(centred)
        points = tree.points_mm[i] + plane @ axes[1:]
        at = np.moveaxis(points / spacing_mm, -1, 0)
        numbers, _ = label_plane(map_coordinates(mask.astype(np.float32), at, order=1) > 0.5)
        if not numbers[middle]:
            continue
        section = plane[numbers == numbers[middle]]
        if np.abs(section).max() > REACH_MM - 0.5:
            continue
        moments = np.linalg.eigvalsh(np.cov(section.T) + PLANE_MM**2 / 12 * np.eye(2))
        area = np.sqrt(len(section) * PLANE_MM**2 / np.pi)
        box = tuple(
            slice(max(int(np.floor((p - 0.5) / s)), 0), int(np.ceil((p + 0.5) / s)) + 1)
            for p, s in zip(tree.points_mm[i], spacing_mm, strict=True)
        )
        found.append((float(np.sqrt(moments[1] / moments[0])), float(depth[box].max() / area)))
    return found


def main() -> None:
    """Measure every tree, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=int, default=10)
    parser.add_argument("--spacing", type=float, default=0.5, help="voxel size in mm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--labels", type=Path, help="measure the label maps of this folder instead")
    parser.add_argument("--id", type=int, default=9, help="value of the coronaries in these label maps")
    arguments = parser.parse_args()
    rows = []
    if arguments.labels:
        anatomy = load_anatomy("heart")
        cohort = discover_cohort(arguments.labels, anatomy=anatomy)
        for case in cohort:
            volume = read_labels(case.labels_path, anatomy)
            rows.append(statistics(volume.labels == arguments.id, volume.grid.spacing_mm))
    else:
        spacing = (arguments.spacing,) * 3
        for seed in range(arguments.seed, arguments.seed + arguments.trees):
            rng = np.random.default_rng(seed)
            rows.append(statistics(draw_tree(sample_tree(rng), spacing, rng).labels == Label.CORONARY, spacing))
    table = Table("statistic", "median", "range", "ten real trees")
    for key, real in REAL.items():
        values = [row[key] for row in rows]
        digits = 2 if max(values) < 10 else 0
        table.add_row(
            key, f"{np.median(values):.{digits}f}", f"{min(values):.{digits}f} to {max(values):.{digits}f}", real
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
