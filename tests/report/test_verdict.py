"""Tests of the verdict of a report."""

from dataclasses import replace

from heartmend.report.changes import CaseChange
from heartmend.report.verdict import verdict_of

PLAIN = CaseChange("1", 4.0, 4.0, 2.0, 500.0, "info", 0, 0, ())
SIX = [replace(PLAIN, case=str(n)) for n in range(1, 7)]


def test_equal_cases_need_no_look() -> None:
    verdict = verdict_of(SIX, 0, {"LV": {c.case: 30.0 for c in SIX}})
    assert verdict.text == "6 of 6 cases repaired; none stands out" and verdict.to_look_at == ()


def test_the_most_serious_case_comes_first_and_every_case_has_its_reasons() -> None:
    cases = [
        *SIX,
        replace(PLAIN, case="much", added_ml=54.0),
        replace(PLAIN, case="warned", n_warning=1, reasons=("RV: dropped (slices)",)),
        replace(PLAIN, case="kept", not_accepted=("LV",), reasons=("LV: original kept, surface moved 7.0 mm",)),
    ]
    percent = {"PV": {c.case: 8.0 for c in cases} | {"3": 25.0, "4": 19.0}, "LAA": {"1": 90.0, "2": 1.0}}
    verdict = verdict_of(cases, 1, percent, {"RA": ("5",)})
    assert verdict.text == "9 of 10 cases repaired; 5 need a look: 5, kept, warned, much, 3"
    assert {one.case: one.reasons for one in verdict.to_look_at} == {
        "5": ("worse than before by the reference: RA",),
        "kept": ("LV: original kept, surface moved 7.0 mm",),
        "warned": ("RV: dropped (slices)",),
        # 60 of 500 ml, and 10 of 500 ml in the other cases.
        "much": ("12.0 % of the heart changed (median 2.0 %)",),
        # More than 20 % and three times the median; 19 % is not, and two cases of the LAA give no median.
        "3": ("PV changed by 25 % (median 8 %)",),
    }


def test_a_long_list_is_cut_and_one_case_is_in_the_singular() -> None:
    warned = [replace(PLAIN, case=str(n), n_warning=1, reasons=("x",)) for n in range(1, 9)]
    assert verdict_of(warned, 0, {}).text == "8 of 8 cases repaired; 8 need a look: 1, 2, 3, 4, 5 and 3 more"
    assert verdict_of(warned[:1], 0, {}).text == "1 of 1 case repaired; 1 needs a look: 1"


def test_a_large_change_in_few_cases_has_no_median_to_compare_with() -> None:
    assert verdict_of([replace(PLAIN, case=str(n), added_ml=90.0 * n) for n in range(4)], 0, {}).to_look_at == ()
