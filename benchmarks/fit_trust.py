#!/usr/bin/env python3
"""Fit and test the estimator of `--uncertainty` on repaired label maps with a known truth.

usage: fit_trust.py collect SAMPLES NAME RUN TRUTH      samples of the voxels and structures of a finished run
       fit_trust.py test SAMPLES [--figure FILE]        tables: hearts left out, kinds of faults left out
       fit_trust.py fit SAMPLES ESTIMATOR               the estimator of all samples, as estimator.json of the package

NAME is FAULT-COHORT-INPUT, such as network-heart_dev-ct: a test that leaves out a kind of faults leaves out all label
sets with this FAULT. RUN is OUT of `heartmend run LABELS`, TRUTH the folder of the true label maps.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy.optimize import brentq, isotonic_regression

from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Structure
from heartmend.geometry.boxes import bounding_box
from heartmend.io.dataset import discover_cohort
from heartmend.io.label_maps import read_labels
from heartmend.metrics.overlap import dice
from heartmend.metrics.segment import segments
from heartmend.metrics.surface import surface_distances
from heartmend.repair.uncertainty.estimator import (
    DICE_FLOOR,
    SURFACE_FLOOR_MM,
    VOXEL_FEATURES,
    Estimator,
    Group,
    Linear,
    LogError,
    Quantiles,
    group_of,
    spread_at,
    voxel_features,
)
from heartmend.repair.uncertainty.evidence import VoxelEvidence, measure_evidence, measure_voxel_evidence
from heartmend.repair.uncertainty.structures import STRUCTURE_FEATURES, judged_structures, structure_features
from heartmend.run_folder.finished import FinishedRun
from heartmend.stages.fuse import FuseSettings, corrected_calibres, fuse_stored_case
from heartmend.types import FloatArray

PER_GROUP = 1000
"""Voxels that are kept of each structure, inside or outside, changed or not."""
PER_CASE = 1500
"""Voxels of a case that the fit draws of these."""
FOLDS = 4
RIDGE = 0.3
"""Penalty of the squared weights of standardised features, in cases."""
PENALTY = 1e-3
"""Penalty of the squared weights of the logistic regression, in voxels."""
COVERAGE = (0.05, 0.95)
HEART = load_anatomy("heart")


@dataclass(frozen=True, eq=False)
class Sample:
    """Samples of a repaired case with its true errors.

    Attributes:
        family: name of the label set.
        case: id of the case; cases of the same id are the same heart in all label sets of a cohort.
        structures: the judged structures that the truth has.
        features: (structure, feature).
        dice: (structure,) true Dice.
        surface_mm: (structure,) true mean surface distance.
        evidence: of the sampled voxels.
        wrong: (n,) bool.
        weight: (n,) voxels that each stands for.
    """

    family: str
    case: str
    structures: list[Structure]
    features: FloatArray
    dice: FloatArray
    surface_mm: FloatArray
    evidence: VoxelEvidence
    wrong: npt.NDArray[np.bool_]
    weight: FloatArray

    @property
    def fault(self) -> str:
        """Kind of the faults of its label set."""
        return self.family.split("-")[0]

    @property
    def heart(self) -> int:
        """Number of the heart, for folds."""
        return int("".join(c for c in self.case if c.isdigit()) or 0)

    def write(self, folder: Path) -> None:
        """Write the sample."""
        target = folder / self.family
        target.mkdir(parents=True, exist_ok=True)
        evidence = {f"evidence_{one.name}": getattr(self.evidence, one.name) for one in fields(VoxelEvidence)}
        np.savez_compressed(
            target / f"{self.case}.npz", ids=[s.id for s in self.structures], features=self.features, dice=self.dice,
            surface_mm=self.surface_mm, wrong=self.wrong, weight=self.weight, **evidence,
        )  # fmt: skip

    @classmethod
    def read(cls, path: Path) -> Sample:
        """Read a sample."""
        with np.load(path) as found:
            evidence = VoxelEvidence(**{one.name: found[f"evidence_{one.name}"] for one in fields(VoxelEvidence)})
            structures = [HEART.by_id(int(id)) for id in found["ids"]]
            return cls(
                path.parent.name, path.stem, structures, found["features"], found["dice"], found["surface_mm"],
                evidence, found["wrong"], found["weight"],
            )  # fmt: skip


def collect(samples: Path, name: str, run: Path, truth: Path, console: Console) -> None:
    """Sample every case of a finished run."""
    finished = FinishedRun.open(run)
    true = discover_cohort(truth, anatomy=finished.anatomy)
    calibres = corrected_calibres(finished.run, finished.run.statistics(finished.run.prepared_ids()).calibres)
    for case in finished:
        if (samples / name / f"{case.id}.npz").exists():
            continue
        fused = fuse_stored_case(
            finished.run, finished.cohort, case, finished.cohort.read_labels(case), FuseSettings(), (), calibres
        )
        judged, true_labels = fused.judged, read_labels(true[case.id].labels_path, finished.anatomy).labels
        assert judged is not None
        evidence = measure_voxel_evidence(judged, measure_evidence(judged, finished.anatomy))
        found = judged_structures(judged, finished.anatomy)
        features = structure_features(judged, evidence, found)
        kept = [at for at, s in enumerate(found) if (true_labels == s.id).any()]
        spacing = judged.spacing_mm
        errors = np.array([_errors(fused.labels == found[at].id, true_labels == found[at].id, spacing) for at in kept])
        box = finished.run.roi(case.id).source_box()
        wrong = np.ascontiguousarray(true_labels[box]).ravel()[evidence.voxels] != evidence.label
        at, weight = _draw(evidence)
        Sample(
            name, case.id, [found[k] for k in kept], features[kept], errors[:, 0], errors[:, 1],
            _picked(evidence, at), wrong[at], weight,
        ).write(samples)  # fmt: skip
        console.print(f"{name} {case.id}: {np.mean(wrong):.4f} of {len(wrong)} voxels wrong")


def _errors(repaired: npt.NDArray[np.bool_], true: npt.NDArray[np.bool_], spacing: Sequence[float]) -> list[float]:
    box = bounding_box(repaired | true, [1, 1, 1])
    assert box is not None
    a, b = (np.ascontiguousarray(mask[box]) for mask in (repaired, true))
    return [dice(a, b), surface_distances(*segments((a, b), spacing)).mean_mm()]


def _draw(evidence: VoxelEvidence) -> tuple[npt.NDArray[np.intp], FloatArray]:
    random = np.random.default_rng(0)
    own = np.where(evidence.label > 0, evidence.label, evidence.other).astype(int)
    group = own * 4 + (evidence.label > 0) * 2 + evidence.changed
    at, weight = [], []
    for one in np.unique(group):
        members = np.flatnonzero(group == one)
        picked = random.choice(members, min(PER_GROUP, len(members)), replace=False)
        at.append(picked)
        weight.append(np.full(len(picked), len(members) / len(picked)))
    return np.concatenate(at), np.concatenate(weight)


def _picked(evidence: VoxelEvidence, at: npt.NDArray[np.intp]) -> VoxelEvidence:
    return VoxelEvidence(**{one.name: getattr(evidence, one.name)[at] for one in fields(VoxelEvidence)})


def fit(samples: list[Sample]) -> Estimator:
    """Fit the estimator; its intervals are quantiles of the errors on hearts that were left out."""
    weights = _case_weights(samples)
    dice, _ = _log_error(samples, weights, [np.log(1 - one.dice + DICE_FLOOR) for one in samples])
    surface, predicted = _log_error(samples, weights, [np.log(one.surface_mm + SURFACE_FLOOR_MM) for one in samples])
    random, parts = np.random.default_rng(0), []
    for one, log_mm, weight in zip(samples, predicted, weights, strict=True):
        at = random.choice(len(one.wrong), min(PER_CASE, len(one.wrong)), replace=False)
        rows = voxel_features(_picked(one.evidence, at), one.structures, log_mm)
        parts.append((rows, one.wrong[at], weight * one.weight[at] / one.weight[at].sum()))
    rows, wrong, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    voxel = _logistic(rows, wrong, weight)
    calibration = _isotonic(1 / (1 + np.exp(-voxel(rows))), wrong.astype(float), weight)
    families = tuple(sorted({one.family for one in samples}))
    return Estimator(fitted_on=families, dice=dice, surface=surface, voxel=voxel, calibration=calibration)


def _log_error(
    samples: list[Sample], weights: FloatArray, values: list[FloatArray]
) -> tuple[LogError, list[FloatArray]]:
    """Fit the estimate of a logarithm; also its values for each case by the fit without this heart."""
    counts = [len(one.structures) for one in samples]
    features, truth = np.concatenate([one.features for one in samples]), np.concatenate(values)
    weight = np.repeat(weights / np.maximum(counts, 1), counts)
    fold = np.repeat([one.heart % FOLDS for one in samples], counts)
    structures = [s for one in samples for s in one.structures]
    kinds, groups = np.array([s.kind for s in structures]), np.array([group_of(s) for s in structures])
    predicted, scaled = np.zeros(len(truth)), np.zeros(len(truth))
    mean: dict[Group, Linear] = {}
    spread: dict[Group, tuple[float, float]] = {}
    for group in get_args(Group):
        own = groups == group
        mean[group] = _ridge(STRUCTURE_FEATURES, features[own], truth[own], weight[own])
        for one in range(FOLDS):
            inner, outer = own & (fold != one), own & (fold == one)
            predicted[outer] = _ridge(STRUCTURE_FEATURES, features[inner], truth[inner], weight[inner])(features[outer])
        size = np.abs(truth - predicted)[own]
        slope, level = np.polyfit(predicted[own], size, 1, w=np.sqrt(weight[own]))
        spread[group] = round(float(level), 4), round(float(slope), 4)
        scaled[own] = (truth - predicted)[own] / spread_at(spread[group], predicted[own])
    quantiles = {}
    for kind in np.unique(kinds):
        own = kinds == kind
        low, high = _quantiles(scaled[own], weight[own])
        line = spread[group_of(structures[int(np.flatnonzero(own)[0])])]
        shift = _mean_shift(truth[own], predicted[own], spread_at(line, predicted[own]), weight[own])
        quantiles[str(kind)] = Quantiles(low=round(low, 4), high=round(high, 4), mean=round(shift, 4))
    found = LogError(mean=mean, spread=spread, quantiles=quantiles)
    return found, np.split(predicted, np.cumsum(counts)[:-1])


def _case_weights(samples: list[Sample]) -> FloatArray:
    """Every label set has the same weight; the sum is the number of cases."""
    families = [one.family for one in samples]
    return np.array([len(samples) / len(set(families)) / families.count(name) for name in families])


def _standardised(features: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    mean = np.average(features, axis=0, weights=weights)
    return mean, np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weights)) + 1e-3


def _ridge(names: tuple[str, ...], features: FloatArray, values: FloatArray, weights: FloatArray) -> Linear:
    mean, scale = _standardised(features, weights)
    x, intercept = (features - mean) / scale, float(np.average(values, weights=weights))
    c = np.linalg.solve(
        x.T @ (x * weights[:, None]) + RIDGE * np.eye(x.shape[1]), x.T @ (weights * (values - intercept))
    )
    return _linear(names, mean, scale, c, intercept)


def _logistic(features: FloatArray, wrong: npt.NDArray[np.bool_], weights: FloatArray) -> Linear:
    """Logistic regression by Newton's method."""
    features = features.astype(np.float64)
    mean, scale = _standardised(features, weights)
    x = np.column_stack([np.ones(len(features)), (features - mean) / scale])
    penalty = PENALTY * weights.sum() * np.diag([0.0, *np.ones(x.shape[1] - 1)])

    def loss(c: FloatArray) -> float:
        margin = np.where(wrong, 1, -1) * (x @ c)
        return float(weights @ np.logaddexp(0, -margin) + c @ penalty @ c / 2)

    share = np.average(wrong, weights=weights)
    c = np.array([np.log(share / (1 - share)), *np.zeros(x.shape[1] - 1)])
    for _ in range(40):
        p = 1 / (1 + np.exp(-np.clip(x @ c, -30, 30)))
        gradient = x.T @ (weights * (wrong - p)) - penalty @ c
        step = np.linalg.solve(x.T @ (x * (weights * p * (1 - p))[:, None]) + penalty, gradient)
        while loss(c + step) > loss(c) and np.abs(step).max() > 1e-6:
            step /= 2
        c = c + step
        if np.abs(step).max() < 1e-4:
            break
    return _linear(VOXEL_FEATURES, mean, scale, c[1:], float(c[0]))


def _isotonic(p: FloatArray, wrong: FloatArray, weight: FloatArray) -> tuple[tuple[float, float], ...]:
    """Ascending shares of wrong voxels at ascending probabilities, from the means of bins that are narrow near 0."""
    number, points = np.minimum((np.sqrt(p) * 25).astype(int), 24), []
    for one in np.unique(number):
        at = number == one
        points.append(
            (np.average(p[at], weights=weight[at]), np.average(wrong[at], weights=weight[at]), weight[at].sum())
        )
    before, after, weights = (np.array(column) for column in zip(*points, strict=True))
    ascending = isotonic_regression(after, weights=weights).x
    return tuple((float(f"{a:.4g}"), float(f"{b:.4g}")) for a, b in zip(before, ascending, strict=True))


def _linear(names: tuple[str, ...], mean: FloatArray, scale: FloatArray, c: FloatArray, intercept: float) -> Linear:
    rounded = ([float(f"{v:.6g}") for v in one] for one in (mean, scale, c))
    means, scales, weights = rounded
    return Linear(
        features=names, mean=tuple(means), scale=tuple(scales), coefficients=tuple(weights),
        intercept=float(f"{intercept:.6g}"),
    )  # fmt: skip


def _quantiles(values: FloatArray, weights: FloatArray) -> tuple[float, float]:
    order = np.argsort(values)
    share = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    low, high = (float(np.interp(q, share, values[order])) for q in COVERAGE)
    return low, high


def _mean_shift(truth: FloatArray, predicted: FloatArray, spread: FloatArray, weights: FloatArray) -> float:
    """The shift in spreads with which the mean of the estimated errors is that of the true ones."""
    mean = np.average(np.exp(truth), weights=weights)
    return float(brentq(lambda shift: np.average(np.exp(predicted + shift * spread), weights=weights) - mean, -30, 30))


def report(samples: list[Sample], console: Console, figure: Path | None = None) -> None:
    """Print the tables, with each heart and each kind of faults left out."""
    families = sorted({one.family for one in samples})
    hearts: dict[str, list[tuple[Sample, Estimator]]] = {name: [] for name in families}
    for fold in range(FOLDS):
        estimator = fit([one for one in samples if one.heart % FOLDS != fold])
        for one in samples:
            if one.heart % FOLDS == fold:
                hearts[one.family].append((one, estimator))
    _table("hearts left out", hearts, console)
    faults: dict[str, list[tuple[Sample, Estimator]]] = {name: [] for name in families}
    for fault in sorted({one.fault for one in samples}):
        estimator = fit([one for one in samples if one.fault != fault])
        for one in samples:
            if one.fault == fault:
                faults[one.family].append((one, estimator))
    _table("kind of faults left out", faults, console)
    if figure is not None:
        _draw_reliability({"hearts left out": hearts, "kind of faults left out": faults}, figure)


def _table(title: str, found: dict[str, list[tuple[Sample, Estimator]]], console: Console) -> None:
    table = Table(title=title)
    headings = ("labels", "cases", "Dice true", "expected", "in 90 %", "width", "ASSD true", "expected", "in 90 %",
                "rank correlation", "half of error in", "best", "voxels wrong", "expected", "ECE")  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "labels" else "right")
    for name, members in [*found.items(), ("all", [one for own in found.values() for one in own])]:
        true, mean, low, high = (_all(members, key) for key in ("dice", "mean", "low", "high"))
        true_mm, mean_mm, low_mm, high_mm = (_all(members, key) for key in ("mm", "mean_mm", "low_mm", "high_mm"))
        p, wrong, weight = _voxels(members)
        bins = _bins(p, wrong, weight)
        ranks = [np.argsort(np.argsort(values)) for values in (true, mean)]
        table.add_row(
            name, str(len(members)), f"{true.mean():.3f}", f"{mean.mean():.3f}",
            f"{((low <= true) & (true <= high)).mean():.2f}", f"{(high - low).mean():.3f}", f"{true_mm.mean():.2f}",
            f"{mean_mm.mean():.2f}", f"{((low_mm <= true_mm) & (true_mm <= high_mm)).mean():.2f}",
            f"{np.corrcoef(*ranks)[0, 1]:.2f}",
            f"{_half(1 - true, 1 - mean):.2f}", f"{_half(1 - true, 1 - true):.2f}",
            f"{np.average(wrong, weights=weight):.4f}",
            f"{np.average(p, weights=weight):.4f}", f"{sum(w * abs(a - b) for w, a, b in bins):.4f}",
        )  # fmt: skip
    console.print(table)


def _half(errors: FloatArray, order: FloatArray) -> float:
    """Share of the structures, those first of which `order` is largest, that have half of all errors."""
    found = np.cumsum(errors[np.argsort(-order, kind="stable")]) / errors.sum()
    return float(np.searchsorted(found, 0.5) + 1) / len(errors)


def _all(members: list[tuple[Sample, Estimator]], key: str) -> FloatArray:
    values: list[FloatArray] = []
    read: dict[str, Callable[[object], float]] = {
        "mean": lambda e: e.dice, "low": lambda e: e.dice_low, "high": lambda e: e.dice_high,  # type: ignore[attr-defined]
        "mean_mm": lambda e: e.surface_mm, "low_mm": lambda e: e.surface_low_mm,  # type: ignore[attr-defined]
        "high_mm": lambda e: e.surface_high_mm,  # type: ignore[attr-defined]
    }  # fmt: skip
    for sample, estimator in members:
        if key in ("dice", "mm"):
            values.append(sample.dice if key == "dice" else sample.surface_mm)
        else:
            values.append(np.array([read[key](e) for e in estimator.estimates(sample.structures, sample.features)]))
    return np.concatenate(values)


def _voxels(members: list[tuple[Sample, Estimator]]) -> tuple[FloatArray, FloatArray, FloatArray]:
    p = [estimator.probability(one.evidence, one.structures, one.features) for one, estimator in members]
    weight = [one.weight / one.weight.sum() for one, _ in members]
    return (
        np.concatenate(p).astype(float),
        np.concatenate([one.wrong for one, _ in members]).astype(float),
        np.concatenate(weight),
    )


def _bins(p: FloatArray, wrong: FloatArray, weight: FloatArray, count: int = 15) -> list[tuple[float, float, float]]:
    """Share of the voxels, mean probability and share of wrong ones in each bin of the probability."""
    number, found = np.minimum((p * count).astype(int), count - 1), []
    for one in np.unique(number):
        at = number == one
        share = weight[at].sum() / weight.sum()
        found.append((share, np.average(p[at], weights=weight[at]), np.average(wrong[at], weights=weight[at])))
    return found


def _draw_reliability(tests: dict[str, dict[str, list[tuple[Sample, Estimator]]]], path: Path) -> None:
    import matplotlib.pyplot as plt

    drawing, axes = plt.subplots(1, len(tests), figsize=(5 * len(tests), 4.6), sharey=True)
    for ax, (title, found) in zip(axes, tests.items(), strict=True):
        ax.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for name, members in found.items():
            bins = [(p, wrong) for share, p, wrong in _bins(*_voxels(members), count=10) if share > 2e-4]
            ax.plot(*zip(*bins, strict=True), marker="o", markersize=3, label=name)
        ax.set(title=title, xlabel="probability of an error", ylabel="share of wrong voxels", xlim=(0, 1), ylim=(0, 1))
    axes[0].legend(fontsize=7)
    drawing.tight_layout()
    drawing.savefig(path, dpi=110)


def main() -> None:
    """Collect samples, test, or fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, names in (("collect", ("name", "run", "truth")), ("test", ()), ("fit", ("estimator",))):
        command = commands.add_parser(name)
        command.add_argument("samples", type=Path)
        for argument in names:
            command.add_argument(argument, type=str if argument == "name" else Path)
    commands.choices["test"].add_argument("--figure", type=Path)
    arguments, console = parser.parse_args(), Console(width=170)
    if arguments.command == "collect":
        collect(arguments.samples, arguments.name, arguments.run, arguments.truth, console)
        return
    samples = [Sample.read(path) for path in sorted(arguments.samples.glob("*/*.npz"))]
    if arguments.command == "test":
        report(samples, console, arguments.figure)
    else:
        arguments.estimator.write_text(fit(samples).model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    main()
