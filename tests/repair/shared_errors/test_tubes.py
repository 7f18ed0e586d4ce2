"""Tests of the width of thin vessels that all cases share."""

import numpy as np
import pytest

from heartmend.repair.shared_errors.tubes import (
    REGION,
    common_shifts_mm,
    summarise_tubes,
    tube_shift_mm,
    typical_shifts_mm,
)


def tube(width: int) -> np.ndarray:
    mask = np.zeros((20, 20, 60), bool)
    mask[8 : 8 + width, 8 : 8 + width] = True
    return mask


def test_a_vessel_that_is_a_voxel_too_wide_is_narrowed_by_a_voxel() -> None:
    wide = np.zeros((20, 20, 60), bool)
    wide[7:12, 7:12] = True
    shift = tube_shift_mm(wide, tube(3), (1, 1, 1))
    # Any movement from -0.5 to -1.5 mm removes exactly one layer.
    assert shift == pytest.approx(-1.0, abs=0.15)
    assert tube_shift_mm(tube(3), tube(3), (1, 1, 1)) == 0.0
    assert tube_shift_mm(tube(3), np.zeros((20, 20, 60), bool), (1, 1, 1)) is None


def cases(*shifts: float) -> list[dict[str, float]]:
    return [{"Coronary": shift} for shift in shifts]


def test_a_width_on_which_the_trusted_cases_do_not_agree_is_kept() -> None:
    assert common_shifts_mm(cases(-1.0, -0.8, -0.9), "trusted") == {"Coronary": -0.9}
    assert common_shifts_mm(cases(-1.0, 0.8, -0.9), "trusted") == {}
    assert common_shifts_mm(cases(-1.0, -0.9), "trusted") == {}


def test_by_the_cts_more_cases_are_needed_and_small_movements_do_not_count() -> None:
    assert common_shifts_mm(cases(-1.0, -0.8, -0.9, -0.7, -0.8), "image") == {"Coronary": -0.8}
    assert common_shifts_mm(cases(-1.0, -0.8, -0.9, -0.7), "image") == {}
    assert common_shifts_mm(cases(-0.2, -0.2, -0.2, -0.2, -0.2), "image") == {}


def test_a_usual_case_is_the_median() -> None:
    assert typical_shifts_mm(cases(0.0, 0.0, -0.7, 0.1, 0.0)) == {"Coronary": 0.0}
    assert typical_shifts_mm(cases(0.0, 0.0)) == {}


def test_the_table_contains_the_error_and_what_is_left_of_it() -> None:
    # Movements inwards by 0.6 and 0.8 mm: the labels are 0.7 mm too wide; 0.65 mm of it are removed.
    (row,) = summarise_tubes(cases(-0.6, -0.8), {"Coronary": -0.65})
    assert (row.structure, row.region, row.n_cases, row.evidence) == ("Coronary", REGION, 2, "measured")
    assert row.mean_mm == pytest.approx(0.7) and row.left_mm == pytest.approx(0.05)
    assert row.case_sd_mm == pytest.approx(0.1 * 2**0.5)
    assert row.ci95_low_mm < 0.7 < row.ci95_high_mm
    assert summarise_tubes(cases(-0.6), {}) == []
