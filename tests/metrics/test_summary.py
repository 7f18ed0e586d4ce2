"""Summaries of rows, as flat tables and for the terminal."""

import io

import pytest
from rich.console import Console

from heartmend.anatomy.load import load_anatomy
from heartmend.metrics.case import Row
from heartmend.metrics.export import flat_tables
from heartmend.metrics.metric_catalogue import catalogue
from heartmend.metrics.summary import summarise
from heartmend.metrics.table import summary_tables

HEART = load_anatomy("heart")
KEYS = ("dice", "nsd_1mm", "hd95_mm", "volume_ml", "components", "cldice")
METRICS = catalogue(keys=KEYS)


def pair(case: str, a: dict[str, float], b: dict[str, float], structure: str = "LV") -> list[Row]:
    """The rows of a case with a reference."""
    return [
        Row(case, structure, "a", "reference", True, True, a),
        Row(case, structure, "b", "reference", True, True, b),
    ]


def scores(dice: float, nsd: float = 0.9) -> dict[str, float]:
    return {"dice": dice, "nsd_1mm": nsd, "hd95_mm": 2.0}


def test_dice_error_reduction_by_hand() -> None:
    rows = pair("1", scores(0.90), scores(0.95)) + pair("2", scores(0.80), scores(0.95))
    (found,) = summarise(rows, METRICS)
    assert found.spreads["dice"]["a"].mean == pytest.approx(0.85)
    assert found.dice_error_reduction == pytest.approx(1 - 0.05 / 0.15)
    assert (found.cases, found.worse_cases, found.n_worse) == (2, (), 0)
    assert found.tests["dice"].difference == pytest.approx(0.1)
    assert found.tests["dice"].rank_biserial == 1


def test_a_case_is_worse_if_both_overlap_and_surface_are_worse() -> None:
    rows = [
        *pair("1", scores(0.90, 0.90), scores(0.85, 0.90)),
        *pair("2", scores(0.90, 0.90), scores(0.85, 0.85)),
        *pair("3", scores(0.90, 0.90), scores(0.895, 0.895)),
    ]
    assert summarise(rows, METRICS)[0].worse_cases == ("2",)
    without = [Row(r.case, r.structure, r.labels, r.against, True, True, {"dice": r.values["dice"]}) for r in rows]
    assert summarise(without, METRICS)[0].n_worse is None


def test_false_positive_cases_do_not_count_in_the_spread() -> None:
    rows = [
        *pair("1", scores(0.9), scores(0.8)),
        Row("2", "LV", "a", "reference", True, False, {"dice": 0.0}),
        Row("2", "LV", "b", "reference", False, False, {"dice": 1.0}),
        Row("3", "LV", "a", "reference", False, True, {"dice": 0.0}),
        Row("3", "LV", "b", "reference", True, True, {"dice": 0.7}),
    ]
    (found,) = summarise(rows, METRICS)
    assert found.cases == 2
    assert found.false_negative_cases == {"a": 1, "b": 0}
    assert found.false_positive_cases == {"a": 1, "b": 0}
    assert found.spreads["dice"]["a"].mean == pytest.approx(0.45)
    assert found.spreads["dice"]["b"].mean == pytest.approx(0.75)


def test_without_a_reference_the_metrics_of_each_map_are_tested() -> None:
    rows = []
    for case, (a, b) in enumerate([(9.0, 1.0), (7.0, 1.0), (5.0, 2.0)]):
        rows += [
            Row(str(case), "LV", "a", None, True, True, {"components": a}),
            Row(str(case), "LV", "b", "a", True, True, {"components": b, "dice": 0.9}),
        ]
    (found,) = summarise(rows, METRICS)
    assert found.tests["components"].difference == pytest.approx(-17 / 3)
    assert found.tests["components"].rank_biserial == -1 and found.tests["components"].p == pytest.approx(2 / 8)
    assert "dice" not in found.tests and found.dice_error_reduction is None and found.worse_cases is None


def test_p_is_corrected_for_the_number_of_structures() -> None:
    rows = []
    for case in range(5):
        rows += pair(str(case), scores(0.8 - case / 100), scores(0.9), "LV")
        rows += pair(str(case), scores(0.8 + case % 2 / 5), scores(0.9 + case / 100), "LA")
    one, two = summarise(rows, METRICS)
    assert one.tests["dice"].p == 2 / 2**5
    assert one.tests["dice"].p_holm == 2 * one.tests["dice"].p
    assert two.tests["dice"].p_holm == two.tests["dice"].p


def test_flat_tables_have_all_values_with_units() -> None:
    rows = pair("1", scores(0.9), scores(0.8)) + pair("2", scores(0.9), scores(0.95))
    tables = {table.name: table for table in flat_tables(rows, METRICS, summarise(rows, METRICS))}
    assert list(tables) == ["cases", "structures", "summary", "tests"]
    assert tables["cases"].rows[1] == {
        "case": "1", "structure": "LV", "labels": "b", "against": "reference", "present": True, "expected": True,
        "dice": 0.8, "nsd_1mm": 0.9, "hd95_mm": 2.0,
    }  # fmt: skip
    assert {c.name: c.unit for c in tables["cases"].columns}["hd95_mm"] == "mm"
    assert tables["structures"].rows[0]["dice_error_reduction"] == pytest.approx(-0.25)
    assert tables["structures"].rows[0]["n_worse"] == 0
    assert {(r["metric"], r["labels"], r["unit"]) for r in tables["summary"].rows} >= {("hd95_mm", "a", "mm")}
    assert {(r["metric"], r["unit"]) for r in tables["tests"].rows} >= {("dice", "1")}
    for table in tables.values():
        names = {column.name for column in table.columns}
        assert all(set(row) <= names for row in table.rows), table.name


def shown(rows: list[Row]) -> str:
    screen = io.StringIO()
    Console(file=screen, width=80).print(summary_tables(summarise(rows, METRICS), METRICS, HEART))
    return screen.getvalue()


def test_the_terminal_table_fits_80_columns() -> None:
    line = {"volume_ml": 140.83, "components": 38.0}
    rows = [
        *pair("1", {**scores(0.9), **line}, {**scores(0.95), **line, "components": 1.0}, "Myocardium"),
        *pair("1", {"dice": 0.8, "nsd_1mm": 0.8, "hd95_mm": 120.4, "cldice": 0.7},
              {"dice": 0.5, "nsd_1mm": 0.5, "hd95_mm": 130.2, "cldice": 0.9}, "Coronary"),
    ]  # fmt: skip
    screen = shown(rows)
    for text in ("Myocardium", "Coronary", "0.900→0.950", "+50%", "Dice error", "removed", "worse", "120.40→130.20",
                 "1/1", "0.700 → 0.900", "HD95, mm", "volume, ml", "38.0→1.0 (1)"):  # fmt: skip
        assert text in screen
    assert "…" not in screen and max(len(line.rstrip()) for line in screen.splitlines()) <= 80


def test_the_terminal_table_without_a_reference() -> None:
    text = shown([
        Row("1", "LV", "a", None, True, True, {"components": 3.0}),
        Row("1", "LV", "b", "a", True, True, scores(0.75)),
        Row("2", "LV", "b", "a", False, True, {"dice": 0.25}),
    ])  # fmt: skip
    assert "0.500" in text and "b against a" in text and "Dice error" not in text
    assert "LV: missing in b in 1 cases" in text
