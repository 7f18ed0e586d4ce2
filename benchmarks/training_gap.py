"""How much of the gap between networks trained on noisy and on clean labels other labels close, with intervals.

Every network of an arm has the seed of a network of the other arms, and is tested on the same cases: all differences
are paired. The intervals are for new seeds and new cases: both are drawn anew (crossed bootstrap).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heartmend.metrics.statistics import COVERAGE, RESAMPLES
from heartmend.types import FloatArray


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    def text(self, digits: int = 3, sign: bool = False) -> str:
        """Format it as `mean (low to high)`."""
        form = f"{'+' if sign else ''}.{digits}f"
        return f"{self.mean:{form}} ({self.low:{form}} to {self.high:{form}})"


@dataclass(frozen=True)
class Closed:
    """Comparison of the networks of an arm with those of noisy and of clean labels.

    Attributes:
        gap: clean less noisy.
        gain: the arm less noisy.
        share: gain over gap; None where there is no gap, which is where the interval of the gap contains 0.
    """

    gap: Estimate
    gain: Estimate
    share: Estimate | None


class Scores:
    """Values of a metric of all trainings and test cases."""

    def __init__(self, rows: Iterable[Mapping[str, Any]], metric: str) -> None:
        """Collect the rows, which have `arm`, `seed`, `case`, `structure` and the metric."""
        self._values = {(r["arm"], int(r["seed"]), r["case"], r["structure"]): float(r[metric]) for r in rows}
        self.arms = tuple(dict.fromkeys(arm for arm, *_ in self._values))
        self.structures = tuple(dict.fromkeys(structure for *_, structure in self._values))

    def seeds(self, arms: Sequence[str]) -> tuple[int, ...]:
        """List the seeds that all of these arms have."""
        found = [{seed for arm, seed, *_ in self._values if arm == wanted} for wanted in arms]
        return tuple(sorted(set.intersection(*found))) if found else ()

    def table(self, arm: str, seeds: Sequence[int], structure: str | None = None) -> FloatArray:
        """Return (seed, case), the mean over the structures that a case has, or the values of one structure."""
        wanted = self.structures if structure is None else (structure,)
        cases = sorted({case for _, _, case, name in self._values if name in wanted})
        table = np.array([[[self._values.get((arm, s, c, n), np.nan) for n in wanted] for c in cases] for s in seeds])
        return np.asarray(np.nanmean(table, axis=2))


def estimate(table: FloatArray, seed: int = 0) -> Estimate:
    """Estimate the mean of a table (seed, case) and its interval."""
    means = _resampled_means(table, seed)
    low, high = _interval(means)
    return Estimate(float(table.mean()), low, high)


def gap_closed(noisy: FloatArray, arm: FloatArray, clean: FloatArray, seed: int = 0) -> Closed:
    """Compute how much of the gap between noisy and clean labels an arm closes.

    Args:
        noisy: (seed, case) values of the networks that were trained on noisy labels.
        arm: (seed, case) values of those of the arm.
        clean: (seed, case) values of those of clean labels.
        seed: seed of the bootstrap.

    Returns:
        The comparison.
    """
    gap, gain = estimate(clean - noisy, seed), estimate(arm - noisy, seed)
    if gap.low <= 0:
        return Closed(gap, gain, None)
    gaps, gains = _resampled_means(clean - noisy, seed), _resampled_means(arm - noisy, seed)
    # The few resamples without a gap have no share.
    low, high = _interval(gains / np.where(gaps > 0, gaps, np.nan))
    return Closed(gap, gain, Estimate(gain.mean / gap.mean, low, high))


def _resampled_means(table: FloatArray, seed: int) -> FloatArray:
    """Means of a table (seed, case) with its rows and its columns drawn anew."""
    rng = np.random.default_rng(seed)
    rows, columns = (
        rng.multinomial(length, np.full(length, 1 / length), size=RESAMPLES) / length for length in table.shape
    )
    return np.asarray(np.einsum("rs,sc,rc->r", rows, table, columns))


def _interval(values: FloatArray) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [50 * (1 - COVERAGE), 50 * (1 + COVERAGE)])
    return float(low), float(high)
