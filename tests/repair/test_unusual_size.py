"""Unusual sizes: cohorts of hearts with known volumes."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.boxes import full_box
from heartmend.geometry.grid import Grid
from heartmend.repair.changes import Change
from heartmend.repair.unusual_size import ComparedSize, measure_compared_sizes, name_unusual_sizes

HEART, GRID = load_anatomy("heart"), Grid((40, 30, 30), np.eye(4))
VOLUMES = {"LA": 70.0, "LV": 120.0, "RA": 80.0, "RV": 130.0, "Aorta": 60.0}


def cohort(count: int = 12, seed: int = 0) -> dict[str, dict[str, ComparedSize]]:
    """Hearts of 0.6 to 1.6 times the volume, whose structures vary by 10 %."""
    rng = np.random.default_rng(seed)
    return {
        f"{case:03d}": {
            name: ComparedSize(ml * scale * float(np.exp(0.1 * rng.standard_normal())), 40 * scale ** (1 / 3))
            for name, ml in VOLUMES.items()
        }
        for case, scale in enumerate(np.linspace(0.6, 1.6, count))
    }


def remarks(sizes: dict[str, dict[str, ComparedSize]]) -> dict[str, tuple[Change, ...]]:
    return name_unusual_sizes(sizes, {case: (full_box(GRID.shape), GRID) for case in sizes})


def test_hearts_of_different_sizes_are_not_unusual() -> None:
    assert remarks(cohort()) == {}


@pytest.mark.parametrize(("factor", "word"), [(1.85, "large"), (0.45, "small")])
def test_an_atrium_that_is_large_beside_its_own_heart_is_named(factor: float, word: str) -> None:
    sizes = cohort()
    # Of the smallest heart: beside the cohort the atrium is an ordinary one.
    case = "000" if factor > 1 else "011"
    sizes[case]["LA"] = ComparedSize(70.0 * factor * (0.6 if factor > 1 else 1.6), 30.0)
    ((found, (change,)),) = remarks(sizes).items()
    assert (found, change.structure, change.severity) == (case, "LA", "review")
    assert f"unusually {word}" in change.note and "beside the rest of the heart" in change.note


def test_a_wide_vessel_of_an_ordinary_volume_is_named() -> None:
    sizes = cohort()
    sizes["004"]["Aorta"] = ComparedSize(sizes["004"]["Aorta"].volume_ml, 1.5 * sizes["004"]["Aorta"].width_mm)
    ((case, (change,)),) = remarks(sizes).items()
    assert (case, change.structure) == ("004", "Aorta") and "unusually wide" in change.note


def test_what_the_field_of_view_cuts_is_not_compared() -> None:
    sizes = cohort()
    sizes["004"]["Aorta"] = ComparedSize(9.0, 40.0, is_cut=True)
    assert remarks(sizes) == {}


def test_a_structure_that_the_others_have_is_named_as_absent() -> None:
    sizes = cohort()
    del sizes["003"]["RV"]
    ((case, (change,)),) = remarks(sizes).items()
    assert (case, change.structure) == ("003", "RV") and change.note.startswith("absent, present in 11 of 12 cases")


def test_half_of_the_cases_make_no_absence_unusual() -> None:
    sizes = cohort()
    for case in list(sizes)[:5]:
        del sizes[case]["LA"]
    assert remarks(sizes) == {}


def test_few_cases_are_not_compared() -> None:
    sizes = cohort(5)
    sizes["000"]["LA"] = ComparedSize(400.0)
    assert remarks(sizes) == {} and name_unusual_sizes({}, {}) == {}


def test_sizes_are_those_of_the_structures_without_specks() -> None:
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    labels[5:25, 5:25, 5:25], labels[30, 2, 2] = 3, 3
    labels[0:4, 0:10, 0:10], labels[30:36, 10:16, 10:16] = 2, 9
    sizes = measure_compared_sizes(labels, HEART, GRID, full_box(GRID.shape))
    assert set(sizes) == {"LA", "LV"}
    assert sizes["LV"].volume_ml == 8.0 and sizes["LV"].width_mm == pytest.approx(20, abs=2.1)
    assert sizes["LA"].is_cut and not sizes["LV"].is_cut
