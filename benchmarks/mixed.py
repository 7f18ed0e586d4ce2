#!/usr/bin/env python3
"""Mixed cohorts: slices of 0.4 to 3 mm, whole-thorax and cropped scans, two conventions of the left atrial appendage.

usage: mixed.py OUT [--count 10] [--seed 1] [--faults harsh] [--preset mend] [--workers 2]

Makes phantom hearts of several kinds of scans. In every second case the LAA is part of the LA, in the true label map
too, so each case is scored in its own convention. The cohort is repaired as a whole, from labels alone. A row for each
kind of scan and for each convention: the pairs of case and structure that became worse (Dice and surface Dice lower by
more than 0.01), and the mean Dice of all structures before > after; then what `heartmend screen` and the change log
say of the LAA. An interrupted call continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from rich.console import Console

from heartmend.anatomy.load import load_anatomy
from heartmend.metrics.case import Row
from heartmend.metrics.evaluation import EvaluationSettings
from heartmend.metrics.summary import Worse, count_worse
from heartmend.phantom import coronary, heart
from heartmend.phantom.corruption.realistic import corrupt_as_network, draw_tendency
from heartmend.phantom.corruption.recipe import corrupt
from heartmend.phantom.plan import Label, draw_plan
from heartmend.pipelines.config import load_config
from heartmend.pipelines.evaluate import evaluate_folders
from heartmend.pipelines.open_run import open_run
from heartmend.pipelines.run import Request, run
from heartmend.quality.screen import screen_run
from heartmend.repair.merged_structures import RULE
from heartmend.types import Labels

ANATOMY = load_anatomy("heart").without_absent(())
THORAX_MM, CUT_MM = 70.0, 8.0
"""Background on all sides of a whole thorax; what a cropped scan lacks of the heart on two sides."""
console = Console(width=200, highlight=False, markup=False)


@dataclass(frozen=True)
class Scan:
    """A kind of scan.

    Attributes:
        spacing_mm: voxel size.
        grid: changes the label map and says by how many voxels its origin moves.
    """

    spacing_mm: tuple[float, float, float]
    grid: Callable[[Labels, np.ndarray], tuple[Labels, np.ndarray]]


def as_it_is(labels: Labels, spacing: np.ndarray) -> tuple[Labels, np.ndarray]:
    """Keep the field of view."""
    return labels, np.zeros(3)


def whole_thorax(labels: Labels, spacing: np.ndarray) -> tuple[Labels, np.ndarray]:
    """Add background on all sides."""
    margin = np.ceil(THORAX_MM / spacing).astype(int)
    return np.pad(labels, [(m, m) for m in margin]), -margin


def cropped(labels: Labels, spacing: np.ndarray) -> tuple[Labels, np.ndarray]:
    """Cut the heart at the first side of the first axis and the last side of the last one."""
    at = np.nonzero(labels)
    first = int(at[0].min() + np.ceil(CUT_MM / spacing[0]))
    last = int(at[2].max() - np.ceil(CUT_MM / spacing[2]))
    return np.ascontiguousarray(labels[first:, :, :last]), np.array([first, 0, 0])


SCANS: Mapping[str, Scan] = {
    "slices of 0.4 mm": Scan((0.8, 0.8, 0.4), as_it_is),
    "slices of 3 mm": Scan((0.8, 0.8, 3.0), as_it_is),
    "whole thorax": Scan((1.2, 1.2, 1.5), whole_thorax),
    "cropped": Scan((0.9, 0.9, 0.9), cropped),
    "ordinary": Scan((0.9, 0.9, 0.9), as_it_is),
}
CONVENTIONS = ("LAA on its own", "LAA as part of the LA")


def make_cohort(
    folder: Path, count: int, seed: int, faults: Literal["realistic", "harsh"]
) -> dict[str, tuple[str, str]]:
    """Write labels_true/ and labels_noisy/; a case that is there stays.

    Args:
        folder: output folder.
        count: number of cases.
        seed: seed of hearts and errors.
        faults: errors of the label maps.

    Returns:
        Kind of scan and convention of each case, by its id.
    """
    kinds, tendency = {}, draw_tendency(np.random.default_rng(seed))
    for name in ("labels_true", "labels_noisy"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        id, names = f"{index + 1:03d}", list(SCANS)
        kinds[id] = names[index // 2 % len(names)], CONVENTIONS[index % 2]
        # The noisy map is written last.
        if (folder / "labels_noisy" / f"{id}.nii.gz").exists():
            continue
        scan = SCANS[kinds[id][0]]
        spacing = np.array(scan.spacing_mm)
        shape_rng, tree_rng, rng = (np.random.default_rng([seed, index, part]) for part in range(3))
        built = heart.build(draw_plan(shape_rng), spacing, shape_rng, None)
        truth, moved = scan.grid(coronary.grow(built, tree_rng), spacing)
        noisy, _ = (
            corrupt(truth, spacing, rng) if faults == "harsh" else corrupt_as_network(truth, spacing, rng, tendency)
        )
        affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
        affine[:3, 3] = affine[:3, :3] @ moved
        for name, labels in (("labels_true", truth), ("labels_noisy", noisy)):
            stored = with_laa_in_la(labels) if kinds[id][1] == CONVENTIONS[1] else labels
            image = nib.Nifti1Image(stored, affine)
            image.header.set_xyzt_units("mm")
            nib.save(image, folder / name / f"{id}.nii.gz")
    return kinds


def with_laa_in_la(labels: Labels) -> Labels:
    """The label map in the convention in which the appendage is part of the atrium."""
    return np.where(labels == Label.LAA, np.uint8(Label.LA), labels)


def table(rows: Sequence[Row], worse: Mapping[str, Sequence[str]], kinds: Mapping[str, tuple[str, str]]) -> list[str]:
    """Rows of the table, as Markdown.

    Args:
        rows: rows of the evaluation.
        worse: by structure, the ids of the cases that became worse.
        kinds: kind of scan and convention of each case.

    Returns:
        The lines.
    """
    lines = ["| cases | | worse | mean Dice |", "|---|---|---|---|"]
    for kind in (*SCANS, *CONVENTIONS):
        cases = [id for id, of in kinds.items() if kind in of]
        found = [row for row in rows if row.case in cases and row.expected and "dice" in row.values]
        if not found:
            continue
        before, after = (np.mean([row.values["dice"] for row in found if row.labels == which]) for which in ("a", "b"))
        pairs = sum(row.labels == "a" for row in found)
        lost = [f"{structure} {id}" for structure, ids in worse.items() for id in ids if id in cases]
        counted = Worse.of(len(lost), pairs)
        named = f": {', '.join(lost)}" if lost else ""
        lines.append(
            f"| {len(cases)} | {kind} | {counted.found} of {counted.pairs}{named} | {before:.3f} > {after:.3f} |"
        )
    return lines


def main() -> None:
    """Make the cohort, repair it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", choices=("realistic", "harsh"), default="harsh")
    parser.add_argument("--preset", default="mend")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    cohort, output, workers = arguments.output / "cohort", arguments.output / "run", arguments.workers
    kinds = make_cohort(cohort, arguments.count, arguments.seed, arguments.faults)
    run(
        Request(cohort / "labels_noisy", output, stop_after="fuse", workers=workers), load_config(arguments.preset)
    )  # fmt: skip
    settings = EvaluationSettings(metrics=("dice", "nsd_1mm"), workers=workers, parts=False)
    evaluation = evaluate_folders(cohort / "labels_noisy", output, ANATOMY, cohort / "labels_true", settings)
    worse = {s.structure: s.worse_cases or () for s in evaluation.summary}
    console.print("\n".join(table(evaluation.rows, worse, kinds)), soft_wrap=True)
    console.print(f"\nworse: {count_worse(evaluation.summary)}")
    finished, ranking = open_run(output), screen_run(output, workers=workers)
    for case in sorted(ranking.cases, key=lambda one: one.case):
        screened = next((r for s in case.structures if s.structure == "LAA" for r in s.reasons if "LA" in r), "nothing")
        logged = next((one.note for one in finished[case.case].changes.changes if one.rule == RULE), "nothing")
        console.print(f"{case.case}, {kinds[case.case][1]}: screen: {screened}; log: {logged}")


if __name__ == "__main__":
    main()
