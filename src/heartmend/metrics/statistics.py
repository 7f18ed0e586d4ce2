"""Spread over cases with bootstrap intervals, and the paired test of two sets of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata, wilcoxon

from heartmend.types import FloatArray, Mask

RESAMPLES = 2000
COVERAGE = 0.95
MOST_EXACT = 50


@dataclass(frozen=True)
class Spread:
    """Numbers of `n` cases: `sd` is that of a sample (None for one case); low and high bound the mean at 95 %."""

    n: int
    mean: float
    sd: float | None
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """How b differs from a on `n` cases that have both.

    difference: the mean of b - a, with its 95 % interval; p: Wilcoxon's signed-rank test, two-sided, without the pairs
    that are equal; rank_biserial: the share of the rank sum in which b is higher less that in which it is lower, -1 to
    1 (Kerby 2014); cohen_d: the mean difference over its standard deviation (d_z), None where that is 0.
    """

    n: int
    difference: float
    low: float
    high: float
    p: float
    rank_biserial: float
    cohen_d: float | None
    p_holm: float = 1.0
    """`p` corrected for the number of structures that are tested (Holm 1979)."""


def spread(values: Sequence[float] | FloatArray, seed: int = 0) -> Spread:
    """The spread of the values of at least one case."""
    found = np.asarray(values, dtype=np.float64)
    low, high = bootstrap_interval(found, seed)
    sd = float(found.std(ddof=1)) if len(found) > 1 else None
    return Spread(len(found), float(found.mean()), sd, float(np.median(found)), low, high)


def paired_test(a: Sequence[float] | FloatArray, b: Sequence[float] | FloatArray, seed: int = 0) -> PairedTest:
    """The test of b against a, case by case; at least one case. Equal pairs say nothing and are left out of p."""
    change = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    low, high = bootstrap_interval(change, seed)
    moved = change[change != 0]
    ranks = rankdata(np.abs(moved))
    effect = float((ranks * np.sign(moved)).sum() / ranks.sum()) if len(moved) else 0.0
    p = signed_rank_p(ranks, moved > 0)
    sd = float(change.std(ddof=1)) if len(change) > 1 else 0.0
    cohen = float(change.mean()) / sd if sd > 0 else None
    return PairedTest(len(change), float(change.mean()), low, high, p, effect, cohen)


def signed_rank_p(ranks: FloatArray, positive: Mask) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; exact for up to 50 pairs, tied ranks too, else asymptotic."""
    if not len(ranks):
        return 1.0
    if len(ranks) > MOST_EXACT:
        return float(wilcoxon(np.where(positive, ranks, -ranks)).pvalue)
    # How likely each sum of positive ranks is when every sign is a coin's; tied ranks are halves, so all is doubled.
    doubled = np.rint(2 * ranks).astype(int)
    likely = np.zeros(doubled.sum() + 1)
    likely[0] = 1.0
    for rank in doubled:
        likely[rank:] = (likely[rank:] + likely[:-rank]) / 2
        likely[:rank] /= 2
    found = int(doubled[positive].sum())
    return min(2 * float(min(likely[: found + 1].sum(), likely[found:].sum())), 1.0)


def bootstrap_interval(values: FloatArray, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean over cases drawn anew with replacement (Efron 1979); repeatable."""
    if len(values) < 2 or np.ptp(values) == 0:
        return float(values.min()), float(values.max())
    low, high = np.percentile(_resamples(len(values), seed) @ values, [50 * (1 - COVERAGE), 50 * (1 + COVERAGE)])
    return float(low), float(high)


@lru_cache(maxsize=8)
def _resamples(cases: int, seed: int) -> FloatArray:
    """The weight of each case in each resample, which a table of many metrics shares."""
    drawn = np.random.default_rng(seed).multinomial(cases, np.full(cases, 1 / cases), size=RESAMPLES)
    return drawn / cases


def holm(p: Sequence[float]) -> list[float]:
    """P values corrected for their number by Holm's step-down procedure (1979), in the order given."""
    found = np.asarray(p, dtype=np.float64)
    order: npt.NDArray[np.intp] = np.argsort(found)
    raised = np.minimum(np.maximum.accumulate(found[order] * np.arange(len(found), 0, -1)), 1)
    corrected = np.empty_like(raised)
    corrected[order] = raised
    return [float(value) for value in corrected]
