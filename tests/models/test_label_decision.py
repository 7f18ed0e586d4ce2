"""Decision from distances to labels: priority, thresholds and their choice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartmend.anatomy.load import load_anatomy
from heartmend.models.label_decision import (
    LOGISTIC_SCALE_MM,
    choose_thresholds,
    decide_labels,
    inside_probability,
    threshold_depth_mm,
)

HEART = load_anatomy("heart")


def volume(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32).reshape(-1, 1, 1)


def test_the_structure_of_highest_priority_gets_the_voxel() -> None:
    fields = {"LV": volume(5, 5, -1, -1), "Coronary": volume(0.1, -0.1, 0.1, -1)}
    assert decide_labels(fields, HEART, {}).ravel().tolist() == [9, 3, 9, 0]


def test_a_threshold_is_a_probability() -> None:
    depth = LOGISTIC_SCALE_MM * np.log(0.7 / 0.3)
    fields = {"LV": volume(depth - 0.001, depth + 0.001)}
    assert decide_labels(fields, HEART, {"LV": 0.7}).ravel().tolist() == [0, 3]


@given(st.floats(0.001, 0.999))
def test_depth_and_probability_are_inverse_functions(threshold: float) -> None:
    assert inside_probability(threshold_depth_mm(threshold)) == pytest.approx(threshold, rel=1e-6)


def test_large_distances_do_not_overflow() -> None:
    with np.errstate(all="raise"):
        assert inside_probability(np.array([-1e4, 1e4])).tolist() == pytest.approx([0, 1])


def test_the_best_threshold_is_chosen() -> None:
    """The field is 0.1 mm too large, so a depth of about 0.1 mm restores the label map."""
    true = np.linspace(-2, 2, 400, dtype=np.float32).reshape(-1, 1, 1)
    truth = np.where(true > 0, 3, 0).astype(np.uint8)
    chosen = choose_thresholds([({"LV": true + 0.1}, truth)], HEART, ["LV"])
    assert threshold_depth_mm(chosen["LV"]) == pytest.approx(0.1, abs=0.04)
    assert (decide_labels({"LV": true + 0.1}, HEART, chosen) != truth).mean() < 0.01


def test_a_perfect_field_gets_one_half_and_unknown_voxels_do_not_count() -> None:
    true = np.linspace(-2, 2, 401, dtype=np.float32).reshape(-1, 1, 1)
    truth = np.where(true > 0, 3, 0).astype(np.uint8)
    assert choose_thresholds([({"LV": true}, truth)], HEART, ["LV"])["LV"] == pytest.approx(0.5, abs=0.06)
    unknown = truth.copy()
    unknown[200:] = 255
    low = choose_thresholds([({"LV": true}, truth), ({"LV": true - 0.2}, unknown)], HEART, ["LV"])
    assert low["LV"] == pytest.approx(0.5, abs=0.06)


def test_voxels_of_a_structure_of_higher_priority_do_not_count() -> None:
    """The LV's field is positive everywhere; at the coronary's voxels its threshold has no effect."""
    coronary = volume(*[1.0] * 10, *[-1.0] * 30)
    lv = volume(*[0.02] * 10, *[0.2] * 15, *[-0.2] * 15)
    truth = np.array([9] * 10 + [3] * 15 + [0] * 15, dtype=np.uint8).reshape(-1, 1, 1)
    chosen = choose_thresholds([({"Coronary": coronary, "LV": lv}, truth)], HEART, ["LV", "Coronary"])
    assert (decide_labels({"Coronary": coronary, "LV": lv}, HEART, chosen) == truth).all()
    assert chosen["LV"] == 0.5
