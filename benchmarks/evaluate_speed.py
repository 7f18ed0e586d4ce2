#!/usr/bin/env python3
"""Time and memory of comparing two full-size label maps, with Heartmend, MONAI and surface-distance.

usage: evaluate_speed.py [--repeat 3] [--shape 512,512,275] [--without monai,surface-distance]

A phantom heart of ten structures and a corrupted copy, 512 x 512 x 275 voxels of 0.36 x 0.36 x 0.55 mm (or another
shape of the same field of view), in the memory order of a NIfTI file, are compared on one core: by `evaluate_case`
with all its metrics, and with those that the others have too; and by each of the others with these (overlap, surface
Dice at four tolerances, HD95, mean surface distance), structure by structure, as its documentation describes. Every
measurement has its own process, and the methods alternate, so that other load affects them equally. On a shared
machine compare the user CPU time.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from heartmend.anatomy.load import load_anatomy
from heartmend.metrics.case import evaluate_case
from heartmend.metrics.metric_catalogue import TOLERANCES_MM, catalogue
from heartmend.phantom import coronary, heart
from heartmend.phantom.corruption.recipe import corrupt
from heartmend.phantom.plan import draw_plan
from heartmend.types import Labels

FIELD_OF_VIEW_MM = (184.0, 184.0, 151.0)
SURFACE = tuple(f"nsd_{t:g}mm" for t in TOLERANCES_MM)
SHARED = ("dice", "iou", *SURFACE, "hd95_mm", "assd_mm")
Found = dict[int, dict[str, float]]
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Measured:
    """One measurement: elapsed and user CPU seconds, and the peak memory beyond the label maps in MiB."""

    wall_s: float
    user_s: float
    peak_mib: float
    found: Found


def heartmend(truth: Labels, other: Labels, spacing_mm: Spacing, keys: tuple[str, ...] = ()) -> Found:
    """Compute all metrics of Heartmend, or those of the keys."""
    anatomy = load_anatomy("heart")
    rows = evaluate_case(truth, other, spacing_mm, anatomy, metrics=catalogue(keys=keys))
    return {anatomy.by_name(row.structure).id: dict(row.values) for row in rows if row.labels == "b"}


def heartmend_shared(truth: Labels, other: Labels, spacing_mm: Spacing) -> Found:
    """Compute the metrics that the others have too."""
    return heartmend(truth, other, spacing_mm, SHARED)


def monai(truth: Labels, other: Labels, spacing_mm: Spacing) -> Found:
    """Compute metrics with MONAI, on one-hot tensors of one structure at a time."""
    import torch
    from monai import metrics

    torch.set_num_threads(1)
    found: Found = {}
    for id in range(1, 11):
        a, b = (torch.as_tensor(labels == id)[None, None].float() for labels in (truth, other))
        pair = {"y_pred": b, "y": a, "include_background": True}
        row = {"dice": metrics.compute_dice(**pair).item(), "iou": metrics.compute_iou(**pair).item()}
        for tolerance, key in zip(TOLERANCES_MM, SURFACE, strict=True):
            share = metrics.compute_surface_dice(**pair, class_thresholds=[tolerance], spacing=spacing_mm)
            row[key] = share.item()
        row["hd95_mm"] = metrics.compute_hausdorff_distance(**pair, percentile=95, spacing=spacing_mm).item()
        row["assd_mm"] = metrics.compute_average_surface_distance(**pair, symmetric=True, spacing=spacing_mm).item()
        found[id] = row
    return found


def surface_distance(truth: Labels, other: Labels, spacing_mm: Spacing) -> Found:
    """Compute metrics with surface-distance; the distances are computed once for all of them."""
    import surface_distance as package

    found: Found = {}
    for id in range(1, 11):
        a, b = truth == id, other == id
        distances = package.compute_surface_distances(a, b, spacing_mm)
        row = {"dice": package.compute_dice_coefficient(a, b)}
        for tolerance, key in zip(TOLERANCES_MM, SURFACE, strict=True):
            row[key] = package.compute_surface_dice_at_tolerance(distances, tolerance)
        row["hd95_mm"] = package.compute_robust_hausdorff(distances, 95)
        row["assd_mm"] = float(np.mean(package.compute_average_surface_distance(distances)))
        found[id] = row
    return found


METHODS: dict[str, Callable[[Labels, Labels, Spacing], Found]] = {
    "heartmend, all metrics": heartmend,
    "heartmend, shared metrics": heartmend_shared,
    "surface-distance": surface_distance,
    "monai": monai,
}


def measure(name: str, pair: Path) -> Measured:
    """Measure one method in this process, after a first call that does its imports."""
    warnings.simplefilter("ignore")
    with np.load(pair) as stored:
        truth, other = (np.asfortranarray(stored[key]) for key in ("truth", "corrupted"))
        spacing = tuple(stored["spacing"].tolist())
    small = np.kron(np.arange(11, dtype=np.uint8)[:, None, None], np.ones((3, 12, 12), np.uint8))
    METHODS[name](small, small, spacing)
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    found = METHODS[name](truth, other, spacing)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    peak = (after.ru_maxrss - before.ru_maxrss) / 1024
    return Measured(wall, after.ru_utime - before.ru_utime, peak, found)


def make_pair(shape: tuple[int, int, int], path: Path) -> None:
    """Write a phantom heart and its corrupted copy."""
    rng = np.random.default_rng(1)
    spacing = np.array(FIELD_OF_VIEW_MM) / shape
    truth = coronary.grow(heart.build(draw_plan(rng), spacing, rng, shape), rng)
    np.savez(path, truth=truth, corrupted=corrupt(truth, spacing, rng)[0], spacing=spacing)


def in_new_process(work: Callable[..., object], *args: object) -> object:
    """Call a function in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *args).result()


def main() -> None:
    """Make the pair, measure the methods in turn, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--shape", default="512,512,275")
    parser.add_argument("--without", default="")
    arguments = parser.parse_args()
    console = Console(width=140)
    x, y, z = (int(n) for n in arguments.shape.split(","))
    without = arguments.without.split(",")
    names = [name for name in METHODS if name.startswith("heartmend") or name not in without]
    measured: dict[str, list[Measured]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="heartmend-") as folder:
        pair = Path(folder) / "pair.npz"
        in_new_process(make_pair, (x, y, z), pair)
        for turn in range(arguments.repeat):
            for name in names:  # in turn, so that other load affects all methods
                result = in_new_process(measure, name, pair)
                assert isinstance(result, Measured)
                measured[name].append(result)
                console.print(f"turn {turn + 1}: {name} {result.user_s:.1f} s user, {result.wall_s:.1f} s elapsed")

    console.print(results(f"{x} x {y} x {z} voxels, ten structures, one core, {arguments.repeat} turns", measured))


def results(title: str, measured: Mapping[str, list[Measured]]) -> Table:
    """Make the table: medians over the turns, times relative to Heartmend in the same turn, errors of the results."""
    everything, shared = (measured[name] for name in list(METHODS)[:2])
    table = Table(title=title)
    for heading in ("method", "user, s", "(range)", "elapsed, s", "relative,\nsame metrics", "relative,\nall metrics",
                    "peak memory,\nMiB", "HD95 error,\nmm", "ASSD error,\nmm", "NSD error"):  # fmt: skip
        table.add_column(heading, justify="left" if heading == "method" else "right", no_wrap=True)
    for name, turns in measured.items():
        user, wall = [m.user_s for m in turns], median(m.wall_s for m in turns)
        times = [
            f"{median(m.user_s / o.user_s for m, o in zip(turns, own, strict=True)):.1f}"
            for own in (shared, everything)
        ]
        errors = [
            max(abs(row[key] - shared[0].found[id][key]) for id, row in turns[0].found.items() for key in keys)
            for keys in (["hd95_mm"], ["assd_mm"], SURFACE)
        ]
        table.add_row(
            name, f"{median(user):.1f}", f"{min(user):.1f} to {max(user):.1f}", f"{wall:.1f}", *times,
            f"{max(m.peak_mib for m in turns):.0f}", *(f"{value:.1g}" for value in errors),
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
