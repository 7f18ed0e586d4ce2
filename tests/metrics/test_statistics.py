"""Spreads, intervals and tests: by hand, and beside SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, wilcoxon

from heartmend.metrics.statistics import holm, paired_test, spread


def test_a_spread_by_hand() -> None:
    found = spread([1.0, 2.0, 3.0, 6.0])
    assert (found.n, found.mean, found.median) == (4, 3.0, 2.5)
    assert found.sd == pytest.approx(np.sqrt(14 / 3))
    assert 1 <= found.low < 3 < found.high <= 6
    alone = spread([5.0])
    assert (alone.mean, alone.sd, alone.low, alone.high) == (5.0, None, 5.0, 5.0)


def test_the_interval_is_repeatable_and_that_of_scipy_but_for_chance() -> None:
    values = np.random.default_rng(2).gamma(2, size=60)
    found = spread(values)
    assert found == spread(values)
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=9999, rng=np.random.default_rng(0))
    low, high = theirs.confidence_interval
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))


def test_the_interval_holds_the_mean_about_95_times_of_100() -> None:
    rng = np.random.default_rng(0)
    found = [spread(rng.normal(size=40)) for _ in range(200)]
    assert 0.9 <= np.mean([s.low <= 0 <= s.high for s in found]) <= 0.98


def test_a_paired_test_by_hand() -> None:
    """Differences 1, 2, 3 and -4: ranks up 6, down 4, of sixteen signs fourteen are as uneven."""
    found = paired_test([0, 0, 0, 4, 7], [1, 2, 3, 0, 7])
    assert found.n == 5 and found.difference == pytest.approx(0.4)
    assert found.rank_biserial == pytest.approx(0.2)
    assert found.p == pytest.approx(14 / 16)
    assert found.cohen_d == pytest.approx(0.4 / np.std([1, 2, 3, -4, 0], ddof=1))


def test_no_difference_at_all() -> None:
    found = paired_test([1.0, 2.0], [1.0, 2.0])
    assert (found.difference, found.p, found.rank_biserial, found.cohen_d) == (0, 1, 0, None)
    shifted = paired_test([0.0] * 6, [1.0] * 6)
    assert (shifted.rank_biserial, shifted.p, shifted.cohen_d) == (1, 2 / 2**6, None)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-6, 6), min_size=2, max_size=9).filter(any))
def test_p_is_exact_with_ties_too(change: list[int]) -> None:
    """SciPy enumerates the signs of up to thirteen pairs."""
    moved = np.array([c for c in change if c], dtype=float)
    found = paired_test(np.zeros(len(change)), change)
    assert found.p == pytest.approx(wilcoxon(moved).pvalue)
    back = paired_test(change, np.zeros(len(change)))
    assert back.p == pytest.approx(found.p) and back.rank_biserial == pytest.approx(-found.rank_biserial)


@pytest.mark.parametrize("count", [30, 50, 51, 200])
def test_p_of_many_pairs(count: int) -> None:
    change = np.random.default_rng(count).normal(0.2, size=count)
    assert paired_test(np.zeros(count), change).p == pytest.approx(wilcoxon(change).pvalue)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
