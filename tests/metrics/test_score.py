"""Rows, summary and table of a cohort before and after."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from heartmend.metrics import Row, Scores, before_after_table, score_case, summarise


def scores(dice: float, nsd: float = 0.9) -> Scores:
    return Scores(dice=dice, nsd=nsd, hd95_mm=2.0, pieces_off=1.0)


def test_gone_is_the_share_of_the_mean_error_taken_away() -> None:
    rows = [Row("a", 3, scores(0.90), scores(0.95)), Row("b", 3, scores(0.80), scores(0.95))]
    summary = summarise(rows)[3]
    assert summary.noisy.dice == pytest.approx(0.85)
    assert summary.gone == pytest.approx(1 - 0.05 / 0.15)
    assert summary.cases == 2 and summary.harmed == ()


def test_harm_needs_both_overlap_and_surface_to_fall() -> None:
    worse_dice_only = Row("a", 1, scores(0.90, 0.90), scores(0.85, 0.90))
    worse_both = Row("b", 1, scores(0.90, 0.90), scores(0.85, 0.85))
    barely = Row("c", 1, scores(0.90, 0.90), scores(0.895, 0.895))
    assert [row.harmed for row in (worse_dice_only, worse_both, barely)] == [False, True, False]
    assert summarise([worse_dice_only, worse_both, barely])[1].harmed == ("b",)


def test_a_structure_absent_from_truth_has_no_row() -> None:
    true = np.zeros((12, 12, 12), np.uint8)
    true[3:9, 3:9, 3:9] = 5
    noisy = true.copy()
    noisy[3, 3:9, 3:9] = 0
    noisy[10, 10, 10] = 7
    rows = score_case(true, noisy, true, (1, 1, 1), ids=(5, 7), case="x")
    assert [row.structure for row in rows] == [5]
    assert rows[0].mended == Scores(1.0, 1.0, 0.0, 0.0)
    assert rows[0].noisy.dice == pytest.approx(2 * 180 / (216 + 180))


def test_only_tubes_get_a_centreline_score() -> None:
    true = np.zeros((20, 8, 8), np.uint8)
    true[2:18, 2:5, 2:5] = 9
    assert score_case(true, true, true, (1, 1, 1), ids=(9,))[0].mended.cldice == 1
    assert score_case(true, true, true, (1, 1, 1), ids=(9,), tubular_ids=())[0].mended.cldice is None


def test_the_table_fits_a_hundred_columns_and_names_everything() -> None:
    names = {1: "Myocardium", 9: "Coronary"}
    rows = [
        Row("a", 1, scores(0.90), scores(0.95)),
        Row("a", 9, Scores(0.8, 0.8, 120.4, 13.5, 0.7), Scores(0.5, 0.5, 130.2, 28.0, 0.9)),
    ]
    screen = io.StringIO()
    Console(file=screen, width=100).print(before_after_table(summarise(rows), names))
    text = screen.getvalue()
    for piece in (
        "Myocardium",
        "Coronary",
        "0.900→0.950",
        "+50%",
        "120.4→130.2",
        "1/1",
        "0.700 → 0.900",
        "mean",
    ):
        assert piece in text
    assert "…" not in text and max(len(line.rstrip()) for line in text.splitlines()) <= 100
