"""Order of review in the label sets of `fit_trust.py`: how much of the error that is left is met first.

The powers of `heartmend.review.priority` are those with which the shares of the error of a label set agree best with
the true ones (the cross entropy of both, as ListNet of Cao et al. 2007): what differs between label sets has no
influence. For each kind of faults they are fitted to the other kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize
from trust_samples import Sample, short_names

from heartmend.metrics.statistics import COVERAGE, RESAMPLES, bootstrap_interval
from heartmend.repair.editing.correction_time import correction_minutes
from heartmend.review import priority
from heartmend.types import FloatArray

LOOKED_AT = 0.2
PENALTY = 0.1
"""Penalty of the squared powers of standardised quantities, in label sets."""
SHARES = tuple(np.linspace(0, 1, 41)[1:])


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Structures of a label set, all of its cases together.

    Attributes:
        name: the label set.
        terms: (structure, 3) logarithms that the powers multiply: area / volume, what was changed, unusual volume.
        estimated: expected Dice error by the calibrated estimate, fitted to other kinds of faults; empty if not known.
        volume_change: change of the logarithm of the volume by the repair.
        changed: 1 - Dice between before and after.
        minutes: time of a correction.
        error: true 1 - Dice.
        case: number of the case of each structure.
    """

    name: str
    terms: FloatArray
    estimated: FloatArray
    volume_change: FloatArray
    changed: FloatArray
    minutes: FloatArray
    error: FloatArray
    case: npt.NDArray[np.intp]

    @property
    def fault(self) -> str:
        """Kind of the faults."""
        return self.name.split("-")[0]

    @classmethod
    def of(cls, name: str, samples: Sequence[Sample], estimated: FloatArray) -> LabelSet:
        """Collect the structures of the cases of a label set."""
        of = {key: np.concatenate([one.error(key) for one in samples]) for key in _USED}
        volume, area = np.maximum(of["volume_mm3"], 1.0), of["area_mm2"]
        total = np.concatenate([np.full(len(s.structures), s.error("volume_mm3").sum()) for s in samples])
        names = [s.name for one in samples for s in one.structures]
        terms = np.column_stack([
            np.log(area / volume), np.log(of["changed"] + priority.CHANGED_FLOOR), _deviation(volume / total, names),
        ])  # fmt: skip
        change = np.abs(np.log((of["volume_mm3"] + 1) / (of["volume_before_mm3"] + 1)))
        minutes = np.array([correction_minutes(v, a) for v, a in zip(volume, area, strict=True)])
        case = np.repeat(np.arange(len(samples)), [len(one.structures) for one in samples])
        return cls(name, terms, estimated, change, of["changed"], minutes, 1 - of["dice"], case)


_USED = ("dice", "changed", "volume_mm3", "volume_before_mm3", "area_mm2")


def _deviation(shares: FloatArray, names: Sequence[str]) -> FloatArray:
    """Deviation of each share of a heart's volume from the median of its structure, as `priority.expected_errors`."""
    usual = {name: median(s for s, n in zip(shares, names, strict=True) if n == name) for name in set(names)}
    medians = np.array([usual[name] for name in names])
    found: FloatArray = np.abs(shares - medians) / (shares + medians)
    return found


def fit_powers(sets: Sequence[LabelSet]) -> FloatArray:
    """Fit the three powers; every kind of faults has the same weight, and in it every label set.

    Args:
        sets: the label sets.

    Returns:
        (3,) powers of area / volume, of what was changed, and of the unusual volume.
    """
    kinds = [one.fault for one in sets]
    weights = [len(sets) / len(set(kinds)) / kinds.count(kind) for kind in kinds]
    scale = np.sqrt(np.mean([np.var(one.terms, axis=0) for one in sets], axis=0)) + 1e-6

    def loss(powers: FloatArray) -> tuple[float, FloatArray]:
        value, slope = PENALTY * powers @ powers / 2, PENALTY * powers
        for one, weight in zip(sets, weights, strict=True):
            terms = one.terms / scale
            logs = terms @ powers
            shares, wanted = np.exp(logs - np.logaddexp.reduce(logs)), one.error / one.error.sum()
            value -= weight * (wanted @ logs - np.logaddexp.reduce(logs))
            slope = slope - weight * (terms.T @ (wanted - shares))
        return float(value), slope

    found: FloatArray = minimize(loss, np.zeros(3), jac=True, method="L-BFGS-B").x / scale
    return found


def share_met(errors: FloatArray, order: FloatArray, looked_at: float = LOOKED_AT) -> float:
    """Share of all errors that the first structures have, those first of which `order` is largest."""
    count = max(round(looked_at * len(errors)), 1)
    return float(errors[np.argsort(-order, kind="stable")][:count].sum() / errors.sum())


def share_met_in_time(errors: FloatArray, order: FloatArray, minutes: FloatArray, spent: float = LOOKED_AT) -> float:
    """Share of all errors met in a share of the time that all structures take; of the last one a part counts."""
    at = np.argsort(-order, kind="stable")
    time = np.cumsum(minutes[at]) / minutes.sum()
    return float(np.interp(spent, [0, *time], [0, *np.cumsum(errors[at]) / errors.sum()]))


Order = Callable[[LabelSet, FloatArray], FloatArray]
ORDERS: Mapping[str, Order] = {
    "queue": lambda one, powers: np.exp(one.terms @ powers) / one.minutes,
    "error alone": lambda one, powers: np.exp(one.terms @ powers),
    "calibrated": lambda one, powers: one.estimated,
    "volume change": lambda one, powers: one.volume_change,
    "changed": lambda one, powers: one.changed,
    "best": lambda one, powers: one.error,
    "best by minute": lambda one, powers: one.error / one.minutes,
}
"""Orders by the largest value; `powers` were fitted to other kinds of faults."""


def left_out_powers(sets: Sequence[LabelSet]) -> dict[str, FloatArray]:
    """Fit the powers for each kind of faults to all other kinds."""
    return {kind: fit_powers([one for one in sets if one.fault != kind]) for kind in sorted({s.fault for s in sets})}


Met = Callable[[FloatArray, FloatArray, FloatArray, float], float]
MET: Mapping[str, Met] = {
    "structures": lambda error, order, minutes, share: share_met(error, order, share),
    "minutes": lambda error, order, minutes, share: share_met_in_time(error, order, minutes, share),
}
"""Share of the error that is met in the first structures, and in the first minutes."""


def order_tables(sets: Sequence[LabelSet]) -> list[Table]:
    """Make the tables: share of the error met in a fifth of the structures, and in a fifth of the minutes.

    95 % bootstrap intervals: of the queue in a label set over its cases, of the means over the label sets.
    """
    powers, tables, short = left_out_powers(sets), [], short_names(one.name for one in sets)
    for title, met in MET.items():
        made = Table("labels", *ORDERS, "random", title=f"Dice error met in the first {LOOKED_AT:.0%} of the {title}")
        rows = []
        for one in sets:
            orders = [order(one, powers[one.fault]) for order in ORDERS.values()]
            rows.append([*(met(one.error, order, one.minutes, LOOKED_AT) for order in orders), _random(one, met)])
            low, high = case_interval(one.case, partial(_met_by, one, orders[0], met))
            first, *others = (f"{share:.2f}" for share in rows[-1])
            made.add_row(short[one.name], f"{first} ({low:.2f} to {high:.2f})", *others)
        made.add_section()
        shares = np.array(rows)
        spans = [bootstrap_interval(column) for column in shares.T]
        means = zip(shares.mean(axis=0), spans, strict=True)
        made.add_row("mean of the label sets", *(f"{m:.2f} ({a:.2f} to {b:.2f})" for m, (a, b) in means))
        made.add_row("at least half", *(f"{count}" for count in (shares >= 0.495).sum(axis=0)))
        tables.append(made)
    return tables


def case_interval(case: npt.NDArray[np.intp], met: Callable[[npt.NDArray[np.intp]], float]) -> tuple[float, float]:
    """Compute a 95 % bootstrap interval over cases, each with several structures.

    Args:
        case: (structure,) number of the case of each structure.
        met: value of a choice of structures, by their indices.

    Returns:
        Lower and upper bound.
    """
    own = [np.flatnonzero(case == one) for one in np.unique(case)]
    picks = np.random.default_rng(0).integers(0, len(own), (RESAMPLES, len(own)))
    found = [met(np.concatenate([own[one] for one in pick])) for pick in picks]
    low, high = np.percentile(found, [50 * (1 - COVERAGE), 50 * (1 + COVERAGE)])
    return float(low), float(high)


def _met_by(one: LabelSet, order: FloatArray, met: Met, at: npt.NDArray[np.intp]) -> float:
    return met(one.error[at], order[at], one.minutes[at], LOOKED_AT)


def _random(one: LabelSet, met: Met, draws: int = 100) -> float:
    rng = np.random.default_rng(0)
    orders = (rng.random(len(one.error)) for _ in range(draws))
    return float(np.mean([met(one.error, order, one.minutes, LOOKED_AT) for order in orders]))


def print_order(sets: Sequence[LabelSet], console: Console, figure: Path | None = None) -> None:
    """Print the tables and the powers, and draw the curves.

    Args:
        sets: the label sets.
        console: the terminal.
        figure: image file to write.
    """
    for made in order_tables(sets):
        console.print(made)
    for kind, powers in left_out_powers(sets).items():
        console.print(f"powers without {kind}: " + ", ".join(f"{value:.2f}" for value in powers))
    console.print("powers of all kinds: " + ", ".join(f"{value:.3f}" for value in fit_powers(sets)))
    if figure is not None:
        draw_curves(sets, figure)


def draw_curves(sets: Sequence[LabelSet], path: Path) -> None:
    """Draw the mean share of the error that is met against the share of structures, and of minutes."""
    import matplotlib.pyplot as plt

    powers = left_out_powers(sets)
    drawing, axes = plt.subplots(1, 2, figsize=(10.5, 4.8), sharey=True)
    styles = {
        "queue": ("C3", "-"), "error alone": ("C0", "-"), "calibrated": ("C4", "-"), "volume change": ("C1", "-"),
        "changed": ("C2", "-"), "best": ("0.45", ":"), "best by minute": ("0.45", "--"),
    }  # fmt: skip
    for ax, met, label in zip(axes, MET.values(), ("structures looked at", "minutes of correction"), strict=True):
        for name, order in ORDERS.items():
            curve = [
                np.mean([met(one.error, order(one, powers[one.fault]), one.minutes, share) for one in sets])
                for share in SHARES
            ]
            colour, line = styles[name]
            ax.plot([0, *SHARES], [0, *curve], line, color=colour, label=name, linewidth=2 if name == "queue" else 1.2)
        ax.plot([0, 1], [0, 1], color="0.8", linewidth=1, label="random")
        ax.plot(0.2, 0.5, "k+", markersize=11)
        ax.set(xlabel=f"share of the {label}", xlim=(0, 1), ylim=(0, 1))
        ax.grid(alpha=0.25)
    axes[0].set_ylabel("share of the Dice error that is left")
    axes[1].legend(fontsize=8, loc="lower right")
    drawing.tight_layout()
    drawing.savefig(path, dpi=110)
