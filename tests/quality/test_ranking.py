"""The ranking and its words, from signs made by hand."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from heartmend.anatomy.load import load_anatomy
from heartmend.quality.ranking import Ranking, rank
from heartmend.quality.ranking_table import ranking_tables, write_ranking
from heartmend.quality.reasons import CohortMedians, reasons
from heartmend.quality.error_indicators import ErrorIndicators
from heartmend.repair.changes import Change

ANATOMY = load_anatomy("heart")
HERE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def lv(case: str, error: float, **more: object) -> ErrorIndicators:
    return ErrorIndicators(case, "LV", True, faults_error=error, **{"volume_ml": 100.0, **more})  # type: ignore[arg-type]


def absent(case: str, structure: str = "LA") -> ErrorIndicators:
    return ErrorIndicators(case, structure, False)


def order(ranking: Ranking) -> list[tuple[str, str]]:
    return [(f.case, f.structure) for f in ranking.structures]


def test_the_worst_first_as_a_multiple_of_the_usual() -> None:
    ranking = rank([lv("a", 0.02), lv("b", 0.04), lv("c", 0.08)], ANATOMY, True)
    assert order(ranking) == [("c", "LV"), ("b", "LV"), ("a", "LV")]
    assert [f.relative_expected_error for f in ranking.structures] == pytest.approx([2.0, 1.0, 0.5])
    assert [c.case for c in ranking.cases] == ["c", "b", "a"]


def test_what_is_usually_poor_is_not_suspicious_for_that() -> None:
    veins = [ErrorIndicators(c, "PV", True, faults_error=e) for c, e in (("a", 0.20), ("b", 0.22), ("c", 0.21))]
    ranking = rank([lv("a", 0.02), lv("b", 0.02), lv("c", 0.06), *veins], ANATOMY, True)
    assert order(ranking)[0] == ("c", "LV")


def test_an_absent_structure_counts_by_how_many_have_it() -> None:
    there = [ErrorIndicators(case, "LA", True, faults_error=0.05) for case in "abc"]
    ranking = rank([*there, absent("d")], ANATOMY, True)
    first = ranking.structures[0]
    assert (first.case, first.error) == ("d", 0.75)
    assert first.reasons == ("absent, though 3 of 4 cases have it",)


def test_what_most_cases_lack_is_no_finding() -> None:
    ranking = rank([absent("a"), absent("b"), ErrorIndicators("c", "LA", True, faults_error=0.05)], ANATOMY, True)
    assert order(ranking) == [("c", "LA")]


@given(st.permutations([0.01, 0.02, 0.03, 0.05, 0.08]))
def test_the_order_in_which_cases_come_decides_nothing(errors: list[float]) -> None:
    ranking = rank([lv(f"{100 * e:.0f}", e) for e in errors], ANATOMY, True)
    assert [f.case for f in ranking.structures] == ["8", "5", "3", "2", "1"]


def test_a_hundredth_of_a_percent_is_no_suspicion() -> None:
    ranking = rank([lv("a", 1e-5), lv("b", 1e-5), lv("c", 2e-3)], ANATOMY, True)
    assert ranking.structures[0].relative_expected_error == pytest.approx(0.4)


def test_a_case_says_what_most_of_its_structures_share_and_whose_the_rest_is() -> None:
    far = {"shape_mm": 1.2, "shape_error": 0.1, "trust": 1.0}
    names = {"LA": far, "LV": far, "RA": {}, "RV": {}}
    worst = [
        ErrorIndicators("a", name, True, faults_error=0.1, slice_staircase_mm=2.0, **more) for name, more in names.items()
    ]
    sound = [ErrorIndicators(case, name, True, faults_error=0.01, shape_mm=0.5) for name in names for case in "bcd"]
    case = rank([*worst, *sound], ANATOMY, True).cases[0]
    assert case.case == "a"
    assert case.reasons == (
        "stairs: drawn on slices 2.0 mm thick",
        "LA, LV: its surface lies 1.2 mm from the cohort's shape on average, usual are 0.5 mm",
    )


USUAL = CohortMedians(20, 20, 0.03, 0.3, 0.5, 100.0, 5.0)


@pytest.mark.parametrize(
    ("signs", "says"),
    [
        (lv("a", 0.1, volume_ml=140.0), "unusually large: 140.0 ml"),
        (lv("a", 0.1, volume_ml=60.0), "unusually small: 60.0 ml"),
        (lv("a", 0.1, shape_mm=1.2), "1.2 mm from the cohort's shape"),
        (lv("a", 0.1, roughness_mm=0.6), "rough by 0.60 mm, usual are 0.30 mm"),
        (lv("a", 0.1, slice_staircase_mm=3.6), "stairs: drawn on slices 3.6 mm thick"),
        (lv("a", 0.1, outside_ml=0.4), "0.4 ml of it lie far from the heart"),
        (lv("a", 0.1, changes=(Change("components", "LV", "dropped", 90, 90.0, HERE),)), "1 island, 0.1 ml"),
        (lv("a", 0.1, changes=(Change("swaps", "LV", "moved to LA", 900, 900.0, HERE),)), "look like another"),
        (lv("a", 0.1, changes=(Change("swaps", "LA", "moved to LV", 900, 900.0, HERE),)), "by another name"),
        (lv("a", 0.1, changes=(Change("field_of_view", "LV", "cut off", 0, 0.0, HERE),)), "cut off by the field"),
    ],
)
def test_reasons_are_told_in_words(signs: ErrorIndicators, says: str) -> None:
    assert any(says in reason for reason in reasons(signs, USUAL, ANATOMY.by_name("LV")))


def test_what_does_not_stand_out_is_not_told() -> None:
    small_components = tuple(Change("components", "LV", "dropped", 1, 1.0, HERE) for _ in range(9))
    signs = lv("a", 0.03, volume_ml=104.0, shape_mm=0.5, roughness_mm=0.31, changes=small_components)
    assert reasons(signs, USUAL, ANATOMY.by_name("LV")) == ()


def test_the_files_hold_what_the_screen_shows(tmp_path: Path) -> None:
    ranking = rank([lv("[red]a", 0.02), lv("b", 0.08, slice_staircase_mm=2.0)], ANATOMY, False, {"c": "cannot be read"})
    structures, cases, table = write_ranking(ranking, tmp_path / "audit")
    rows = list(csv.DictReader(io.StringIO(structures.read_text(encoding="utf-8"))))
    assert [(r["rank"], r["case"], r["structure"]) for r in rows] == [("1", "b", "LV"), ("2", "[red]a", "LV")]
    assert float(rows[0]["expected_dice_error"]) == 0.08
    assert rows[0]["reasons"] == "stairs: drawn on slices 2.0 mm thick"
    assert [r["case"] for r in csv.DictReader(io.StringIO(cases.read_text(encoding="utf-8")))] == ["b", "[red]a"]
    told = json.loads(table.read_text(encoding="utf-8"))
    assert told["skipped"] == {"c": "cannot be read"} and told["with_shapes"] is False
    console = Console(record=True, width=300)
    console.print(ranking_tables(ranking))
    shown = console.export_text()
    assert "[red]a" in shown and "drawn on slices" in shown and "Without shapes" in shown
