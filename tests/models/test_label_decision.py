"""From distances to labels: the order, the thresholds, and how they are chosen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartmend.anatomy.load import load_anatomy
from heartmend.models.label_decision import SURE_MM, choose_thresholds, decide, margin_mm, probability

HEART = load_anatomy("heart")


def volume(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32).reshape(-1, 1, 1)


def test_the_first_in_the_order_has_the_voxel_however_sure_the_next_one_is() -> None:
    fields = {"LV": volume(5, 5, -1, -1), "Coronary": volume(0.1, -0.1, 0.1, -1)}
    assert decide(fields, HEART, {}).ravel().tolist() == [9, 3, 9, 0]


def test_a_threshold_is_a_probability() -> None:
    depth = SURE_MM * np.log(0.7 / 0.3)
    fields = {"LV": volume(depth - 0.001, depth + 0.001)}
    assert decide(fields, HEART, {"LV": 0.7}).ravel().tolist() == [0, 3]


@given(st.floats(0.001, 0.999))
def test_margin_and_probability_are_each_others_way_back(threshold: float) -> None:
    assert probability(margin_mm(threshold)) == pytest.approx(threshold, rel=1e-6)


def test_far_outside_is_no_overflow() -> None:
    with np.errstate(all="raise"):
        assert probability(np.array([-1e4, 1e4])).tolist() == pytest.approx([0, 1])


def test_the_threshold_that_is_chosen_is_the_best() -> None:
    """The field lies 0.1 mm too far out, so a margin of about 0.1 mm gives the map back."""
    true = np.linspace(-2, 2, 400, dtype=np.float32).reshape(-1, 1, 1)
    truth = np.where(true > 0, 3, 0).astype(np.uint8)
    chosen = choose_thresholds([({"LV": true + 0.1}, truth)], HEART, ["LV"])
    assert margin_mm(chosen["LV"]) == pytest.approx(0.1, abs=0.04)
    assert (decide({"LV": true + 0.1}, HEART, chosen) != truth).mean() < 0.01


def test_a_perfect_field_keeps_a_half_and_unknown_voxels_have_no_say() -> None:
    true = np.linspace(-2, 2, 401, dtype=np.float32).reshape(-1, 1, 1)
    truth = np.where(true > 0, 3, 0).astype(np.uint8)
    assert choose_thresholds([({"LV": true}, truth)], HEART, ["LV"])["LV"] == pytest.approx(0.5, abs=0.06)
    unknown = truth.copy()
    unknown[200:] = 255
    low = choose_thresholds([({"LV": true}, truth), ({"LV": true - 0.2}, unknown)], HEART, ["LV"])
    assert low["LV"] == pytest.approx(0.5, abs=0.06)


def test_what_a_structure_before_it_has_taken_is_not_counted_again() -> None:
    """The LV's field claims all; where the coronary has its voxels no threshold of the LV could help or harm."""
    coronary = volume(*[1.0] * 10, *[-1.0] * 30)
    lv = volume(*[0.02] * 10, *[0.2] * 15, *[-0.2] * 15)
    truth = np.array([9] * 10 + [3] * 15 + [0] * 15, dtype=np.uint8).reshape(-1, 1, 1)
    chosen = choose_thresholds([({"Coronary": coronary, "LV": lv}, truth)], HEART, ["LV", "Coronary"])
    assert (decide({"Coronary": coronary, "LV": lv}, HEART, chosen) == truth).all()
    assert chosen["LV"] == 0.5
