"""Which cases a person should see."""

from dataclasses import replace

from heartmend.report.changes import CaseChange, select_cases

QUIET = CaseChange("a", 1.0, 2.0, 1.0, 400.0, "info", 0, 0, ())


def test_share_of_the_heart() -> None:
    assert QUIET.changed_share == 0.01


def test_not_taken_before_warnings_before_looks_then_the_most_changed() -> None:
    cases = [
        QUIET,
        replace(QUIET, case="b", looks=9),
        replace(QUIET, case="c", warnings=1),
        replace(QUIET, case="d", untaken=("PV",)),
        replace(QUIET, case="e", added_ml=40.0),
    ]
    chosen = select_cases(cases, {}, worst=3, most_changed=1)
    assert [case for case, _ in chosen] == ["d", "c", "b", "e"]
    assert "PV kept as they came" in chosen[0][1] and "10.8 %" in chosen[3][1]


def test_with_a_reference_the_lowest_dice() -> None:
    cases = [QUIET, replace(QUIET, case="b", untaken=("PV",)), replace(QUIET, case="c")]
    chosen = select_cases(cases, {"a": 0.95, "b": 0.97, "c": 0.9}, worst=1, most_changed=0)
    assert [case for case, _ in chosen] == ["c"] and "0.900" in chosen[0][1]


def test_no_case_twice() -> None:
    assert len(select_cases([QUIET], {}, worst=2, most_changed=2)) == 1
