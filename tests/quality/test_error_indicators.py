"""Tests of the error indicators, with values that follow from boxes of known size."""

from dataclasses import replace

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import signed_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.quality.error_indicators import ErrorIndicators, case_indicators
from heartmend.repair.slice_staircase.detection import SliceStaircase
from heartmend.run_folder.records import CaseFacts, PreparedCase

ANATOMY = load_anatomy("heart")
LV, RV = 3, 5
SHAPE, SPACING = (40, 36, 36), (1.0, 1.0, 1.0)


def box_map(low: int = 10, high: int = 22) -> np.ndarray:
    """Make an LV of 12 x 14 x 14 voxels by default."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[low:high, 10:24, 10:24] = LV
    return labels


def case_of(labels: np.ndarray, roi: Roi | None = None) -> PreparedCase:
    roi = roi or Roi(Grid(SHAPE, np.eye(4)), (0, 0, 0), SHAPE)
    cleaned = np.ascontiguousarray(labels[roi.source_box()])
    return PreparedCase(CaseFacts("1", roi), cleaned, cleaned)


def indicators_of(
    labels: np.ndarray, name: str = "LV", case: PreparedCase | None = None, **more: object
) -> ErrorIndicators:
    found = case_indicators(labels, case or case_of(labels), ANATOMY, **more)  # type: ignore[arg-type]
    return next(s for s in found if s.structure == name)


def test_every_structure_has_indicators_and_a_missing_one_is_absent() -> None:
    found = case_indicators(box_map(), case_of(box_map()), ANATOMY)
    assert [s.structure for s in found] == list(ANATOMY.names)
    assert [s.structure for s in found if s.present] == ["LV"]


def test_a_false_positive_component_is_a_defect_error() -> None:
    labels = box_map()
    voxels = int((labels == LV).sum())
    labels[32:34, 5:7, 5:7] = LV
    indicators = indicators_of(labels)
    # 8 voxels too many: Dice is 2 n / (n + n + 8).
    assert indicators.defect_error == pytest.approx(1 - 2 * voxels / (2 * voxels + 8))
    assert [(c.rule, c.voxels) for c in indicators.changes] == [("components", 8)]


def test_labels_outside_the_roi_are_a_defect_error() -> None:
    labels = box_map()
    labels[38:40, 30:32, 30:32] = LV
    roi = Roi(Grid(SHAPE, np.eye(4)), (0, 0, 0), (30, 28, 28))
    indicators = indicators_of(labels, case=case_of(labels, roi))
    assert indicators.outside_ml == pytest.approx(0.008)
    assert indicators.volume_ml == pytest.approx((12 * 14 * 14 + 8) / 1000)
    assert indicators.defect_error == pytest.approx(1 - 2 * 12 * 14 * 14 / (2 * 12 * 14 * 14 + 8))


def test_a_shape_shifted_by_two_voxels_has_a_shape_error_and_a_low_weight() -> None:
    labels, shifted = box_map(), box_map(12, 24)
    shape = signed_distance_mm(shifted == LV, SPACING)
    indicators = indicators_of(labels, shapes={"LV": shape})
    # Ten of twelve slices are in both.
    assert indicators.shape_error == pytest.approx(1 - 10 / 12)
    assert indicators.shape_distance_mm is not None and 0.4 < indicators.shape_distance_mm < 2.0
    # The difference between label and shape is smooth: the shape misfits, and the label is not noisy.
    assert 0 <= indicators.shape_weight < 0.3


def test_a_rough_label_with_a_fitting_shape_has_a_higher_expected_error() -> None:
    labels = box_map()
    rng = np.random.default_rng(0)
    smooth = labels.copy()
    for edge, inside in ((9, False), (22, False), (10, True), (21, True)):
        rough = rng.random((14, 14)) < 0.5
        labels[edge, 10:24, 10:24] = np.where(rough, 0 if inside else LV, labels[edge, 10:24, 10:24])
    shape = signed_distance_mm(smooth == LV, SPACING)
    rough, smooth_label = (indicators_of(m, shapes={"LV": shape}) for m in (labels, smooth))
    assert rough.roughness_mm > 1.3 * smooth_label.roughness_mm
    assert rough.shape_weight > 0.5
    assert rough.expected_error > smooth_label.expected_error + 0.03


def test_the_slice_staircase_is_in_mm() -> None:
    case = case_of(box_map())
    case = replace(case, facts=replace(case.facts, staircases=(SliceStaircase(2, 4, 0),)))
    assert indicators_of(box_map(), case=case).slice_staircase_mm == 4.0


@pytest.mark.parametrize(
    ("shape_error", "shape_weight", "error"), [(None, 0.0, 0.2), (0.4, 0.5, 0.3), (0.4, 0.0, 0.2), (0.4, 1.0, 0.4)]
)
def test_the_expected_error_is_weighted_by_the_shape_weight(
    shape_error: float | None, shape_weight: float, error: float
) -> None:
    indicators = ErrorIndicators(
        "1", "LV", True, defect_error=0.1, roughness_error=0.1, shape_error=shape_error, shape_weight=shape_weight
    )
    assert indicators.expected_error == pytest.approx(error)


def test_the_expected_error_is_at_most_1() -> None:
    assert ErrorIndicators("1", "LV", True, defect_error=0.8, roughness_error=0.9).expected_error == 1.0
