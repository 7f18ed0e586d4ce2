"""Share of a gap that is closed, and its paired intervals, with answers derived by hand."""

import numpy as np
import pytest
from training_gap import Estimate, Scores, estimate, gap_closed

CASES = np.array([0.2, 0.5, 0.9, 0.7])
SEEDS = np.array([[0.0], [0.05], [-0.05]])


def test_the_share_of_the_gap_that_is_closed() -> None:
    noisy = CASES + SEEDS
    closed = gap_closed(noisy, noisy + 0.07, noisy + 0.1)
    assert closed.share is not None
    # Cases and seeds differ much, but all differences are the same: paired intervals have no width.
    for found, expected in ((closed.gap, 0.1), (closed.gain, 0.07), (closed.share, 0.7)):
        np.testing.assert_allclose([found.mean, found.low, found.high], expected)


def test_an_arm_that_is_worse_than_noisy_labels_closes_less_than_nothing() -> None:
    noisy = CASES + SEEDS
    closed = gap_closed(noisy, noisy - 0.05, noisy + 0.1)
    assert closed.share is not None and closed.share.mean == pytest.approx(-0.5)


def test_without_a_gap_there_is_nothing_to_close() -> None:
    noisy = np.zeros((3, 4))
    assert gap_closed(noisy, noisy + 0.5, np.tile([0.1, -0.1, 0.1, -0.1], (3, 1))).share is None
    assert gap_closed(noisy, noisy, noisy - 0.1).share is None
    # The difference of the seeds alone makes the gap uncertain.
    assert gap_closed(noisy, noisy, np.tile([[0.1], [-0.1], [0.1]], (1, 4))).share is None
    assert gap_closed(noisy, noisy, np.full((3, 4), 0.1)).share is not None


def test_the_interval_has_the_width_of_both_samples() -> None:
    rng = np.random.default_rng(0)
    seeds, cases = rng.normal(0, 0.1, (5, 1)), rng.normal(0, 0.2, (1, 8))
    found = estimate(seeds + cases)
    # Variances of the two means add; a plain bootstrap has the variance of the sample.
    expected = 2 * 1.96 * np.sqrt(seeds.var() / 5 + cases.var() / 8)
    assert found.high - found.low == pytest.approx(expected, rel=0.1)
    assert found.low < found.mean < found.high


def test_scores_are_paired_by_seed_and_case() -> None:
    rows = [
        {"arm": arm, "seed": seed, "case": case, "structure": structure, "dice": value}
        for arm, seed, case, structure, value in (
            ("noisy", 0, "a", "LA", 0.5), ("noisy", 0, "a", "LV", 0.7), ("noisy", 0, "b", "LA", 0.3),
            ("noisy", 1, "a", "LA", 0.6), ("noisy", 1, "a", "LV", 0.8), ("noisy", 1, "b", "LA", 0.4),
            ("clean", 0, "b", "LA", 0.9), ("clean", 0, "a", "LA", 0.8), ("clean", 0, "a", "LV", 1.0),
        )
    ]  # fmt: skip
    scores = Scores(rows, "dice")
    assert scores.seeds(("noisy",)) == (0, 1) and scores.seeds(("noisy", "clean")) == (0,)
    assert scores.seeds(("noisy", "repaired")) == ()
    # Case b has no LV: its mean is that of the LA.
    np.testing.assert_allclose(scores.table("noisy", (0, 1)), [[0.6, 0.3], [0.7, 0.4]])
    np.testing.assert_allclose(scores.table("clean", (0,)), [[0.9, 0.9]])
    np.testing.assert_allclose(scores.table("noisy", (1,), "LV"), [[0.8]])


def test_an_estimate_as_text() -> None:
    assert Estimate(0.1, -0.02, 0.3).text(2, sign=True) == "+0.10 (-0.02 to +0.30)"
