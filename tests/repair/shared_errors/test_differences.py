"""Tests of the correction by trusted label maps."""

import numpy as np
import pytest

from heartmend.geometry.distance import DistanceMap
from heartmend.repair.shared_errors.differences import (
    CaseDifferences,
    correction_of_differences,
    measure_differences,
)

SIDE = 49
SIZE_MM = np.full(3, float(SIDE))
RING = np.array([[x, 0, 0] for x in (-14, 14)] + [[0, y, 0] for y in (-14, 14)] + [[0, 0, 14.0]]) / (SIDE / 2)


def ball(radius_mm: float, shift: float = 0.0) -> np.ndarray:
    at = np.indices((SIDE,) * 3) - SIDE // 2
    at[2] = at[2]
    return np.sqrt(at[0] ** 2 + at[1] ** 2 + (at[2] - shift) ** 2) < radius_mm


def difference(trusted: np.ndarray, own: np.ndarray | None = None) -> CaseDifferences:
    maps = {"LV": DistanceMap.of_mask(ball(14.0) if own is None else own, (1, 1, 1))}
    return measure_differences(maps, {"LV": trusted}, (1, 1, 1), lambda points: (points + 0.5) / SIDE * 2 - 1)


@pytest.mark.parametrize("error_mm", [-3.0, 1.0, 4.0])
def test_the_common_difference_is_corrected(error_mm: float) -> None:
    cases = [difference(ball(14.0 + error_mm)) for _ in range(4)]
    found = correction_of_differences(cases, ("LV",), SIZE_MM)
    assert found.at(RING)[:, 0] == pytest.approx(error_mm, abs=0.3)


def test_differences_of_opposite_signs_are_not_corrected() -> None:
    cases = [difference(ball(14.0 + error)) for error in (2.0, -2.0, 2.0, -2.0)]
    assert np.abs(correction_of_differences(cases, ("LV",), SIZE_MM).at(RING)).max() < 0.2


def test_only_the_common_part_of_a_surface_moves() -> None:
    # In all cases the trusted ball is cut at the same plane; below it nothing differs.
    plane = np.indices((SIDE,) * 3)[2] > SIDE // 2 + 9
    cases = [difference(ball(14.0) & ~plane) for _ in range(3)]
    found = correction_of_differences(cases, ("LV",), SIZE_MM)
    top, bottom = np.array([[0, 0, 12.0]]) / (SIDE / 2), np.array([[0, 0, -14.0]]) / (SIDE / 2)
    assert found.at(top)[0, 0] < -2.0
    assert abs(found.at(bottom)[0, 0]) < 0.1


def test_two_trusted_cases_are_too_few() -> None:
    cases = [difference(ball(17.0)) for _ in range(2)]
    assert correction_of_differences(cases, ("LV",), SIZE_MM).largest_mm == {"LV": 0.0}


def test_a_structure_that_is_absent_in_a_case_is_not_compared() -> None:
    assert not difference(np.zeros((SIDE,) * 3, bool))
    assert not difference(ball(14.0), own=np.zeros((SIDE,) * 3, bool))
