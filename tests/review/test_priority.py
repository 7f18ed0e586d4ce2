"""Order of the review: which structures are expected to have the largest errors."""

import pytest

from heartmend.review.priority import AREA_POWER, CHANGED_POWER, VOLUME_POWER, expected_error, expected_errors


def test_thin_and_changed_structures_are_expected_to_have_larger_errors() -> None:
    chamber, vessel = expected_error(100_000, 12_000, 0.03), expected_error(3_000, 6_000, 0.03)
    assert vessel / chamber == pytest.approx((2.0 / 0.12) ** AREA_POWER)
    changed = expected_error(100_000, 12_000, 0.063)
    assert changed / chamber == pytest.approx((0.066 / 0.033) ** CHANGED_POWER)


def test_nothing_left_is_an_error_of_1() -> None:
    assert expected_error(0, 0, 1.0) == 1.0
    assert expected_error(1, 6, 1.0) <= 1.0


def test_an_unusual_share_of_the_heart_raises_the_error() -> None:
    """The LV of the third heart has a sixth of it, the usual share is a half: deviation (3 - 1) / (3 + 1)."""
    usual = {"LV": (0.02, 100.0), "RV": (0.02, 100.0)}
    errors = expected_errors({"1": usual, "2": usual, "3": {"LV": (0.02, 20.0), "RV": (0.02, 100.0)}})
    assert errors["1"] == errors["2"] == {"LV": 0.02, "RV": 0.02}
    assert errors["3"]["LV"] == pytest.approx(0.02 * 2.718281828 ** (VOLUME_POWER * 0.5))
    assert 0.02 < errors["3"]["RV"] < errors["3"]["LV"]
