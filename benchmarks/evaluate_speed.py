#!/usr/bin/env python3
"""How long it takes to compare a pair of full-size label maps, beside MONAI's and surface-distance's way.

usage: evaluate_speed.py [--repeat 3] [--shape 512,512,275] [--without monai,surface-distance]

A phantom heart of ten structures and its corrupt_mask map, 512 x 512 x 275 voxels of 0.36 x 0.36 x 0.55 mm (or as many as
asked for in the same field of view), in the order of a NIfTI file, are compared on one core: by `evaluate_case` with
all its metrics, and with only those that the others have; and by each of the others with what it has (overlap, surface
Dice at four tolerances, HD95, mean surface distance), structure by structure, called as its documentation says. Every
measurement has a process of its own; the methods take turns, so that what else the machine does meets all of them. User
CPU time is what to look at on a shared machine.
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
from heartmend.phantom.label_corruption import corrupt
from heartmend.phantom.plan import draw_plan
from heartmend.types import Labels

FIELD_OF_VIEW_MM = (184.0, 184.0, 151.0)
SURFACE = tuple(f"nsd_{t:g}mm" for t in TOLERANCES_MM)
SHARED = ("dice", "iou", *SURFACE, "hd95_mm", "assd_mm")
Found = dict[int, dict[str, float]]
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Measured:
    """One measurement: seconds, and what it took of memory beyond the label maps."""

    wall_s: float
    user_s: float
    peak_mib: float
    found: Found


def ours(truth: Labels, other: Labels, spacing_mm: Spacing, keys: tuple[str, ...] = ()) -> Found:
    """All metrics, or those of the keys."""
    anatomy = load_anatomy("heart")
    rows = evaluate_case(truth, other, spacing_mm, anatomy, metrics=catalogue(keys=keys))
    return {anatomy.by_name(row.structure).id: dict(row.values) for row in rows if row.labels == "b"}


def ours_shared(truth: Labels, other: Labels, spacing_mm: Spacing) -> Found:
    """What the others have too."""
    return ours(truth, other, spacing_mm, SHARED)


def monai(truth: Labels, other: Labels, spacing_mm: Spacing) -> Found:
    """MONAI's functions on one-hot tensors of one structure at a time."""
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
    """The functions of surface-distance: the distances once, all numbers from them."""
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
    "heartmend, all metrics": ours,
    "heartmend, the shared ones": ours_shared,
    "surface-distance": surface_distance,
    "monai": monai,
}


def measure(name: str, pair: Path) -> Measured:
    """One method in this process, once its imports are done."""
    warnings.simplefilter("ignore")
    with np.load(pair) as stored:
        truth, other = (np.asfortranarray(stored[key]) for key in ("truth", "unknown_labels"))
        spacing = tuple(stored["spacing"].tolist())
    small = np.kron(np.arange(11, dtype=np.uint8)[:, None, None], np.ones((3, 12, 12), np.uint8))
    METHODS[name](small, small, spacing)
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    found = METHODS[name](truth, other, spacing)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    peak = (after.ru_maxrss - before.ru_maxrss) / 1024
    return Measured(wall, after.ru_utime - before.ru_utime, peak, found)


def make_pair(shape: tuple[int, int, int], path: Path) -> None:
    """A phantom heart and its corrupt_mask map."""
    rng = np.random.default_rng(1)
    spacing = np.array(FIELD_OF_VIEW_MM) / shape
    truth = coronary.grow(heart.build(draw_plan(rng), spacing, rng, shape), rng)
    np.savez(path, truth=truth, unknown_labels=corrupt(truth, spacing, rng)[0], spacing=spacing)


def alone(work: Callable[..., object], *args: object) -> object:
    """Do it in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *args).result()


def main() -> None:
    """Make the pair, take turns, print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--repeat", type=int, default=3)
    ask.add_argument("--shape", default="512,512,275")
    ask.add_argument("--without", default="")
    asked = ask.parse_args()
    console = Console(width=140)
    x, y, z = (int(n) for n in asked.shape.split(","))
    without = asked.without.split(",")
    names = [name for name in METHODS if name.startswith("heartmend") or name not in without]
    measured: dict[str, list[Measured]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="heartmend-") as folder:
        pair = Path(folder) / "pair.npz"
        alone(make_pair, (x, y, z), pair)
        for turn in range(asked.repeat):
            for name in names:  # one after the other, so that a busy hour meets them all
                got = alone(measure, name, pair)
                assert isinstance(got, Measured)
                measured[name].append(got)
                console.print(f"turn {turn + 1}: {name} {got.user_s:.1f} s user, {got.wall_s:.1f} s wall")

    console.print(results(f"{x} x {y} x {z} voxels, ten structures, one core, {asked.repeat} turns", measured))


def results(title: str, measured: Mapping[str, list[Measured]]) -> Table:
    """Medians over the turns; how many times as long as ours in the same turn; how far the numbers lie from ours."""
    everything, shared = (measured[name] for name in list(METHODS)[:2])
    table = Table(title=title)
    for heading in ("method", "user, s", "(range)", "wall, s", "times ours,\nsame metrics", "times ours,\nall metrics",
                    "peak memory,\nMiB", "HD95 off,\nmm", "ASSD off,\nmm", "NSD off"):  # fmt: skip
        table.add_column(heading, justify="left" if heading == "method" else "right", no_wrap=True)
    for name, turns in measured.items():
        user, wall = [m.user_s for m in turns], median(m.wall_s for m in turns)
        times = [
            f"{median(m.user_s / o.user_s for m, o in zip(turns, own, strict=True)):.1f}"
            for own in (shared, everything)
        ]
        off = [
            max(abs(row[key] - shared[0].found[id][key]) for id, row in turns[0].found.items() for key in keys)
            for keys in (["hd95_mm"], ["assd_mm"], SURFACE)
        ]
        table.add_row(
            name, f"{median(user):.1f}", f"{min(user):.1f} to {max(user):.1f}", f"{wall:.1f}", *times,
            f"{max(m.peak_mib for m in turns):.0f}", *(f"{value:.1g}" for value in off),
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
