"""What speaks against a label: figures that follow from boxes of known size."""

from dataclasses import replace

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import signed_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.quality.error_indicators import ErrorIndicators, case_indicators
from heartmend.repair.slice_staircase.detection import SliceStaircase
from heartmend.run_folder.records import PreparedCase

ANATOMY = load_anatomy("heart")
LV, RV = 3, 5
SHAPE, SPACING = (40, 36, 36), (1.0, 1.0, 1.0)


def box_map(low: int = 10, high: int = 22) -> np.ndarray:
    """An LV of 12 x 14 x 14 voxels unless told otherwise."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[low:high, 10:24, 10:24] = LV
    return labels


def case_of(labels: np.ndarray, roi: Roi | None = None) -> PreparedCase:
    roi = roi or Roi(Grid(SHAPE, np.eye(4)), (0, 0, 0), SHAPE)
    source = np.ascontiguousarray(labels[roi.source_box()])
    return PreparedCase("1", roi, source, source, (), (), {}, {})


def signs_of(labels: np.ndarray, name: str = "LV", case: PreparedCase | None = None, **more: object) -> ErrorIndicators:
    found = case_indicators(labels, case or case_of(labels), ANATOMY, **more)  # type: ignore[arg-type]
    return next(s for s in found if s.structure == name)


def test_every_structure_has_signs_and_what_is_not_there_is_absent() -> None:
    found = case_indicators(box_map(), case_of(box_map()), ANATOMY)
    assert [s.structure for s in found] == list(ANATOMY.names)
    assert [s.structure for s in found if s.present] == ["LV"]


def test_an_island_costs_its_voxels() -> None:
    labels = box_map()
    whole = int((labels == LV).sum())
    labels[32:34, 5:7, 5:7] = LV
    signs = signs_of(labels)
    # 8 voxels too many: Dice is 2 n / (n + n + 8).
    assert signs.faults_error == pytest.approx(1 - 2 * whole / (2 * whole + 8))
    assert [(c.rule, c.voxels) for c in signs.changes] == [("components", 8)]


def test_what_lies_outside_the_box_about_the_heart_is_wrong() -> None:
    labels = box_map()
    labels[38:40, 30:32, 30:32] = LV
    roi = Roi(Grid(SHAPE, np.eye(4)), (0, 0, 0), (30, 28, 28))
    signs = signs_of(labels, case=case_of(labels, roi))
    assert signs.outside_ml == pytest.approx(0.008)
    assert signs.volume_ml == pytest.approx((12 * 14 * 14 + 8) / 1000)
    assert signs.faults_error == pytest.approx(1 - 2 * 12 * 14 * 14 / (2 * 12 * 14 * 14 + 8))


def test_a_shape_that_lies_two_voxels_beside() -> None:
    labels, shifted = box_map(), box_map(12, 24)
    shape = signed_distance_mm(shifted == LV, SPACING)
    signs = signs_of(labels, shapes={"LV": shape})
    # Ten of twelve slices are in both.
    assert signs.shape_error == pytest.approx(1 - 10 / 12)
    assert signs.shape_mm is not None and 0.4 < signs.shape_mm < 2.0
    # Where label and shape part smoothly the shape misfits and the label is not noisy.
    assert 0 <= signs.trust < 0.3


def test_a_ragged_label_of_a_shape_that_fits_is_told_by_the_shape() -> None:
    labels = box_map()
    rng = np.random.default_rng(0)
    smooth = labels.copy()
    for edge, inside in ((9, False), (22, False), (10, True), (21, True)):
        ragged = rng.random((14, 14)) < 0.5
        labels[edge, 10:24, 10:24] = np.where(ragged, 0 if inside else LV, labels[edge, 10:24, 10:24])
    shape = signed_distance_mm(smooth == LV, SPACING)
    ragged, sound = (signs_of(m, shapes={"LV": shape}) for m in (labels, smooth))
    assert ragged.roughness_mm > 1.3 * sound.roughness_mm
    assert ragged.trust > 0.5
    assert ragged.error > sound.error + 0.03


def test_stairs_are_told_in_mm() -> None:
    case = replace(case_of(box_map()), staircases=(SliceStaircase(2, 4, 0),))
    assert signs_of(box_map(), case=case).slice_staircase_mm == 4.0


@pytest.mark.parametrize(
    ("shape_error", "trust", "error"), [(None, 0.0, 0.2), (0.4, 0.5, 0.3), (0.4, 0.0, 0.2), (0.4, 1.0, 0.4)]
)
def test_the_expected_error_is_the_shapes_by_its_trust(shape_error: float | None, trust: float, error: float) -> None:
    signs = ErrorIndicators("1", "LV", True, faults_error=0.1, roughness_error=0.1, shape_error=shape_error, trust=trust)
    assert signs.error == pytest.approx(error)


def test_a_label_alone_is_never_expected_to_be_worse_than_wrong() -> None:
    assert ErrorIndicators("1", "LV", True, faults_error=0.8, roughness_error=0.9).error == 1.0
