"""Score of a cohort: means over structures with intervals over the cases."""

import numpy as np
import pytest
from cohort_score import Score, mean_interval, reduction_interval, score

from heartmend.metrics.case import Row


def row(case: str, labels: str, structure: str, dice: float, nsd: float) -> Row:
    return Row(case, structure, labels, "reference", True, True, {"dice": dice, "nsd_1mm": nsd})


def test_a_mean_over_structures_counts_each_once_whatever_its_cases() -> None:
    values = np.array([[0.8, np.nan], [0.6, 0.5]])
    mean, low, high = mean_interval(values)
    assert mean == pytest.approx((0.7 + 0.5) / 2)
    # The first case alone: 0.8, without the other structure; the second alone: (0.6 + 0.5) / 2.
    assert (low, high) == pytest.approx((0.55, 0.8))


def test_a_score_has_intervals_by_structure_and_the_nsd() -> None:
    rows = [
        row(case, labels, structure, dice, nsd)
        for case, after in (("1", 0.9), ("2", 0.8))
        for structure in ("LV", "RV")
        for labels, dice, nsd in (("a", 0.6, 0.5), ("b", after, after))
    ]
    found = score(rows)
    assert found.removed["LV"] == pytest.approx(1 - 0.15 / 0.4)
    # Draws of one case twice remove half or three quarters of the error.
    assert found.spans["LV"] == pytest.approx((0.5, 0.75)) == (found.low, found.high)
    assert found.nsd == pytest.approx((0.5, 0.85, 0.8, 0.9))
    assert Score(**found.to_dict()) == found
    assert reduction_interval(np.array([[[0.4]], [[0.1]]]))[0] == pytest.approx(0.75)
