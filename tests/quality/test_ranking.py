"""Tests of the ranking and its reasons, from indicators made by hand."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from heartmend.anatomy.load import load_anatomy
from heartmend.quality.error_indicators import ErrorIndicators
from heartmend.quality.ranking import Ranking, rank
from heartmend.quality.ranking_table import ranking_tables, write_ranking
from heartmend.quality.reasons import CohortMedians, reasons
from heartmend.repair.changes import Change

ANATOMY = load_anatomy("heart")
HERE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def lv(case: str, error: float, **more: object) -> ErrorIndicators:
    return ErrorIndicators(case, "LV", True, defect_error=error, **{"volume_ml": 100.0, **more})  # type: ignore[arg-type]


def absent(case: str, structure: str = "LA") -> ErrorIndicators:
    return ErrorIndicators(case, structure, False)


def order(ranking: Ranking) -> list[tuple[str, str]]:
    return [(f.case, f.structure) for f in ranking.structures]


def test_the_largest_error_of_a_structure_comes_first() -> None:
    ranking = rank([lv("a", 0.02), lv("b", 0.04), lv("c", 0.08)], ANATOMY, True)
    assert order(ranking) == [("c", "LV"), ("b", "LV"), ("a", "LV")]
    assert [f.relative_expected_error for f in ranking.structures] == pytest.approx([2.0, 1.0, 0.5])
    assert [c.case for c in ranking.cases] == ["c", "b", "a"]


def test_what_a_minute_of_correction_removes_decides_the_order() -> None:
    """An LV of 0.06 in 4 minutes removes 0.015 a minute, coronaries of 0.20 in 25 minutes 0.008."""
    vessels = [
        ErrorIndicators(c, "Coronary", True, defect_error=e, minutes=m)
        for c, e, m in (("a", 0.20, 25.0), ("b", 0.20, 20.0), ("c", 0.20, 30.0))
    ]
    ranking = rank(
        [*(lv(c, e, minutes=4.0) for c, e in (("a", 0.06), ("b", 0.02), ("c", 0.02))), *vessels], ANATOMY, True
    )
    assert order(ranking)[:4] == [("a", "LV"), ("a", "Coronary"), ("b", "Coronary"), ("c", "Coronary")]
    first = ranking.structures[0]
    assert first.error_per_minute == pytest.approx(0.015)
    # The surface of a label with many errors is large: the usual time of the structure counts, not its own.
    assert {f.minutes for f in ranking.structures if f.structure == "Coronary"} == {25.0}
    case = ranking.cases[0]
    assert (case.case, case.minutes, case.error_per_minute) == ("a", 29.0, pytest.approx(0.26 / 29))


def test_an_appendage_that_may_be_part_of_the_atrium_is_named_without_an_error() -> None:
    there = [ErrorIndicators(case, "LAA", True, volume_ml=9.0, defect_error=0.05) for case in "ab"]
    ranking = rank([*there, absent("c", "LAA"), absent("d", "LAA")], ANATOMY, True)
    found = {one.case: one for one in ranking.structures}
    assert found["c"].expected_error == 0
    assert found["c"].reasons == ("absent, present in 2 of 4 cases; it may be part of the LA here",)
    host = ErrorIndicators("e", "LAA", False, host="LA")
    (told,) = (one for one in rank([*there, host], ANATOMY, True).structures if one.case == "e")
    assert told.expected_error == 0
    assert told.reasons == ("part of the LA in this label map, on its own in 2 of 3 cases; each stays as it is",)
    rare = rank([there[0], *(absent(case, "LAA") for case in "cdefg")], ANATOMY, True)
    assert [one.case for one in rare.structures] == ["a"], "where nearly all lack it, its absence is usual"


def test_the_error_of_an_absent_structure_is_the_fraction_of_cases_that_have_it() -> None:
    there = [ErrorIndicators(case, "LA", True, defect_error=0.05) for case in "abc"]
    ranking = rank([*there, absent("d")], ANATOMY, True)
    first = ranking.structures[0]
    assert (first.case, first.expected_error) == ("d", 0.75)
    assert first.reasons == ("absent, present in 3 of 4 cases",)


def test_the_absence_of_a_structure_that_most_cases_lack_is_not_ranked() -> None:
    ranking = rank([absent("a"), absent("b"), ErrorIndicators("c", "LA", True, defect_error=0.05)], ANATOMY, True)
    assert order(ranking) == [("c", "LA")]


@given(st.permutations([0.01, 0.02, 0.03, 0.05, 0.08]))
def test_the_ranking_does_not_depend_on_the_order_of_the_input(errors: list[float]) -> None:
    ranking = rank([lv(f"{100 * e:.0f}", e) for e in errors], ANATOMY, True)
    assert [f.case for f in ranking.structures] == ["8", "5", "3", "2", "1"]


def test_a_tiny_median_error_does_not_increase_the_ratio() -> None:
    ranking = rank([lv("a", 1e-5), lv("b", 1e-5), lv("c", 2e-3)], ANATOMY, True)
    assert ranking.structures[0].relative_expected_error == pytest.approx(0.4)


def test_the_reasons_of_a_case_are_the_shared_ones_then_those_of_its_worst_structures() -> None:
    far = {"shape_distance_mm": 1.2, "shape_error": 0.1, "shape_weight": 1.0}
    names = {"LA": far, "LV": far, "RA": {}, "RV": {}}
    worst = [
        ErrorIndicators("a", name, True, defect_error=0.1, slice_staircase_mm=2.0, **more)
        for name, more in names.items()
    ]
    normal = [
        ErrorIndicators(case, name, True, defect_error=0.01, shape_distance_mm=0.5) for name in names for case in "bcd"
    ]
    case = rank([*worst, *normal], ANATOMY, True).cases[0]
    assert case.case == "a"
    assert case.reasons == (
        "slice staircase: drawn on slices 2.0 mm thick",
        "LA, LV: mean distance to the fitted shape 1.2 mm (median 0.5 mm)",
    )


MEDIANS = CohortMedians(20, 20, 0.03, 0.3, 0.5, 100.0, 5.0)


@pytest.mark.parametrize(
    ("indicators", "text"),
    [
        (lv("a", 0.1, volume_ml=140.0), "unusually large: 140.0 ml"),
        (lv("a", 0.1, volume_ml=60.0), "unusually small: 60.0 ml"),
        (lv("a", 0.1, shape_distance_mm=1.2), "fitted shape 1.2 mm"),
        (lv("a", 0.1, roughness_mm=0.6), "roughness 0.60 mm (median 0.30 mm)"),
        (lv("a", 0.1, slice_staircase_mm=3.6), "slice staircase: drawn on slices 3.6 mm thick"),
        (lv("a", 0.1, outside_ml=0.4), "0.4 ml outside the ROI"),
        (
            lv("a", 0.1, changes=(Change("components", "LV", "removed", 90, 90.0, HERE),)),
            "1 false-positive component, 0.1 ml",
        ),
        (
            lv("a", 0.1, changes=(Change("swaps", "LV", "moved to LA", 900, 900.0, HERE),)),
            "belong to another structure",
        ),
        (
            lv("a", 0.1, changes=(Change("swaps", "LA", "moved to LV", 900, 900.0, HERE),)),
            "have the label of another structure",
        ),
        (lv("a", 0.1, changes=(Change("field_of_view", "LV", "cut off", 0, 0.0, HERE),)), "cut off by the field"),
    ],
)
def test_reasons_are_texts(indicators: ErrorIndicators, text: str) -> None:
    assert any(text in reason for reason in reasons(indicators, MEDIANS, ANATOMY.by_name("LV")))


def test_values_near_the_median_are_no_reason() -> None:
    small_components = tuple(Change("components", "LV", "removed", 1, 1.0, HERE) for _ in range(9))
    indicators = lv("a", 0.03, volume_ml=104.0, shape_distance_mm=0.5, roughness_mm=0.31, changes=small_components)
    assert reasons(indicators, MEDIANS, ANATOMY.by_name("LV")) == ()


def test_the_files_contain_what_the_terminal_shows(tmp_path: Path) -> None:
    ranking = rank([lv("[red]a", 0.02), lv("b", 0.08, slice_staircase_mm=2.0)], ANATOMY, False, {"c": "cannot be read"})
    structures, cases, table = write_ranking(ranking, tmp_path / "quality")
    rows = list(csv.DictReader(io.StringIO(structures.read_text(encoding="utf-8"))))
    assert [(r["rank"], r["case"], r["structure"]) for r in rows] == [("1", "b", "LV"), ("2", "[red]a", "LV")]
    assert float(rows[0]["expected_dice_error"]) == 0.08
    assert rows[0]["reasons"] == "slice staircase: drawn on slices 2.0 mm thick"
    assert [r["case"] for r in csv.DictReader(io.StringIO(cases.read_text(encoding="utf-8")))] == ["b", "[red]a"]
    stored = json.loads(table.read_text(encoding="utf-8"))
    assert stored["skipped"] == {"c": "cannot be read"} and stored["with_shapes"] is False
    console = Console(record=True, width=300)
    console.print(ranking_tables(ranking))
    shown = console.export_text()
    assert "[red]a" in shown and "drawn on slices" in shown and "Without fitted shapes" in shown
