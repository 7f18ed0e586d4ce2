"""Tables and figure of `fit_trust.py test`: estimates beside the truth, by label set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from cohort_score import reduction_interval
from rich.console import Console
from rich.table import Table
from trust_fit import case_weights, fit_log_error
from trust_judged import Fit, Judged, Tally, kind_shares, kinds_spread, leave_out, voxels
from trust_order import LabelSet, print_order
from trust_samples import Sample, short_names

from heartmend.metrics.statistics import bootstrap_interval
from heartmend.metrics.summary import WORSE_BY, Worse
from heartmend.repair.uncertainty.estimator import DICE_FLOOR
from heartmend.types import FloatArray

FOLDS = 4
IGNORED_ABOVE = (0.15, 0.2, 0.3)
TestResult = Mapping[str, Sequence[Judged]]
"""Judged cases by label set."""


def by_heart(samples: Sequence[Sample]) -> Callable[[Sample], object]:
    """Parts with all label sets of a quarter of the hearts each."""
    hearts = sorted({one.heart for one in samples})
    return lambda sample: hearts.index(sample.heart) % FOLDS


def by_fault(sample: Sample) -> object:
    """Parts with all label sets with one kind of faults each."""
    return sample.fault


def tables(title: str, found: TestResult) -> list[Table]:
    """Make the tables of a test: Dice, surface distance, voxels; means with 95 % intervals over the cases.

    The last row is the mean of the kinds of faults, each with the same weight, with its interval over the kinds. Width:
    median of the intervals.
    """
    tallies = {name: Tally.of(members) for name, members in found.items()}
    rows = {name: tally.spread() for name, tally in tallies.items()}
    mean = kinds_spread([(name.split("-")[0], tally) for name, tally in tallies.items()])
    everything = [one for members in found.values() for one in members]
    parts, short = {**found, "mean of kinds": everything}, short_names(found)

    def made(subject: str, headings: Sequence[str], cells: Callable[[str, list[str]], list[str]]) -> Table:
        table = Table(title=f"{title}: {subject}")
        for at, heading in enumerate(("labels", "cases", *headings)):
            table.add_column(heading, justify="right" if at else "left", no_wrap=not at)
        for name, (means, spans) in {**rows, "mean of kinds": mean}.items():
            if name not in rows:
                table.add_section()
            table.add_row(short.get(name, name), str(len(parts[name])), *cells(name, _texts(means, spans)))
        return table

    def dice_cells(name: str, texts: list[str]) -> list[str]:
        sets = [found[name]] if name in found else list(found.values())
        halves = np.mean([_halves(one) for one in sets], axis=0)
        return [*texts[:3], _width(parts[name], "dice", ""), *(f"{half:.2f}" for half in halves)]

    headings = ("true", "expected", "in 90 %")
    return [
        made("Dice", (*headings, "width", "half of error in", "best"), dice_cells),
        made(
            "mean surface distance, mm", (*headings, "width"),
            lambda name, texts: [*texts[3:6], _width(parts[name], "surface", "_mm")],
        ),
        made("voxels", ("wrong", "expected", "ECE"), lambda name, texts: texts[6:]),
    ]  # fmt: skip


def _texts(means: FloatArray, spans: FloatArray) -> list[str]:
    digits = (3, 3, 2, 2, 2, 2, 3, 3, 3)
    return [f"{m:.{n}f} ({a:.{n}f} to {b:.{n}f})" for m, a, b, n in zip(means, *spans, digits, strict=True)]


def _width(members: Sequence[Judged], name: str, unit: str) -> str:
    widths = [one.estimated(f"{name}_high{unit}") - one.estimated(f"{name}_low{unit}") for one in members]
    return f"{np.median(np.concatenate(widths)):.2f}"


def _halves(members: Sequence[Judged]) -> tuple[float, float]:
    true = 1 - np.concatenate([one.sample.error("dice") for one in members])
    return half_of_error(true, 1 - np.concatenate([one.estimated("dice") for one in members])), half_of_error(
        true, true
    )


def half_of_error(errors: FloatArray, order: FloatArray) -> float:
    """Share of the structures, those first of which `order` is largest, that have half of all errors."""
    found = np.cumsum(errors[np.argsort(-order, kind="stable")]) / errors.sum()
    return float(np.searchsorted(found, 0.5) + 1) / len(errors)


def bins(p: FloatArray, wrong: FloatArray, weight: FloatArray, count: int) -> list[tuple[float, float, float]]:
    """Share of the voxels, mean probability and share of wrong ones in each bin of the probability."""
    number, found = np.minimum((p * count).astype(int), count - 1), []
    for one in np.unique(number):
        at = number == one
        share = weight[at].sum() / weight.sum()
        found.append((share, np.average(p[at], weights=weight[at]), np.average(wrong[at], weights=weight[at])))
    return found


def draw_reliability(tests: Mapping[str, TestResult], path: Path) -> None:
    """Draw the share of wrong voxels against their probability, for each test and label set, and for all kinds."""
    import matplotlib.pyplot as plt

    drawing, axes = plt.subplots(1, len(tests), figsize=(4.6 * len(tests) + 2, 4.8), sharey=True)
    for ax, (title, found) in zip(axes, tests.items(), strict=True):
        ax.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        everything = [one for members in found.values() for one in members]
        short, lines = short_names(found), {name: voxels(members) for name, members in found.items()}
        lines["all kinds, each with the same weight"] = voxels(everything, kind_shares(everything))
        for at, (name, judged) in enumerate(lines.items()):
            points = [(p, wrong) for share, p, wrong in bins(*judged, count=10) if share > 5e-4]
            style = {"color": plt.get_cmap("tab20")(at), "markersize": 3, "linewidth": 1.0}
            if name not in found:
                style = {"color": "black", "markersize": 5, "linewidth": 2.5}
            ax.plot(*zip(*points, strict=True), marker="o", label=short.get(name, name), **style)
        ax.set(title=title, xlabel="probability of an error", ylabel="share of wrong voxels", xlim=(0, 1), ylim=(0, 1))
    axes[-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    drawing.tight_layout()
    drawing.savefig(path, dpi=110)


def ignored_table(title: str, found: TestResult) -> Table:
    """Make the table of the voxels that `export --ignore-above` leaves out, as shares of those that are judged."""
    made = Table(title=f"ignored voxels, {title}")
    for heading in ("labels", "above", "ignored", "of these wrong", "of all wrong voxels"):
        made.add_column(heading, justify="left" if heading == "labels" else "right")
    short = short_names(found)
    for name, members in found.items():
        p, wrong, weight = voxels(members)
        for above in IGNORED_ABOVE:
            out = p > above
            inside, caught = weight[out].sum(), weight[out] @ wrong[out]
            shares = inside / weight.sum(), caught / inside if inside else np.nan, caught / (weight @ wrong)
            made.add_row(short[name], f"{above:g}", *(f"{100 * share:.1f} %" for share in shares))
    return made


def harm_table(samples: Sequence[Sample]) -> Table:
    """Worse structures and error removed by the acceptance test, and where the expected error chooses the map too.

    The chosen map of a structure is the repaired or the original one, whichever has the lower expected error, by
    estimates of both that were fitted to the other kinds of faults. The error removed is the mean of the label sets,
    with its interval over them.
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
        low, high = bootstrap_interval(np.array(shares))
        mean = f"{np.mean(shares):.3f} ({low:.3f} to {high:.3f})"
        made.add_row(name, str(originals), str(Worse.of(worse, pairs)), mean)
    return made


def worse_table(samples: Sequence[Sample]) -> Table:
    """Make the table of what the repair did to each label set: worse structures, Dice error removed with its interval.

    The error removed is the mean over the structures, its interval that over the cases.
    """
    made = Table("labels", "worse", "Dice error removed (95 % interval)", title="repaired label sets")
    sets: dict[str, list[Sample]] = {}
    for one in samples:
        sets.setdefault(one.family, []).append(one)
    short = short_names(sets)
    for name, own in sets.items():
        ids = sorted({s.id for one in own for s in one.structures})
        errors = np.full((2, len(own), len(ids)), np.nan)
        worse = pairs = 0
        for case, one in enumerate(own):
            at = [ids.index(s.id) for s in one.structures]
            before, after = one.error("dice_before"), one.error("dice")
            errors[:, case, at] = 1 - before, 1 - after
            lower = (after < before - WORSE_BY) & (one.error("nsd") < one.error("nsd_before") - WORSE_BY)
            worse, pairs = worse + int(lower.sum()), pairs + len(at)
        mean, low, high = reduction_interval(errors)
        made.add_row(short[name], str(Worse.of(worse, pairs)), f"{mean:.2f} ({low:.2f} to {high:.2f})")
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
        for made in (*tables(title, found), ignored_table(title, found)):
            console.print(made)
    print_order(label_sets(tests["kind of faults left out"]), console, order_figure)
    for made in (harm_table(samples), worse_table(samples)):
        console.print(made)
    if figure is not None:
        draw_reliability(tests, figure)
