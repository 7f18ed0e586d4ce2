"""One case: which rows there are, and what is in them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import ConfigError
from heartmend.metrics.case import Row, evaluate_case
from heartmend.metrics.catalogue import catalogue
from heartmend.metrics.summary import summarise

HEART = load_anatomy("heart")
SPACING = (0.5, 1.0, 2.0)


def heart() -> np.ndarray:
    """An LA of 4 x 6 x 5 voxels with an LAA of 3 x 2 x 2 on it, and a coronary that floats 1 mm off the aorta."""
    labels = np.zeros((30, 24, 20), np.uint8)
    labels[4:8, 4:10, 4:9] = 2
    labels[8:11, 5:7, 5:7] = 8
    labels[20:24, 4:10, 4:9] = 6
    labels[20:22, 11:20, 5:7] = 9
    return labels


def row_of(rows: list[Row], structure: str, labels: str) -> Row:
    (found,) = [row for row in rows if row.structure == structure and row.labels == labels]
    return found


def test_without_a_reference_b_is_compared_with_a() -> None:
    rows = evaluate_case(heart(), heart(), SPACING, HEART, case="x")
    assert [(r.structure, r.labels, r.against) for r in rows] == [
        (name, *maps) for name in ("LA", "Aorta", "LAA", "Coronary") for maps in (("a", None), ("b", "a"))
    ]
    alone, both = row_of(rows, "LA", "a").values, row_of(rows, "LA", "b").values
    assert "dice" not in alone and both["dice"] == both["nsd_0.5mm"] == 1 and both["hd95_mm"] == 0
    assert alone["volume_ml"] == pytest.approx(4 * 6 * 5 / 1000)
    assert alone["components"] == alone["euler"] == 1 and alone["component_count_error"] == alone["euler_error"] == 0
    assert row_of(rows, "Aorta", "a").values["component_count_error"] == 1, "the anatomy expects two"


def test_contacts_are_those_of_the_anatomy() -> None:
    rows = evaluate_case(heart(), heart(), SPACING, HEART)
    laa, coronary, la = (row_of(rows, name, "a").values for name in ("LAA", "Coronary", "LA"))
    assert (laa["contact_mm2"], laa["gap_mm"]) == (2 * 2 * 1.0 * 2.0, 0)
    assert (coronary["contact_mm2"], coronary["gap_mm"]) == (0, 1.0)
    assert "contact_mm2" not in la


def test_centrelines_are_those_of_tubes() -> None:
    rows = evaluate_case(heart(), heart(), SPACING, HEART)
    assert row_of(rows, "Coronary", "b").values["cldice"] == 1
    assert row_of(rows, "Coronary", "b").values["centreline_overlap_1.5mm"] == 1
    assert "cldice" not in row_of(rows, "LAA", "b").values


def test_with_a_reference_both_are_compared_with_it_and_it_is_measured_too() -> None:
    moved = np.roll(heart(), 2, axis=0)
    rows = evaluate_case(moved, heart(), SPACING, HEART, heart())
    assert [(r.labels, r.against) for r in rows[:3]] == [("a", "reference"), ("b", "reference"), ("reference", None)]
    assert row_of(rows, "LA", "a").values["dice"] == 0.5, "moved by 2 of 4 voxels"
    assert row_of(rows, "LA", "a").values["hd95_mm"] == 1.0
    assert row_of(rows, "LA", "b").values["dice"] == 1
    assert row_of(rows, "LA", "a").values["volume_ratio"] == 1


def test_what_is_missing_and_what_is_extra() -> None:
    without, salted = heart(), heart()
    without[without == 8] = 0
    salted[0, 0, 0] = 5
    rows = evaluate_case(without, salted, SPACING, HEART, heart())
    missing = row_of(rows, "LAA", "a")
    assert missing.expected and not missing.present
    assert missing.values["dice"] == missing.values["nsd_3mm"] == missing.values["volume_ratio"] == 0
    assert missing.values["hd95_mm"] == missing.values["assd_mm"] == pytest.approx(np.linalg.norm([1.5, 2, 4]))
    assert "components" not in missing.values and missing.values["component_count_error"] == 1
    extra = row_of(rows, "RV", "b")
    assert extra.present and not extra.expected
    assert extra.values["dice"] == 0 and "volume_ratio" not in extra.values
    (laa,) = [s for s in summarise(rows, catalogue()) if s.structure == "LAA"]
    assert (laa.cases, laa.missing["a"], laa.missing["b"]) == (1, 1, 0)
    (rv,) = [s for s in summarise(rows, catalogue()) if s.structure == "RV"]
    assert (rv.cases, rv.extra["b"], rv.gone) == (0, 1, None)


def test_the_true_spacing_counts_along_its_own_axis() -> None:
    for axis, spacing in enumerate(SPACING):
        a, b = np.zeros((20, 20, 20), np.uint8), np.zeros((20, 20, 20), np.uint8)
        np.moveaxis(a, axis, 0)[5] = np.moveaxis(b, axis, 0)[7] = 3
        found = row_of(evaluate_case(a, b, SPACING, HEART), "LV", "b").values
        assert found["hd95_mm"] == found["assd_mm"] == 2 * spacing


def test_metrics_can_be_chosen_and_mistakes_are_told() -> None:
    chosen = catalogue([2.5], keys=["nsd_2.5mm", "volume_ml"])
    assert [m.key for m in chosen] == ["nsd_2.5mm", "volume_ml"]
    rows = evaluate_case(heart(), heart(), SPACING, HEART, metrics=chosen)
    assert set(rows[1].values) == {"nsd_2.5mm", "volume_ml"}
    with pytest.raises(ConfigError, match=r"'hd99_mm'.*hd95_mm"):
        catalogue(keys=["hd99_mm"])
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="no length"):
            catalogue([bad])


def test_units_are_in_the_keys() -> None:
    for metric in catalogue():
        if metric.unit:
            assert metric.key.endswith("_" + metric.unit.replace("²", "2"))


@settings(max_examples=12, deadline=None)
@given(st.permutations(range(3)), st.lists(st.booleans(), min_size=3, max_size=3), st.integers(0, 2**32))
def test_how_a_file_orders_its_axes_changes_nothing(axes: list[int], flips: list[bool], seed: int) -> None:
    """Centrelines apart: thinning takes voxels away in the order of the axes."""
    rng = np.random.default_rng(seed)
    a, b = (
        np.where(rng.random((30, 24, 20)) < 0.03, rng.choice([0, 2, 6, 8], (30, 24, 20)), heart()) for _ in range(2)
    )
    window = tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)
    turned = [np.asarray(x, np.uint8).transpose(axes)[window] for x in (a, b)]
    before = evaluate_case(a.astype(np.uint8), b.astype(np.uint8), SPACING, HEART)
    after = evaluate_case(*turned, [SPACING[axis] for axis in axes], HEART)
    for one, two in zip(before, after, strict=True):
        for key, value in one.values.items():
            if "centreline" not in key and key != "cldice":
                assert two.values[key] == pytest.approx(value), (one.structure, key)
