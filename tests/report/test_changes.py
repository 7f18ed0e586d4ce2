"""Tests of the selection of cases for a report."""

from dataclasses import replace

from heartmend.repair.changes import Change
from heartmend.report.changes import CaseChange, CaseSelection, describe_change, select_cases

UNREMARKABLE = CaseChange("a", 1.0, 2.0, 1.0, 400.0, "info", 0, 0, ())


def test_the_changed_fraction_is_relative_to_the_original_volume() -> None:
    assert UNREMARKABLE.changed_fraction == 0.01


def test_without_a_reference_the_cases_of_the_verdict_come_first_then_those_with_changes_to_review() -> None:
    cases = [
        UNREMARKABLE,
        replace(UNREMARKABLE, case="b", n_review=9),
        replace(UNREMARKABLE, case="c", n_warning=1),
        replace(UNREMARKABLE, case="d", not_accepted=("PV",)),
        replace(UNREMARKABLE, case="e", added_ml=40.0),
    ]
    reasons = {"d": ("PV: original kept",), "c": ("RV: dropped",)}
    selected = select_cases(cases, {}, CaseSelection(worst=3, most_changed=1), reasons)
    assert selected[0] == ("d", "PV: original kept") and [case for case, _ in selected] == ["d", "c", "b", "e"]
    assert selected[2][1].endswith("most changes to review: 9") and "10.8 %" in selected[3][1]


def test_a_change_is_described_in_a_few_words() -> None:
    change = Change("slices", "RV", "dropped", 20, 160.0, ((0, 0, 0), (1, 1, 1)), "warning", "a slice of it")
    assert describe_change(change) == "RV: dropped (slices), a slice of it"
    assert describe_change(replace(change, structure="", note="")) == "all structures: dropped (slices)"


def test_with_a_reference_the_lowest_dice_comes_first() -> None:
    cases = [UNREMARKABLE, replace(UNREMARKABLE, case="b", not_accepted=("PV",)), replace(UNREMARKABLE, case="c")]
    selected = select_cases(cases, {"a": 0.95, "b": 0.97, "c": 0.9}, CaseSelection(worst=1, most_changed=0))
    assert [case for case, _ in selected] == ["c"] and "0.900" in selected[0][1]


def test_no_case_is_selected_twice() -> None:
    assert len(select_cases([UNREMARKABLE], {}, CaseSelection(["a"], worst=2, most_changed=2))) == 1
