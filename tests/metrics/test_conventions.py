"""The conventions of the measures: every example of docs/reference/metrics.md, computed."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartmend.metrics.case import Row, evaluate_case
from heartmend.metrics.metric_catalogue import Subject, catalogue
from heartmend.metrics.segment import Segment
from heartmend.metrics.statistics import upper_bound
from heartmend.metrics.summary import count_worse, summarise
from heartmend.types import Mask

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "metrics.md"
COLUMNS = ("dice", "nsd_1mm", "hd95_mm", "assd_mm")
METRICS = catalogue(keys=COLUMNS)


def empty(*shape: int) -> Mask:
    return np.zeros(shape or (20, 20, 20), bool)


def box(mask: Mask, *sides: slice) -> Mask:
    mask[sides] = True
    return mask


def examples() -> dict[str, tuple[Mask, Mask]]:
    """True and given mask of each example."""
    four, plane = slice(4, 8), box(empty(40, 10, 10), slice(5, 6))
    return {
        "cube moved by one voxel": (box(empty(), four, four, four), box(empty(), slice(5, 9), four, four)),
        "plane with a second one": (plane, box(plane.copy(), slice(35, 36))),
        "voxel in the opposite corner": (box(empty(), *[slice(0, 1)] * 3), box(empty(), *[slice(19, 20)] * 3)),
        "structure missed": (box(empty(), *[slice(0, 1)] * 3), empty()),
        "absent from both": (empty(), empty()),
    }


def measured(true: Mask, given: Mask) -> dict[str, float]:
    if true.any() or given.any():
        rows = evaluate_case(given, given, (1, 1, 1), reference=true, metrics=METRICS)
        return dict(rows[1].values)
    # Two maps that lack what a third one has, of which no pair is compared with it.
    one = Segment(true, (1.0, 1.0, 1.0))
    return {metric.key: metric.measure(Subject(None, one, one)) or 0.0 for metric in METRICS}


@pytest.mark.parametrize("name", examples())
def test_the_examples_of_the_page(name: str) -> None:
    (line,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {name} |")]
    stated = [cell.strip() for cell in line.strip("|").split("|")[1:]]
    found = measured(*examples()[name])
    for text, key in zip(stated, COLUMNS, strict=True):
        digits = len(text.partition(".")[2])
        assert f"{found[key]:.{digits}f}" == text, key


@given(st.lists(st.integers(0, 19), min_size=6, max_size=6))
def test_no_placement_costs_as_much_as_a_miss(at: list[int]) -> None:
    true, placed = empty(), empty()
    true[tuple(at[:3])] = placed[tuple(at[3:])] = True
    one, none = measured(true, placed), measured(true, empty())
    assert one["hd95_mm"] < none["hd95_mm"] and one["assd_mm"] < none["assd_mm"]


def test_distances_where_both_have_it_are_beside_the_means() -> None:
    def row(case: str, which: str, present: bool, hd95_mm: float) -> Row:
        return Row(case, "LAA", which, "reference", present, True, {"hd95_mm": hd95_mm})  # type: ignore[arg-type]

    rows = [row("1", "a", True, 4.0), row("1", "b", True, 2.0), row("2", "a", True, 6.0), row("2", "b", False, 200.0)]
    (found,) = summarise(rows, METRICS)
    assert found.spreads["hd95_mm"]["b"].mean == 101 and found.false_negative_cases["b"] == 1
    assert found.present["hd95_mm"]["b"].mean == 2 and found.present["hd95_mm"]["a"].mean == 5


def test_the_upper_bounds_of_the_page() -> None:
    text = re.sub(r"\s+", " ", PAGE.read_text())
    for of in (20, 200):
        share = 1 - 0.05 ** (1 / of)
        assert upper_bound(0, of) == pytest.approx(share)
        assert re.search(rf"none of {of} (still )?allows {100 * share:.1f} %", text)
    assert upper_bound(1, 1) == 1


def test_worse_pairs_are_counted_over_all_structures() -> None:
    def pair(case: str, structure: str, before: float, after: float) -> list[Row]:
        return [
            Row(case, structure, which, "reference", True, True, {"dice": value, "nsd_1mm": value})
            for which, value in (("a", before), ("b", after))
        ]  # type: ignore[arg-type]

    summary = summarise(
        [*pair("1", "LV", 0.9, 0.8), *pair("2", "LV", 0.9, 0.9), *pair("1", "LA", 0.9, 0.95)],
        catalogue(keys=["dice", "nsd_1mm"]),
    )
    worse = count_worse(summary)
    assert (worse.found, worse.pairs) == (1, 3)
    # 1 of 3: (1 - p)^3 + 3 p (1 - p)^2 = 0.05.
    p = worse.upper95
    assert (1 - p) ** 3 + 3 * p * (1 - p) ** 2 == pytest.approx(0.05)
    assert str(worse) == "1 of 3 (95 %: at most 86.5 %)"
