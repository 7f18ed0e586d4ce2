"""Tests of the estimator."""

import json

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import DistanceMap, signed_distance_mm
from heartmend.repair.uncertainty.case import CaseUncertainty, judge_case
from heartmend.repair.uncertainty.estimate import StructureEstimate
from heartmend.repair.uncertainty.estimator import (
    DICE_FLOOR,
    Estimator,
    Linear,
    LogError,
    Quantiles,
    load_estimator,
    spread_at,
)
from heartmend.repair.uncertainty.evidence import RepairedRoi, measure_evidence
from heartmend.repair.uncertainty.structures import (
    SMALLEST_MM,
    STRUCTURE_FEATURES,
    judged_structures,
    structure_features,
)

HEART = load_anatomy("heart")
LV = HEART.by_name("LV")


def constant(value: float) -> Linear:
    n = len(STRUCTURE_FEATURES)
    return Linear(
        features=STRUCTURE_FEATURES, mean=(0.0,) * n, scale=(1.0,) * n, coefficients=(0.0,) * n, intercept=value
    )


def test_an_estimate_by_hand() -> None:
    """Logarithm -3 with a spread of 0.5; quantiles -1 and 2, mean at 0.2."""
    error = LogError(
        mean={"solid": constant(-3.0), "tube": constant(0.0)}, spread={"solid": (0.5, 0.0), "tube": (1.0, 0.0)},
        quantiles={"chamber": Quantiles(low=-1.0, high=2.0, mean=0.2)},
    )  # fmt: skip
    (log,) = error.logarithms([LV], np.zeros((1, len(STRUCTURE_FEATURES))))
    found = error.errors(LV, log, DICE_FLOOR, 1.0)
    assert found == pytest.approx([np.exp(-2.9) - DICE_FLOOR, np.exp(-3.5) - DICE_FLOOR, np.exp(-2.0) - DICE_FLOOR])
    assert error.errors(LV, 9.0, DICE_FLOOR, 1.0) == (1.0, 1.0, 1.0), "an error of Dice is at most 1"


def test_a_linear_function_by_hand() -> None:
    line = Linear(features=("a", "b"), mean=(1.0, 2.0), scale=(2.0, 4.0), coefficients=(3.0, -1.0), intercept=0.5)
    assert line(np.array([[1.0, 2.0], [3.0, 6.0]])).tolist() == [0.5, 0.5 + 3 - 1]
    assert spread_at((0.5, 0.1), [-10.0, 1.0]).tolist() == pytest.approx([0.2, 0.6])


def test_an_estimator_takes_its_features_by_name() -> None:
    one = Linear(features=("noise", "size"), mean=(0.0, 1.0), scale=(1.0, 2.0), coefficients=(3.0, 4.0), intercept=0.5)
    error = LogError(mean={"solid": one, "tube": one}, spread={"solid": (1.0, 0.0), "tube": (1.0, 0.0)}, quantiles={})
    row = np.zeros((1, len(STRUCTURE_FEATURES)))
    row[0, STRUCTURE_FEATURES.index("noise")], row[0, STRUCTURE_FEATURES.index("size")] = 2.0, 5.0
    assert error.logarithms([LV], row).tolist() == [pytest.approx(0.5 + 3 * 2 + 4 * 4 / 2)]


def ball(radius: float, shift: float = 0.0) -> np.ndarray:
    x, y, z = np.mgrid[:48, :48, :48] - 23.5
    return np.sqrt((x - shift) ** 2 + y**2 + z**2) < radius


def judged(original: np.ndarray, repaired: np.ndarray, shape: np.ndarray, misfit_mm: float = 0.25) -> CaseUncertainty:
    labels = [(mask * LV.id).astype(np.uint8) for mask in (original, original, repaired)]
    maps = {"LV": DistanceMap.of_mm(signed_distance_mm(shape, (1, 1, 1)))}
    case = RepairedRoi(*labels, maps, maps, (1.0, 1.0, 1.0), misfits_mm={"LV": misfit_mm}, margins_mm={"LV": 0.1})
    return judge_case(case, HEART, of_voxels=True)


def test_features_of_a_structure_by_hand() -> None:
    """A label of 15 mm, a shape 1 mm wider, and a result that is the label without its right half."""
    label, half = ball(15), ball(15) & (np.mgrid[:48, :48, :48][0] < 24)
    labels = [(mask * LV.id).astype(np.uint8) for mask in (label, label, half)]
    maps = {"LV": DistanceMap.of_mm(signed_distance_mm(ball(16), (1, 1, 1)))}
    case = RepairedRoi(
        *labels, maps, maps, (1.0, 1.0, 1.0), misfits_mm={"LV": 1.0}, margins_mm={"LV": None},
        surface_noise_mm2={"LV": 0.25},
    )  # fmt: skip
    (row,) = structure_features(case, measure_evidence(case, HEART), [LV])
    found = dict(zip(STRUCTURE_FEATURES, row, strict=True))
    assert found["volume_change"] == pytest.approx(np.log(2), abs=1e-3) and found["label_alone"] == 1
    assert found["noise"] == found["case_noise"] == pytest.approx(np.log(0.5 + SMALLEST_MM))
    assert found["misfit"] == pytest.approx(np.log(1 + SMALLEST_MM)) and found["has_image"] == 0


def percent(found: CaseUncertainty) -> np.ndarray:
    assert found.percent is not None
    return found.percent


def test_probabilities_are_high_at_the_surface_and_0_far_from_it() -> None:
    """And higher where the shape disagrees."""
    found = judged(ball(15), ball(15), ball(15))
    depth = np.abs(np.sqrt(((np.mgrid[:48, :48, :48] - 23.5) ** 2).sum(0)) - 15)
    assert percent(found).dtype == np.uint8 and (percent(found)[depth > 4] == 0).all()
    near, deep = (percent(found)[(depth > a) & (depth < a + 0.5)].mean() for a in (0, 2))
    assert near > 2 * deep
    moved = judged(ball(15), ball(15), ball(15, shift=2.0))
    side = (depth < 1) & (np.mgrid[:48, :48, :48][0] > 34)
    assert percent(moved)[side].mean() > percent(found)[side].mean()


def test_an_estimate_has_an_interval_about_it_and_is_worse_where_shape_and_label_differ() -> None:
    (good,), (bad,) = (judged(ball(15), ball(15), ball(15, mm), mm / 2).estimates for mm in (0.1, 3.0))
    for one in (good, bad):
        assert one.structure == "LV" and 0 <= one.dice_low <= one.dice <= one.dice_high <= 1
        assert 0 <= one.surface_low_mm <= one.surface_mm <= one.surface_high_mm
    assert bad.expected_error > good.expected_error
    assert StructureEstimate.from_dict(json.loads(json.dumps(good.to_dict()))) == good


def test_what_is_absent_or_made_by_a_classifier_is_not_judged() -> None:
    empty = np.zeros((8, 8, 8), bool)
    assert judged(empty, empty, empty).estimates == () and not percent(judged(empty, empty, empty)).any()
    adrenal = load_anatomy("adrenal")
    labels = np.full((4, 4, 4), adrenal.structures[0].id, np.uint8)
    assert judged_structures(RepairedRoi(labels, labels, labels, {}, {}, (1.0, 1.0, 1.0)), adrenal) == []


def test_the_estimator_of_the_package_is_complete() -> None:
    found = load_estimator()
    kinds = {structure.kind for structure in HEART.structures}
    assert found.dice.quantiles.keys() == found.surface.quantiles.keys() == kinds
    for one in (*found.dice.quantiles.values(), *found.surface.quantiles.values()):
        assert one.low < one.mean < one.high
    assert Estimator.model_validate_json(found.model_dump_json()) == found


def test_the_calibration_is_ascending() -> None:
    before, after = (np.array(column) for column in zip(*load_estimator().calibration, strict=True))
    assert (np.diff(before) > 0).all() and (np.diff(after) >= 0).all() and 0 <= after[0] <= after[-1] <= 1
