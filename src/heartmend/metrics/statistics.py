"""Summary statistics over cases with bootstrap intervals, and a paired test of two samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, rankdata, wilcoxon

from heartmend.types import FloatArray, Mask

RESAMPLES = 2000
COVERAGE = 0.95
MAX_EXACT_PAIRS = 50


@dataclass(frozen=True)
class Spread:
    """Summary statistics of one metric over cases, in the unit of the metric.

    Attributes:
        n: number of cases.
        mean: arithmetic mean.
        sd: standard deviation of the sample (n - 1); None for one case.
        median: median.
        ci95_low: lower bound of the 95 % bootstrap interval of the mean.
        ci95_high: upper bound of that interval.
    """

    n: int
    mean: float
    sd: float | None
    median: float
    ci95_low: float
    ci95_high: float


@dataclass(frozen=True)
class PairedTest:
    """Paired comparison of b with a over the cases that have both.

    Attributes:
        n: number of cases.
        difference: mean of b - a, in the unit of the metric.
        ci95_low: lower bound of the 95 % bootstrap interval of the difference.
        ci95_high: upper bound of that interval.
        p: Wilcoxon's signed-rank test, two-sided, without equal pairs.
        rank_biserial: share of the rank sum in which b is higher, less the share in which it is lower, -1 to 1
            (Kerby 2014).
        cohen_d: mean difference over its standard deviation (d_z); None if that is 0.
        p_holm: `p` corrected for the number of structures that are tested (Holm 1979).
    """

    n: int
    difference: float
    ci95_low: float
    ci95_high: float
    p: float
    rank_biserial: float
    cohen_d: float | None
    p_holm: float = 1.0


def spread(values: Sequence[float] | FloatArray, seed: int = 0) -> Spread:
    """Compute the summary statistics of a sample.

    Args:
        values: one number for each case, at least one.
        seed: seed of the bootstrap.

    Returns:
        Number, mean, standard deviation, median and 95 % interval of the mean.

    Example:
        >>> spread([2.0, 2.0, 2.0])
        Spread(n=3, mean=2.0, sd=0.0, median=2.0, ci95_low=2.0, ci95_high=2.0)
    """
    found = np.asarray(values, dtype=np.float64)
    ci95_low, ci95_high = bootstrap_interval(found, seed)
    sd = float(found.std(ddof=1)) if len(found) > 1 else None
    return Spread(len(found), float(found.mean()), sd, float(np.median(found)), ci95_low, ci95_high)


def paired_test(a: Sequence[float] | FloatArray, b: Sequence[float] | FloatArray, seed: int = 0) -> PairedTest:
    """Test two paired samples for a difference.

    Args:
        a: one number for each case, at least one.
        b: the numbers of the same cases, in the same order.
        seed: seed of the bootstrap.

    Returns:
        Mean difference b - a with its interval, p and effect sizes.

    Example:
        Five cases, all higher in b: two of the 2⁵ combinations of signs are as extreme.

        >>> test = paired_test([1, 2, 3, 4, 5], [2, 3, 4, 5, 6])
        >>> test.difference, test.p, test.rank_biserial
        (1.0, 0.0625, 1.0)
    """
    change = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    ci95_low, ci95_high = bootstrap_interval(change, seed)
    moved = change[change != 0]
    ranks = rankdata(np.abs(moved))
    effect = float((ranks * np.sign(moved)).sum() / ranks.sum()) if len(moved) else 0.0
    p = signed_rank_p(ranks, moved > 0)
    sd = float(change.std(ddof=1)) if len(change) > 1 else 0.0
    cohen = float(change.mean()) / sd if sd > 0 else None
    return PairedTest(len(change), float(change.mean()), ci95_low, ci95_high, p, effect, cohen)


def signed_rank_p(ranks: FloatArray, positive: Mask) -> float:
    """Compute the two-sided p value of Wilcoxon's signed-rank test.

    Args:
        ranks: (pair,) ranks of the absolute differences; tied differences have their mean rank.
        positive: (pair,) whether the difference is above 0.

    Returns:
        The p value: exact for up to `MAX_EXACT_PAIRS` pairs, with ties too, otherwise asymptotic; 1 for no pair.

    Example:
        >>> import numpy as np
        >>> signed_rank_p(np.array([1.0, 2.0, 3.0]), np.array([True, True, True]))
        0.25
    """
    if not len(ranks):
        return 1.0
    if len(ranks) > MAX_EXACT_PAIRS:
        return float(wilcoxon(np.where(positive, ranks, -ranks)).pvalue)
    # Probability of each sum of positive ranks under random signs; ranks are doubled because tied ranks are halves.
    doubled = np.rint(2 * ranks).astype(int)
    probability = np.zeros(doubled.sum() + 1)
    probability[0] = 1.0
    for rank in doubled:
        probability[rank:] = (probability[rank:] + probability[:-rank]) / 2
        probability[:rank] /= 2
    observed = int(doubled[positive].sum())
    return min(2 * float(min(probability[: observed + 1].sum(), probability[observed:].sum())), 1.0)


def bootstrap_interval(values: FloatArray, seed: int = 0) -> tuple[float, float]:
    """Compute the 95 % percentile bootstrap interval of a mean (Efron 1979).

    Args:
        values: (case,) float64, at least one.
        seed: seed of the resampling; the same seed gives the same interval.

    Returns:
        Lower and upper bound.
    """
    if len(values) < 2 or np.ptp(values) == 0:
        return float(values.min()), float(values.max())
    low, high = np.percentile(_resamples(len(values), seed) @ values, [50 * (1 - COVERAGE), 50 * (1 + COVERAGE)])
    return float(low), float(high)


def upper_bound(found: int, of: int) -> float:
    """Compute the one-sided 95 % upper bound of a share (Clopper and Pearson 1934).

    Args:
        found: how often it was found.
        of: how often it could have been found, at least once; independent of each other.

    Returns:
        The largest share for which as few or fewer would be found in 5 % of all samples.

    Example:
        None of 200: 0.985 to the power of 200 is 0.05.

        >>> round(upper_bound(0, 200), 4), upper_bound(3, 3)
        (0.0149, 1.0)
    """
    return 1.0 if found >= of else float(beta.ppf(COVERAGE, found + 1, of - found))


@lru_cache(maxsize=8)
def _resamples(cases: int, seed: int) -> FloatArray:
    """Weights (resample, case) of each case in each resample; all metrics of a table share them."""
    sampled = np.random.default_rng(seed).multinomial(cases, np.full(cases, 1 / cases), size=RESAMPLES)
    return sampled / cases


def holm(p: Sequence[float]) -> list[float]:
    """Correct p values for multiple tests by Holm's step-down procedure (Holm 1979).

    Args:
        p: p values of all tests.

    Returns:
        The corrected values in the same order, at most 1.

    Example:
        >>> holm([0.25, 0.125])
        [0.25, 0.25]
    """
    found = np.asarray(p, dtype=np.float64)
    order: npt.NDArray[np.intp] = np.argsort(found)
    raised = np.minimum(np.maximum.accumulate(found[order] * np.arange(len(found), 0, -1)), 1)
    corrected = np.empty_like(raised)
    corrected[order] = raised
    return [float(value) for value in corrected]
