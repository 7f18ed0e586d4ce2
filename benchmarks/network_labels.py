#!/usr/bin/env python3
"""Repair of labels that a network made, at three strengths, beside filters of label maps.

usage: network_labels.py COHORT OUT [--strengths early,middle,converged] [--arms alone,ct] [--no-filters] [--labels DIR]
       [--relabel-steps 0] [--spacing-mm 1.5,2] [--steps 1500] [--every 25] [--seed 0] [--preset mend] [--workers 2]

COHORT contains labels_true/ and images/. The cohorts of predictions are made once, in OUT/cohorts (network_cohort.py):
in two folds, one network at 1.5 mm and one at 2 mm, half of the maps by the nearest voxel and half interpolated, taken
when the chambers have a mean Dice of 0.85, 0.92 and 0.96. --labels scores predictions that exist, a folder beside
COHORT/labels_true, in place of them. Each is repaired by `heartmend run`, from labels alone and with CTs, and filtered:

  largest component          of each structure (TotalSegmentator), and nnU-Net's rule decided on these very cases
  majority                   of 3x3x3 neighbours, twice
  joint Gaussian             each structure and the background blurred by 1.2 mm; the largest value decides
  joint smoothing            as 3D Slicer, factor 0.2 (needs VTK; left out without)
  U-Net                      trained on the noisy labels of one half, relabels the other (--relabel-steps N)

Prints by structure the Dice error removed with its 95 % interval over the cases (bootstrap), NSD before > after, and
the pairs of case and structure that became worse, with the upper bound of their share. An interrupted call continues.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from cohort_score import METRICS, dice_errors, reduction_interval
from peer_methods import Method, joint_smoothing, keep_largest_blobs, nnunet, nnunet_rule
from peers import WEAKER_SMOOTHING, apply, joint_gaussian_in_box
from repair_cohort import majority
from rich.console import Console

from heartmend.anatomy.load import load_anatomy
from heartmend.io.dataset import discover_cohort
from heartmend.io.label_maps import read_labels
from heartmend.metrics.case import Row
from heartmend.metrics.evaluation import EvaluationSettings
from heartmend.metrics.metric_catalogue import catalogue
from heartmend.metrics.summary import StructureSummary, Worse, count_worse, summarise
from heartmend.pipelines.config import load_config
from heartmend.pipelines.evaluate import evaluate_folders
from heartmend.pipelines.run import Request, run
from heartmend.types import Labels

ANATOMY = load_anatomy("heart").without_absent(())
BULKY = tuple(one.name for one in ANATOMY.structures if one.id <= 8)
"""Structures 1 to 8, of which the mean is the target: all but coronaries and pulmonary veins."""
console = Console(width=200, highlight=False, markup=False)


@dataclass(frozen=True, eq=False)
class Result:
    """Scores of one method on one cohort.

    Attributes:
        summary: by structure.
        errors: (2, cases, structures) Dice errors before and after, in the order of `structures`.
        structures: names of the structures.
    """

    summary: Mapping[str, StructureSummary]
    errors: np.ndarray
    structures: tuple[str, ...]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Result:
        """Score the rows of an evaluation with a reference."""
        summary = {s.structure: s for s in summarise(rows, catalogue(keys=METRICS)) if s.cases}
        return cls(summary, dice_errors(rows, list(summary)), tuple(summary))

    def removed(self, names: Sequence[str]) -> str:
        """Mean share of the Dice error that was removed from some structures, with its 95 % interval."""
        at = [self.structures.index(name) for name in names if name in self.structures]
        mean, low, high = reduction_interval(self.errors[..., at])
        return f"{mean:.2f} ({low:.2f} to {high:.2f})"

    @property
    def worse(self) -> Worse:
        """Pairs of case and structure that became worse."""
        return count_worse(self.summary.values())


def score(before: Path, after: Path, truth: Path, workers: int) -> Result:
    """Score the label maps of a folder."""
    settings = EvaluationSettings(metrics=METRICS, workers=workers, parts=False)
    return Result.of(evaluate_folders(before, after, ANATOMY, truth, settings).rows)


def filters(noisy: Path, truth: Path) -> dict[str, Method]:
    """List the filters of label maps; nnU-Net's rule is decided on these cases."""
    pairs = [
        (read_labels(true.labels_path, ANATOMY).labels, read_labels(labels.labels_path, ANATOMY).labels)
        for true, labels in zip(
            discover_cohort(truth, anatomy=ANATOMY), discover_cohort(noisy, anatomy=ANATOMY), strict=True
        )
    ]
    rule = nnunet_rule(pairs, ANATOMY.ids)
    found: dict[str, Method] = {
        "largest component": keep_largest_blobs,
        "nnU-Net's rule": nnunet(rule),
        "majority": _majority,
        "joint Gaussian": joint_gaussian_in_box,
    }
    if importlib.util.find_spec("vtk") is not None:
        found["joint smoothing"] = partial(joint_smoothing, factor=WEAKER_SMOOTHING)
    return found


def _majority(labels: Labels, spacing_mm: tuple[float, float, float]) -> Labels:
    box = tuple(slice(max(int(at.min()) - 3, 0), int(at.max()) + 4) for at in np.nonzero(labels))
    out = np.zeros_like(labels)
    out[box] = majority(labels[box], spacing_mm, ANATOMY)
    return out


def structure_table(title: str, arms: Mapping[str, Result]) -> list[str]:
    """Table of the runs by structure, as Markdown.

    Args:
        title: text of the first heading.
        arms: result of each run, by name.

    Returns:
        The lines.
    """
    headings = [part for arm in arms for part in (f"{arm}: Dice", "removed (95 % interval)", "NSD, 1 mm", "worse")]
    lines = ["| " + " | ".join([title, *headings]) + " |", "|---" * (len(headings) + 1) + "|"]
    for name in next(iter(arms.values())).structures:
        cells = []
        for result in arms.values():
            s = result.summary[name]
            spreads = {key: [s.spreads[key][which].mean for which in ("a", "b")] for key in METRICS}
            dice, nsd = (f"{spreads[key][0]:.3f} > {spreads[key][1]:.3f}" for key in METRICS)
            cells += [dice, result.removed([name]), nsd, f"{s.n_worse or 0}/{s.cases}"]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    for label, names in (("mean of 1 to 8", BULKY), ("mean of all", ANATOMY.names)):
        cells = [cell for one in arms.values() for cell in ("", one.removed(names), "", str(one.worse))]
        lines.append("| " + " | ".join([label, *cells]) + " |")
    return lines


def method_table(methods: Mapping[str, Result]) -> list[str]:
    """Table of all methods, as Markdown: Dice error removed from structures 1 to 8 and all, mean NSD, worse pairs.

    Args:
        methods: result of each method, by name.

    Returns:
        The lines.
    """
    lines = ["| method | removed, 1 to 8 | removed, all | mean NSD, 1 mm | worse |", "|---|---|---|---|---|"]
    for name, result in methods.items():
        nsd = [np.mean([s.spreads["nsd_1mm"][which].mean for s in result.summary.values()]) for which in ("a", "b")]
        cells = [result.removed(BULKY), result.removed(ANATOMY.names), f"{nsd[0]:.3f} > {nsd[1]:.3f}"]
        lines.append("| " + " | ".join([name, *cells, str(result.worse)]) + " |")
    return lines


def measure(cohort: Path, noisy: Path, output: Path, arguments: argparse.Namespace) -> None:
    """Repair and filter one cohort, and print its tables."""
    truth, images, methods = cohort / "labels_true", cohort / "images", dict[str, Result]()
    workers = arguments.workers
    for arm in arguments.arms.split(","):
        request = Request(
            noisy, output / arm, images if arm == "ct" else None, stop_after="fuse", workers=workers
        )  # fmt: skip
        repaired = run(request, load_config(arguments.preset)).output
        methods[{"ct": "with CT", "alone": "labels alone"}[arm]] = score(noisy, repaired, truth, workers)
    console.print(f"\n{output.name}: {len(discover_cohort(noisy, anatomy=ANATOMY))} cases\n")
    console.print("\n".join(structure_table("structure", methods)), soft_wrap=True)
    if arguments.relabel_steps:
        from unet_relabel import UNetSettings, relabel_cohort

        target = output / "unet"
        if not target.is_dir():
            settings = UNetSettings(steps=arguments.relabel_steps, seed=arguments.seed)
            relabel_cohort(noisy, images, target, "heart", settings, None)
        methods["U-Net"] = score(noisy, target, truth, workers)
    if not arguments.no_filters:
        for name, method in filters(noisy, truth).items():
            target = output / name.replace(" ", "_").replace("'", "")
            apply(method, noisy, target)
            methods[name] = score(noisy, target, truth, workers)
    if len(methods) > len(arguments.arms.split(",")):
        console.print("\n" + "\n".join(method_table(methods)), soft_wrap=True)


def main() -> None:
    """Make the cohorts that are missing, and measure each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("--strengths", default="early,middle,converged")
    parser.add_argument("--arms", default="alone,ct", help="alone, ct, or both")
    parser.add_argument("--no-filters", action="store_true", help="leave the filters of label maps out")
    parser.add_argument("--labels", default="", help="folder of COHORT with predictions, in place of new ones")
    parser.add_argument("--relabel-steps", type=int, default=0, help="steps of the U-Net that relabels; 0: without")
    parser.add_argument("--spacing-mm", default="1.5,2", help="voxel size of the network of each fold")
    parser.add_argument("--steps", type=int, default=1500, help="largest number of training steps of a fold")
    parser.add_argument("--every", type=int, default=25, help="training steps between two looks at the Dice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--preset", default="mend")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    output: Path = arguments.output
    if arguments.labels:
        measure(arguments.cohort, arguments.cohort / arguments.labels, output / arguments.labels, arguments)
        return
    # Here, so that predictions that exist are scored without MONAI.
    from network_cohort import NetworkSettings, make_cohorts

    first, second = (float(mm) for mm in arguments.spacing_mm.split(","))
    settings = NetworkSettings((first, second), steps=arguments.steps, every=arguments.every, seed=arguments.seed)
    made = make_cohorts(arguments.cohort, output / "cohorts", ANATOMY, settings, console.print)
    for name in arguments.strengths.split(","):
        measure(made[name], made[name] / "labels_noisy", output / name, arguments)


if __name__ == "__main__":
    main()
