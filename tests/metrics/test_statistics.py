"""Statistics derived by hand, and compared with SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, wilcoxon

from heartmend.metrics.statistics import holm, paired_test, spread


def test_spread_by_hand() -> None:
    found = spread([1.0, 2.0, 3.0, 6.0])
    assert (found.n, found.mean, found.median) == (4, 3.0, 2.5)
    assert found.sd == pytest.approx(np.sqrt(14 / 3))
    assert 1 <= found.ci95_low < 3 < found.ci95_high <= 6
    alone = spread([5.0])
    assert (alone.mean, alone.sd, alone.ci95_low, alone.ci95_high) == (5.0, None, 5.0, 5.0)


def test_the_interval_is_reproducible_and_close_to_that_of_scipy() -> None:
    values = np.random.default_rng(2).gamma(2, size=60)
    found = spread(values)
    assert found == spread(values)
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=9999, rng=np.random.default_rng(0))
    low, high = theirs.confidence_interval
    assert (found.ci95_low, found.ci95_high) == pytest.approx((low, high), abs=0.05 * (high - low))


def test_the_interval_contains_the_mean_in_about_95_of_100_samples() -> None:
    rng = np.random.default_rng(0)
    found = [spread(rng.normal(size=40)) for _ in range(200)]
    assert 0.9 <= np.mean([s.ci95_low <= 0 <= s.ci95_high for s in found]) <= 0.98


def test_paired_test_by_hand() -> None:
    """Differences 1, 2, 3, -4: rank sums 6 and 4; 14 of 16 combinations of signs are at least as extreme."""
    found = paired_test([0, 0, 0, 4, 7], [1, 2, 3, 0, 7])
    assert found.n == 5 and found.difference == pytest.approx(0.4)
    assert found.rank_biserial == pytest.approx(0.2)
    assert found.p == pytest.approx(14 / 16)
    assert found.cohen_d == pytest.approx(0.4 / np.std([1, 2, 3, -4, 0], ddof=1))


def test_paired_test_without_difference_and_with_a_constant_one() -> None:
    found = paired_test([1.0, 2.0], [1.0, 2.0])
    assert (found.difference, found.p, found.rank_biserial, found.cohen_d) == (0, 1, 0, None)
    shifted = paired_test([0.0] * 6, [1.0] * 6)
    assert (shifted.rank_biserial, shifted.p, shifted.cohen_d) == (1, 2 / 2**6, None)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-6, 6), min_size=2, max_size=9).filter(any))
def test_p_is_exact_with_ties(change: list[int]) -> None:
    """SciPy enumerates the signs of up to 13 pairs."""
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
