"""Tables and figure of `fit_trust.py test`: estimates beside the truth, by label set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from trust_fit import case_weights, fit_log_error
from trust_order import LabelSet, print_order
from trust_samples import Sample

from heartmend.metrics.summary import WORSE_BY, Worse
from heartmend.repair.uncertainty.estimate import StructureEstimate
from heartmend.repair.uncertainty.estimator import DICE_FLOOR, Estimator
from heartmend.types import FloatArray

FOLDS = 4
BINS = 15
Fit = Callable[[Sequence[Sample]], Estimator]


@dataclass(frozen=True, eq=False)
class Judged:
    """A case and its estimates by an estimator that was not fitted to it.

    Attributes:
        sample: the case.
        estimates: of its structures.
        probability: (n,) of its sampled voxels.
    """

    sample: Sample
    estimates: list[StructureEstimate]
    probability: npt.NDArray[np.float32]

    @classmethod
    def of(cls, sample: Sample, estimator: Estimator) -> Judged:
        """Judge a case."""
        estimates = estimator.estimates(sample.structures, sample.features)
        return cls(sample, estimates, estimator.probability(sample.evidence, sample.structures, sample.features))


def leave_out(samples: Sequence[Sample], part: Callable[[Sample], object], fit: Fit) -> dict[str, list[Judged]]:
    """Judge each case by an estimator that was fitted to the other parts; the cases by label set."""
    found: dict[str, list[Judged]] = {name: [] for name in sorted({one.family for one in samples})}
    for own in dict.fromkeys(map(part, samples)):
        estimator = fit([one for one in samples if part(one) != own])
        for one in samples:
            if part(one) == own:
                found[one.family].append(Judged.of(one, estimator))
    return found


def by_heart(samples: Sequence[Sample]) -> Callable[[Sample], object]:
    """Parts with all label sets of a quarter of the hearts each."""
    hearts = sorted({one.heart for one in samples})
    return lambda sample: hearts.index(sample.heart) % FOLDS


def by_fault(sample: Sample) -> object:
    """Parts with all label sets with one kind of faults each."""
    return sample.fault


HEADINGS = (
    "labels", "cases", "Dice, true", "expected", "in 90 %", "width", "ASSD, true", "expected", "in 90 %", "width",
    "half of error in", "best", "voxels wrong", "expected", "ECE",
)  # fmt: skip


def table(title: str, found: Mapping[str, Sequence[Judged]]) -> Table:
    """Make the table of a test; its last row is the mean of the kinds of faults, each with the same weight."""
    made = Table(title=f"{title}; width: median of the intervals")
    for at, heading in enumerate(HEADINGS):
        made.add_column(heading, justify="right" if at else "left", no_wrap=not at)
    rows = {name: _row(members) for name, members in found.items()}
    for name, row in rows.items():
        made.add_row(name, str(len(found[name])), *_texts(row))
    kinds: dict[str, list[FloatArray]] = {}
    for name, row in rows.items():
        kinds.setdefault(name.split("-")[0], []).append(row)
    mean = np.mean([np.mean(own, axis=0) for own in kinds.values()], axis=0)
    # Voxels of all kinds in the same bins: what is too high for one kind may be too low for another.
    everything = [one for members in found.values() for one in members]
    share = {one.sample.fault: 1 / sum(o.sample.fault == one.sample.fault for o in everything) for one in everything}
    mean[-1] = calibration_error(*voxels(everything, [share[one.sample.fault] for one in everything]))
    made.add_section()
    made.add_row("mean of kinds, ECE of all", str(len(everything)), *_texts(mean))
    return made


def _row(members: Sequence[Judged]) -> FloatArray:
    true = np.concatenate([one.sample.error("dice") for one in members])
    true_mm = np.concatenate([one.sample.error("surface_mm") for one in members])
    all_ = [estimate for one in members for estimate in one.estimates]
    mean, low, high = (np.array([getattr(e, name) for e in all_]) for name in ("dice", "dice_low", "dice_high"))
    mean_mm, low_mm, high_mm = (
        np.array([getattr(e, name) for e in all_]) for name in ("surface_mm", "surface_low_mm", "surface_high_mm")
    )
    p, wrong, weight = voxels(members)
    # Estimates are rounded: to 0.0001 and 0.001 mm.
    inside = (low - 1e-4 <= true) & (true <= high + 1e-4)
    inside_mm = (low_mm - 1e-3 <= true_mm) & (true_mm <= high_mm + 1e-3)
    return np.array([
        true.mean(), mean.mean(), inside.mean(), np.median(high - low),
        true_mm.mean(), mean_mm.mean(), inside_mm.mean(), np.median(high_mm - low_mm),
        half_of_error(1 - true, 1 - mean), half_of_error(1 - true, 1 - true),
        np.average(wrong, weights=weight), np.average(p, weights=weight), calibration_error(p, wrong, weight),
    ])  # fmt: skip


def _texts(row: FloatArray) -> list[str]:
    digits = (3, 3, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3)
    return [f"{value:.{n}f}" for value, n in zip(row, digits, strict=True)]


def half_of_error(errors: FloatArray, order: FloatArray) -> float:
    """Share of the structures, those first of which `order` is largest, that have half of all errors."""
    found = np.cumsum(errors[np.argsort(-order, kind="stable")]) / errors.sum()
    return float(np.searchsorted(found, 0.5) + 1) / len(errors)


def voxels(
    members: Sequence[Judged], shares: Iterable[float] | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Probability, error (0 or 1) and weight of the sampled voxels; every case has the same weight, or its share."""
    shares = [1.0] * len(members) if shares is None else shares
    weights = [share * one.sample.weight / one.sample.weight.sum() for one, share in zip(members, shares, strict=True)]
    p = np.concatenate([one.probability for one in members]).astype(float)
    wrong = np.concatenate([one.sample.wrong for one in members]).astype(float)
    return p, wrong, np.concatenate(weights)


def bins(p: FloatArray, wrong: FloatArray, weight: FloatArray, count: int = BINS) -> list[tuple[float, float, float]]:
    """Share of the voxels, mean probability and share of wrong ones in each bin of the probability."""
    number, found = np.minimum((p * count).astype(int), count - 1), []
    for one in np.unique(number):
        at = number == one
        share = weight[at].sum() / weight.sum()
        found.append((share, np.average(p[at], weights=weight[at]), np.average(wrong[at], weights=weight[at])))
    return found


def calibration_error(p: FloatArray, wrong: FloatArray, weight: FloatArray) -> float:
    """The expected calibration error (ECE)."""
    return float(sum(share * abs(before - after) for share, before, after in bins(p, wrong, weight)))


def draw_reliability(tests: Mapping[str, Mapping[str, Sequence[Judged]]], path: Path) -> None:
    """Draw the share of wrong voxels against their probability, for each test and label set."""
    import matplotlib.pyplot as plt

    drawing, axes = plt.subplots(1, len(tests), figsize=(5.4 * len(tests), 5), sharey=True)
    for ax, (title, found) in zip(axes, tests.items(), strict=True):
        ax.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for at, (name, members) in enumerate(found.items()):
            points = [(p, wrong) for share, p, wrong in bins(*voxels(members), count=10) if share > 5e-4]
            ax.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name, color=plt.get_cmap("tab20")(at))
        ax.set(title=title, xlabel="probability of an error", ylabel="share of wrong voxels", xlim=(0, 1), ylim=(0, 1))
    axes[0].legend(fontsize=7)
    drawing.tight_layout()
    drawing.savefig(path, dpi=110)


def harm_table(samples: Sequence[Sample]) -> Table:
    """Worse structures and error removed by the acceptance test, and where the expected error chooses the map too.

    The chosen map of a structure is the repaired or the original one, whichever has the lower expected error, by
    estimates of both that were fitted to the other kinds of faults.
    """
    weights = case_weights(samples)
    logs = [
        fit_log_error(samples, weights, [np.log(1 - one.error(name) + DICE_FLOOR) for one in samples])[1]
        for name in ("dice", "dice_before")
    ]
    repaired = [after <= before for after, before in zip(*logs, strict=True)]
    better = [one.error("dice") >= one.error("dice_before") for one in samples]
    made = Table("map of a structure", "originals chosen", "worse", "Dice error removed", title="do no harm")
    everything = [np.ones(len(one), bool) for one in better]
    choices = {"repaired": everything, "lower expected error": repaired, "lower true error": better}
    for name, chosen in choices.items():
        worse, removed = 0, dict[str, list[FloatArray]]()
        for one, keep in zip(samples, chosen, strict=True):
            before, nsd_before = one.error("dice_before"), one.error("nsd_before")
            dice, nsd = np.where(keep, one.error("dice"), before), np.where(keep, one.error("nsd"), nsd_before)
            worse += int(np.sum((dice < before - WORSE_BY) & (nsd < nsd_before - WORSE_BY)))
            removed.setdefault(one.family, []).append(np.array([1 - dice, 1 - before]))
        shares = [1 - np.divide(*np.concatenate(own, axis=1).mean(axis=1)) for own in removed.values()]
        pairs = sum(map(len, chosen))
        originals = pairs - int(sum(map(np.sum, chosen)))
        made.add_row(name, str(originals), str(Worse.of(worse, pairs)), f"{np.mean(shares):.3f}")
    return made


def label_sets(found: Mapping[str, Sequence[Judged]]) -> list[LabelSet]:
    """Collect the structures of each label set, with the estimates of a test."""
    return [
        LabelSet.of(
            name, [one.sample for one in members],
            np.concatenate([[estimate.expected_error for estimate in one.estimates] for one in members]),
        )
        for name, members in found.items()
    ]  # fmt: skip


def print_tables(
    samples: Sequence[Sample], fit: Fit, console: Console, figure: Path | None = None, order_figure: Path | None = None
) -> None:
    """Print the tables, with each heart and each kind of faults left out."""
    tests = {
        "hearts left out": leave_out(samples, by_heart(samples), fit),
        "kind of faults left out": leave_out(samples, by_fault, fit),
    }
    for title, found in tests.items():
        console.print(table(title, found))
    print_order(label_sets(tests["kind of faults left out"]), console, order_figure)
    console.print(harm_table(samples))
    if figure is not None:
        draw_reliability(tests, figure)
