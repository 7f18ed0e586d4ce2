#!/usr/bin/env python3
"""Accuracy of the repair of a cohort with ground truth, by structure, compared with classical filters.

usage: repair_cohort.py COHORT [--output OUT] [--preset mend] [--repaired LABELS] [--without-filters]

COHORT contains labels_true/ and labels_noisy/. The classical filters are applied to the same maps: majority (3x3x3,
twice), joint Gaussian (1.2 mm), and closing (2 mm) with the expected number of components. "Dice error removed" is the
share of the noisy maps' mean Dice error that a method removes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import cc3d
import numpy as np
import numpy.typing as npt
from cohort_score import dice_errors, reduction_interval
from rich.console import Console
from rich.table import Table
from scipy.ndimage import binary_closing, gaussian_filter, uniform_filter

from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Anatomy
from heartmend.compute.workers import each
from heartmend.io.dataset import discover_cohort
from heartmend.io.label_maps import read_labels
from heartmend.metrics.case import Row, evaluate_case
from heartmend.metrics.metric_catalogue import catalogue
from heartmend.metrics.summary import StructureSummary, Worse, count_worse, summarise
from heartmend.pipelines.config import load_config
from heartmend.pipelines.evaluate import evaluate_folders
from heartmend.pipelines.run import Request, run
from heartmend.types import Labels

MAPS: tuple[Literal["a"], Literal["b"]] = ("a", "b")
Blur = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


def majority(labels: Labels, spacing_mm: tuple[float, float, float], anatomy: Anatomy) -> Labels:
    """Replace each label by the most frequent one of its 3x3x3 neighbourhood, twice."""
    for _ in range(2):
        labels = _largest_share(labels, anatomy, lambda mask: uniform_filter(mask, 3))
    return labels


def joint_gaussian(labels: Labels, spacing_mm: tuple[float, float, float], anatomy: Anatomy) -> Labels:
    """Blur every structure and the background by 1.2 mm; each voxel gets the label with the largest value."""
    return _largest_share(labels, anatomy, lambda mask: gaussian_filter(mask, [1.2 / s for s in spacing_mm]))


def closing_and_components(labels: Labels, spacing_mm: tuple[float, float, float], anatomy: Anatomy) -> Labels:
    """Close each structure by 2 mm into the background, and keep its expected number of largest components."""
    out = np.zeros_like(labels)
    steps = max(round(2.0 / min(spacing_mm)), 1)
    for name in reversed(anatomy.priority):
        structure = anatomy.by_name(name)
        mask = labels == structure.id
        closed = (binary_closing(mask, iterations=steps) & (labels == 0)) | mask
        components = cc3d.connected_components(closed, connectivity=26)
        sizes = np.bincount(components.ravel())
        sizes[0] = 0
        kept = [p for p in np.argsort(-sizes)[: structure.components] if sizes[p]]
        out[np.isin(components, kept)] = structure.id
    return out


def _largest_share(labels: Labels, anatomy: Anatomy, blur: Blur) -> Labels:
    best = blur((labels == 0).astype(np.float32))
    out = np.zeros_like(labels)
    for id in anatomy.ids:
        share = blur((labels == id).astype(np.float32))
        out[share > best] = id
        np.maximum(best, share, out=best)
    return out


FILTERS = {"majority": majority, "joint Gaussian": joint_gaussian, "closing, components": closing_and_components}


def _filter_rows(case_id: str, cohort: Path, anatomy: Anatomy) -> dict[str, list[Row]]:
    true, noisy = (discover_cohort(cohort / name, anatomy=anatomy)[case_id] for name in ("labels_true", "labels_noisy"))
    truth, before = read_labels(true.labels_path, anatomy), read_labels(noisy.labels_path, anatomy)
    spacing = truth.grid.spacing_mm
    found = {}
    for name, method in FILTERS.items():
        filtered = np.zeros_like(before.labels)
        box = _box(before.labels, 6)
        filtered[box] = method(before.labels[box], spacing, anatomy)
        found[name] = evaluate_case(
            before.labels, filtered, spacing, anatomy, truth.labels, case=case_id, metrics=catalogue(keys=["dice"])
        )
    return found


def _box(labels: Labels, margin: int) -> tuple[slice, ...]:
    """The bounding box of all labels with a margin that no filter exceeds."""
    lines = [np.flatnonzero(labels.any(axis=tuple({0, 1, 2} - {a}))) for a in range(3)]
    return tuple(slice(max(int(at[0]) - margin, 0), int(at[-1]) + 1 + margin) for at in lines)


def means_table(
    name: str, ours: Sequence[StructureSummary], filters: Mapping[str, Mapping[str, float | None]]
) -> Table:
    """Make the table of the means, and of the Dice error that each filter removes."""
    table = Table(title=f"{name}: noisy > repaired, and share of the Dice error removed")
    columns = ("structure", "Dice", "NSD 1 mm", "HD95, mm", "component count error", "Dice error removed")
    for heading in (*columns, *filters, "worse"):
        table.add_column(heading, justify="left" if heading == "structure" else "right")
    for s in ours:
        pairs = (("dice", 3), ("nsd_1mm", 3), ("hd95_mm", 1), ("component_count_error", 1))
        means = [" > ".join(f"{s.spreads[key][which].mean:.{digits}f}" for which in MAPS) for key, digits in pairs]
        others = [f"{own[s.structure]:.2f}" for own in filters.values()]
        worse = f"{s.n_worse or 0}/{s.cases}"
        table.add_row(s.structure, *means, f"[bold]{s.dice_error_reduction:.2f}[/]", *others, worse)
    return table


def intervals_table(rows: Sequence[Row], ours: Sequence[StructureSummary]) -> Table:
    """Make the table of the repaired maps: means with 95 % intervals over the cases, misses, bounds of the worse cases.

    HD95 has the misses, each of which costs the diagonal of the volume; beside it the mean without them.
    """
    columns = (
        "structure", "Dice", "NSD 1 mm", "HD95, mm", "HD95 of present, mm", "missed", "Dice error removed", "worse",
    )  # fmt: skip
    table = Table(title="repaired: mean (95 % interval)")
    for heading in columns:
        table.add_column(heading, justify="left" if heading == "structure" else "right")
    for s in ours:
        spreads = (*((s.spreads[key]["b"], n) for key, n in (("dice", 3), ("nsd_1mm", 3), ("hd95_mm", 1))),
                   (s.present["hd95_mm"]["b"], 1))  # fmt: skip
        means = [f"{one.mean:.{n}f} ({one.ci95_low:.{n}f} to {one.ci95_high:.{n}f})" for one, n in spreads]
        missed = " > ".join(str(s.false_negative_cases[which]) for which in MAPS)
        mean, low, high = reduction_interval(dice_errors(rows, [s.structure]))
        removed = f"{mean:.2f} ({low:.2f} to {high:.2f})"
        table.add_row(s.structure, *means, missed, removed, str(Worse.of(s.n_worse or 0, s.cases)))
    mean, low, high = reduction_interval(dice_errors(rows, [s.structure for s in ours]))
    table.add_section()
    table.add_row("mean", *[""] * 5, f"{mean:.3f} ({low:.3f} to {high:.3f})", str(count_worse(ours)))
    return table


def main() -> None:
    """Repair the cohort, evaluate it and the filters, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="folder of the run; temporary if not given")
    parser.add_argument("--preset", default="mend")
    parser.add_argument("--repaired", type=Path, help="evaluate these label maps instead of repairing the cohort")
    parser.add_argument("--without-filters", action="store_true", help="leave the classical filters out")
    arguments = parser.parse_args()
    console, anatomy = Console(width=140), load_anatomy("heart").without_absent(())
    started = time.monotonic()
    repaired = arguments.repaired
    if repaired is None:
        output = arguments.output or Path(tempfile.mkdtemp(prefix="heartmend-")) / "run"
        request = Request(arguments.cohort / "labels_noisy", output)
        repaired = run(request, load_config(arguments.preset)).output / "labels"
        console.print(f"repaired in {time.monotonic() - started:.0f} s: {output}")
    before, truth = arguments.cohort / "labels_noisy", arguments.cohort / "labels_true"
    found = evaluate_folders(before, repaired, anatomy, truth)
    ours = found.summary
    ids = [case.id for case in discover_cohort(truth, anatomy=anatomy)]
    filtered: dict[str, list[Row]] = {name: [] for name in FILTERS if not arguments.without_filters}
    for _, rows, error in each(
        partial(_filter_rows, cohort=arguments.cohort, anatomy=anatomy), ids if filtered else []
    ):
        if rows is None:
            raise SystemExit(f"a filter failed: {error}")
        for name, own in rows.items():
            filtered[name] += own
    reduction = {
        name: {s.structure: s.dice_error_reduction for s in summarise(rows, catalogue(keys=["dice"]))}
        for name, rows in filtered.items()
    }

    console.print(means_table(arguments.cohort.name, ours, reduction))
    console.print(intervals_table(found.rows, ours))
    large = [s.dice_error_reduction for s in ours if anatomy.by_name(s.structure).id <= 8]
    seconds = time.monotonic() - started
    console.print(f"worse by more than 0.01 of Dice and NSD: {count_worse(ours)} of the pairs of case and structure")
    console.print(f"mean Dice error removed over structures 1 to 8: {np.mean(large):.3f}; total time {seconds:.0f} s")


if __name__ == "__main__":
    main()
