"""Order of review: how much of the error is met, and the powers of the queue."""

import numpy as np
import pytest

trust_order = pytest.importorskip("trust_order")
LabelSet = trust_order.LabelSet


def label_set(name: str, seed: int, powers: tuple[float, float, float], level: float) -> "trust_order.LabelSet":
    """Structures whose error is a product of powers, but for a factor that the whole label set shares."""
    terms = np.random.default_rng(seed).normal(size=(400, 3))
    error = level * np.exp(terms @ np.array(powers) - 3)
    one = np.ones(400)
    return LabelSet(name, terms, one, one, one, one, error, np.repeat(np.arange(40), 10))


def test_the_powers_are_found_whatever_the_level_of_each_label_set() -> None:
    powers = (0.7, 0.3, 1.2)
    kinds = ("white", "steps", "warp")
    sets = [label_set(f"{kind}-a-alone", seed, powers, 10.0**-seed) for seed, kind in enumerate(kinds)]
    # The penalty shrinks them, as it counts as a tenth of a label set of three.
    np.testing.assert_allclose(trust_order.fit_powers(sets), powers, rtol=0.12)


def test_the_powers_of_a_kind_are_fitted_to_the_other_kinds() -> None:
    sets = [label_set("a-x-alone", 0, (1, 0, 0), 1.0), label_set("b-x-alone", 1, (0, 1, 0), 1.0)]
    found = trust_order.left_out_powers(sets)
    assert found["a"][1] > 0.5 > abs(found["a"][0])
    assert found["b"][0] > 0.5 > abs(found["b"][1])


def test_the_share_of_the_error_of_the_first_structures() -> None:
    """Errors 4, 3, 2, 1 in the order 3, 4, 1, 2: the first half has 7 of 10, the first quarter 3."""
    errors, order = np.array([4.0, 3.0, 2.0, 1.0]), np.array([3.0, 4.0, 1.0, 2.0])
    assert trust_order.share_met(errors, order, 0.5) == pytest.approx(0.7)
    assert trust_order.share_met(errors, order, 0.25) == pytest.approx(0.3)


def test_the_share_of_the_error_in_a_share_of_the_time() -> None:
    """The first takes 2 of 10 minutes and has 3 of 10 of the error, the second 4 and 4: after 4 minutes half of the
    second is done, so 5 of 10 are met."""
    errors, order, minutes = np.array([4.0, 3.0, 3.0]), np.array([2.0, 3.0, 1.0]), np.array([4.0, 2.0, 4.0])
    assert trust_order.share_met_in_time(errors, order, minutes, 0.4) == pytest.approx(0.5)
    assert trust_order.share_met_in_time(errors, order, minutes, 1.0) == pytest.approx(1.0)


def test_the_deviation_is_that_of_the_queue() -> None:
    """As in `priority.expected_errors`: a third of the heart where a half is usual deviates by (3 - 2) / (3 + 2)."""
    found = trust_order._deviation(np.array([1 / 2, 1 / 2, 1 / 3]), ["LV", "LV", "LV"])
    np.testing.assert_allclose(found, [0, 0, 0.2])


def test_the_interval_of_an_order_is_over_the_cases() -> None:
    """Drawn are the first case twice (its first structure has 4 of 5), the second twice (1 of 2), or both (5 of 7)."""
    case, error = np.repeat([0, 1], 2), np.array([4.0, 1.0, 1.0, 1.0])
    bounds = trust_order.case_interval(case, lambda at: trust_order.share_met(error[at], error[at], 0.5))
    assert bounds == pytest.approx((0.5, 0.8))
    alike = trust_order.case_interval(case, lambda at: trust_order.share_met(np.ones(len(at)), np.ones(len(at)), 0.5))
    assert alike == pytest.approx((0.5, 0.5))
