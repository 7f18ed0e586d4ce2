"""Score of the repair of a cohort: Dice error removed by structure, and its mean with an interval over the cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from heartmend.metrics.case import Row
from heartmend.metrics.metric_catalogue import catalogue
from heartmend.metrics.statistics import COVERAGE, RESAMPLES
from heartmend.metrics.summary import count_worse, summarise

METRICS = ("dice", "nsd_1mm")
"""Metrics that a score needs."""


@dataclass(frozen=True)
class Score:
    """Score of the label maps of a cohort.

    Attributes:
        cases: number of cases.
        dice: by structure, the mean Dice before and after.
        removed: by structure, the share of the mean Dice error that was removed.
        mean: mean of these shares.
        low: lower bound of its 95 % bootstrap interval over the cases.
        high: upper bound of it.
        worse: the pairs of case and structure that became worse, with their number and bound.
        spans: by structure, the 95 % bootstrap interval of the share that was removed, over the cases.
        nsd: mean over the structures of the NSD at 1 mm before, after, and the 95 % bootstrap interval after.
    """

    cases: int
    dice: Mapping[str, tuple[float, float]]
    removed: Mapping[str, float]
    mean: float
    low: float
    high: float
    worse: str
    spans: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    nsd: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Convert into a mapping that `Score(**mapping)` reverses."""
        return asdict(self)


def score(rows: Iterable[Row], seed: int = 0) -> Score:
    """Score the rows of an evaluation with a reference.

    Args:
        rows: rows of all cases, of the maps before (a) and after (b) the repair, with `METRICS`.
        seed: seed of the bootstrap.

    Returns:
        The score.
    """
    rows = list(rows)
    summary = summarise(rows, catalogue(keys=METRICS))
    counted = [s for s in summary if s.dice_error_reduction is not None]
    errors = dice_errors(rows, [s.structure for s in counted])
    _, low, high = reduction_interval(errors, seed)
    removed = {s.structure: float(s.dice_error_reduction or 0.0) for s in counted}
    dice = {s.structure: (s.spreads["dice"]["a"].mean, s.spreads["dice"]["b"].mean) for s in counted}
    mean = float(np.mean(list(removed.values())))
    spans = {name: reduction_interval(errors[..., [at]], seed)[1:] for at, name in enumerate(removed)}
    before, after = _values(rows, list(removed), "nsd_1mm")
    nsd = mean_interval(before, seed)[0], *mean_interval(after, seed)
    return Score(errors.shape[1], dice, removed, mean, low, high, str(count_worse(summary)), spans, nsd)


def reduction_interval(errors: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Compute the mean share of the Dice error that was removed, over structures, with its interval over the cases.

    Args:
        errors: (2, cases, structures) Dice errors before and after; NaN does not count.
        seed: seed of the bootstrap.

    Returns:
        The mean, and the lower and upper bound of its 95 % bootstrap interval.
    """
    picks = np.random.default_rng(seed).integers(0, errors.shape[1], (RESAMPLES, errors.shape[1]))

    def mean(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return np.asarray(np.nanmean(1 - after / np.where(before > 0, before, np.nan), axis=-1))

    # One case in every resample may be the only one with a structure: its mean is then that of the other structures.
    with np.errstate(invalid="ignore", divide="ignore"):
        means = mean(*(np.nansum(one[picks], axis=1) for one in errors))
        whole = mean(*(np.nansum(one, axis=0) for one in errors))
    low, high = np.nanpercentile(means, [50 * (1 - COVERAGE), 50 * (1 + COVERAGE)])
    return float(whole), float(low), float(high)


def mean_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Compute the mean over structures of their means over cases, with its interval over the cases.

    Args:
        values: (cases, structures); NaN does not count.
        seed: seed of the bootstrap.

    Returns:
        The mean, and the lower and upper bound of its 95 % bootstrap interval.
    """
    picks = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    there = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        means = np.nanmean(np.nansum(values[picks], axis=1) / there[picks].sum(axis=1), axis=-1)
        whole = np.nanmean(np.nansum(values, axis=0) / there.sum(axis=0))
    low, high = np.nanpercentile(means, [50 * (1 - COVERAGE), 50 * (1 + COVERAGE)])
    return float(whole), float(low), float(high)


def dice_errors(rows: Iterable[Row], structures: Sequence[str]) -> np.ndarray:
    """List the Dice errors of an evaluation.

    Args:
        rows: rows of all cases, of the maps before (a) and after (b), with the metric `dice`.
        structures: names of the structures.

    Returns:
        (2, cases, structures); NaN where the reference does not have the structure.
    """
    return 1 - _values(rows, structures, "dice")


def _values(rows: Iterable[Row], structures: Sequence[str], key: str) -> np.ndarray:
    """List a metric, (2, cases, structures)."""
    found = {(row.labels, row.case, row.structure): row for row in rows if row.expected and key in row.values}
    cases = sorted({case for _, case, _ in found})
    return np.array([
        [
            [row.values[key] if (row := found.get((which, case, name))) else np.nan for name in structures]
            for case in cases
        ]
        for which in ("a", "b")
    ])  # fmt: skip
