"""Calibre of a cohort's vessels, and the excess radius of a label."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartmend.anatomy.calibre import Calibre


def test_the_calibre_is_robust_against_a_third_of_labels_that_are_too_wide() -> None:
    correct = [1.2, 1.25, 1.3, 1.22, 1.28, 1.33, 1.27, 1.31]
    calibre = Calibre.of_cohort([*correct, 1.95, 2.0, 1.9, 2.02], voxel_mm=0.9)
    assert calibre.mean_mm == pytest.approx(np.mean(correct), abs=0.03)
    assert calibre.excess_mm(1.95, 0.9) == pytest.approx(0.67, abs=0.08)
    assert all(abs(calibre.excess_mm(r, 0.9)) < 0.02 for r in correct)


def test_few_cases_give_the_published_calibre() -> None:
    assert Calibre.of_cohort([2.0, 2.1, 0.0], voxel_mm=0.9) == Calibre()


@pytest.mark.parametrize("radius_mm", [1.1, 1.4, 1.95, 2.5])
def test_few_labels_of_the_width_of_real_trees_keep_it(radius_mm: float) -> None:
    for voxel_mm in (0.35, 0.5, 0.7, 0.9):
        assert Calibre.of_cohort([radius_mm] * 4, voxel_mm).excess_mm(radius_mm, voxel_mm) == 0
    assert Calibre().excess_mm(4.0, 0.7) > 1.0, "no person has such vessels"


def test_three_wide_labels_of_five_do_not_make_the_correct_ones_wider() -> None:
    # The widths of five hearts of which three were corrupted; as an estimate of 1.95 mm it would widen the two others.
    radii = [1.95, 1.24, 1.93, 1.99, 1.31]
    calibre = Calibre.of_cohort(radii, voxel_mm=0.9)
    assert calibre.mean_mm - calibre.spread_mm < Calibre().mean_mm < 1.95 < calibre.mean_mm + 1.5 * calibre.spread_mm
    assert [calibre.excess_mm(r, 0.9) for r in radii] == [0.0] * 5
    assert calibre.excess_mm(3.9, 0.9) > 1.0, "what is beyond both is an error"
    # Nor does a convention of wide labels lose its width to the published one.
    assert all(Calibre.of_cohort([2.2] * 7, 0.5).excess_mm(r, 0.5) == 0 for r in (1.4, 2.2))
    assert Calibre.of_cohort([2.2] * 10, 0.5).mean_mm == pytest.approx(2.2, abs=0.01)


@given(st.floats(0.3, 4.0), st.floats(0.3, 1.5))
def test_the_excess_is_a_share_of_the_deviation(radius_mm: float, voxel_mm: float) -> None:
    calibre = Calibre()
    share = calibre.excess_mm(radius_mm, voxel_mm) / (radius_mm - calibre.mean_mm or 1.0)
    assert 0 <= share <= 1
