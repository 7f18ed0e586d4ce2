"""Evaluation of one case: the rows and their values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import BadInputError, ConfigError
from heartmend.metrics.case import Row, evaluate_case
from heartmend.metrics.metric_catalogue import catalogue
from heartmend.metrics.summary import summarise

HEART = load_anatomy("heart")
SPACING = (0.5, 1.0, 2.0)


def heart() -> np.ndarray:
    """An LA of 4 x 6 x 5 voxels that touches an LAA of 3 x 2 x 2, and a coronary at a gap of 1 mm from the aorta."""
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
    assert (
        alone["components"] == alone["euler"] == 1 and alone["components_unexpected"] == alone["euler_unexpected"] == 0
    )
    assert row_of(rows, "Aorta", "a").values["components_unexpected"] == 1, "the anatomy expects two"


def test_contact_with_the_hosts_of_the_anatomy() -> None:
    rows = evaluate_case(heart(), heart(), SPACING, HEART)
    laa, coronary, la = (row_of(rows, name, "a").values for name in ("LAA", "Coronary", "LA"))
    assert (laa["contact_mm2"], laa["gap_mm"]) == (2 * 2 * 1.0 * 2.0, 0)
    assert (coronary["contact_mm2"], coronary["gap_mm"]) == (0, 1.0)
    assert "contact_mm2" not in la


def test_centreline_metrics_are_for_tubes_only() -> None:
    rows = evaluate_case(heart(), heart(), SPACING, HEART)
    assert row_of(rows, "Coronary", "b").values["cldice"] == 1
    assert row_of(rows, "Coronary", "b").values["centreline_overlap_1.5mm"] == 1
    assert "cldice" not in row_of(rows, "LAA", "b").values


def test_overlap_measures_begin_at_the_aorta() -> None:
    """A vessel of 5 x 5 x 40 voxels of 1 mm from the aorta: the half at the aorta, and the other half."""
    true = np.zeros((15, 15, 60), np.uint8)
    true[3:12, 3:12, :8], true[5:10, 5:10, 8:48] = 6, 9
    near, far = true.copy(), true.copy()
    near[:, :, 28:][near[:, :, 28:] == 9] = 0
    far[:, :, :28][far[:, :, :28] == 9] = 0
    rows = evaluate_case(near, far, (1.0, 1.0, 1.0), HEART, true)
    of_near, of_far = (row_of(rows, "Coronary", which).values for which in ("a", "b"))
    # The tolerance is the radius of 2.8 mm, so the vessel counts as found for as much beyond its end.
    assert of_near["centreline_of"] == pytest.approx(20 / 40, abs=0.1)
    assert of_far["centreline_of"] == 0, "the first error is at the aorta"
    assert of_near["centreline_ov"] == pytest.approx(2 * 20 / (20 + 40), abs=0.07)
    assert of_far["centreline_ov"] == pytest.approx(of_near["centreline_ov"], abs=0.02)
    assert of_near["centreline_ot"] == of_near["centreline_ov"], "5.6 mm wide everywhere"
    assert "centreline_of" not in row_of(rows, "Aorta", "a").values


def test_with_a_reference_both_maps_are_compared_with_it() -> None:
    moved = np.roll(heart(), 2, axis=0)
    rows = evaluate_case(moved, heart(), SPACING, HEART, heart())
    assert [(r.labels, r.against) for r in rows[:3]] == [("a", "reference"), ("b", "reference"), ("reference", None)]
    assert row_of(rows, "LA", "a").values["dice"] == 0.5, "moved by 2 of 4 voxels"
    assert row_of(rows, "LA", "a").values["hd95_mm"] == 1.0
    assert row_of(rows, "LA", "b").values["dice"] == 1
    assert row_of(rows, "LA", "a").values["volume_ratio"] == 1


def test_false_negative_and_false_positive_structures() -> None:
    without, speckled = heart(), heart()
    without[without == 8] = 0
    speckled[0, 0, 0] = 5
    rows = evaluate_case(without, speckled, SPACING, HEART, heart())
    missing = row_of(rows, "LAA", "a")
    assert missing.expected and not missing.present
    assert missing.values["dice"] == missing.values["nsd_3mm"] == missing.values["volume_ratio"] == 0
    assert (
        missing.values["hd95_mm"]
        == missing.values["assd_mm"]
        == pytest.approx(np.linalg.norm(np.multiply(heart().shape, SPACING)))
    )
    assert "components" not in missing.values and missing.values["component_count_error"] == 1
    extra = row_of(rows, "RV", "b")
    assert extra.present and not extra.expected
    assert extra.values["dice"] == 0 and "volume_ratio" not in extra.values
    (laa,) = [s for s in summarise(rows, catalogue()) if s.structure == "LAA"]
    assert (laa.cases, laa.false_negative_cases["a"], laa.false_negative_cases["b"]) == (1, 1, 0)
    (rv,) = [s for s in summarise(rows, catalogue()) if s.structure == "RV"]
    assert (rv.cases, rv.false_positive_cases["b"], rv.dice_error_reduction) == (0, 1, None)


def test_two_masks_by_hand() -> None:
    """Slabs of 2 x 4 x 4 voxels that share half of their voxels, without an anatomy."""
    a, b = np.zeros((2, 8, 8, 8), bool)
    a[2:4, 2:6, 2:6] = b[3:5, 2:6, 2:6] = True
    first, second = evaluate_case(a, b, spacing_mm=(0.5, 1.0, 1.0), case="x")
    assert (first.case, first.structure, first.labels, first.against) == ("x", "mask", "a", None)
    assert (second.labels, second.against, second.present, second.expected) == ("b", "a", True, True)
    assert first.values["volume_ml"] == second.values["volume_ml"] == 2 * 4 * 4 * 0.5 / 1000
    assert first.values["components"] == first.values["euler"] == 1
    assert first.values["holes"] == first.values["tunnels"] == 0
    expected = {
        "dice": 0.5, "iou": 1 / 3, "volume_ratio": 1.0, "nsd_0.5mm": 1.0, "hd95_mm": 0.5, "assd_mm": 0.25,
        "component_count_error": 0.0, "tunnel_count_error": 0.0, "euler_error": 0.0,
    }  # fmt: skip
    assert {key: second.values[key] for key in expected} == pytest.approx(expected)
    assert not any("unexpected" in key or key in ("contact_mm2", "gap_mm") for key in {*first.values, *second.values})


def test_masks_with_a_reference_and_empty_masks() -> None:
    full, empty = np.ones((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    rows = evaluate_case(empty, full, (1, 1, 1), reference=full)
    assert [(r.labels, r.against, r.present) for r in rows] == [
        ("a", "reference", False), ("b", "reference", True), ("reference", None, True),
    ]  # fmt: skip
    assert [r.values.get("dice") for r in rows] == [0.0, 1.0, None]
    assert evaluate_case(empty, empty, (1, 1, 1)) == []


def test_masks_are_the_label_map_of_one_structure() -> None:
    """All metrics but those that need the anatomy are equal."""
    other = np.roll(heart(), 1, axis=1)
    of_labels = row_of(evaluate_case(heart(), other, SPACING, HEART), "Coronary", "b").values
    of_masks = evaluate_case(heart() == 9, other == 9, SPACING)[1].values
    assert of_masks == {key: of_labels[key] for key in of_masks}
    assert of_labels.keys() - of_masks.keys() == {
        "centreline_ov", "centreline_of", "centreline_ot",
        "components_unexpected", "euler_unexpected", "contact_mm2", "gap_mm",
    }  # fmt: skip


def test_arrays_of_other_kinds_are_errors() -> None:
    mask, labels = np.ones((3, 3, 3), bool), np.ones((3, 3, 3), np.uint8)
    with pytest.raises(BadInputError, match=r"shapes \(3, 3, 3\), \(3, 3, 2\)"):
        evaluate_case(mask, mask[:, :, :2], (1, 1, 1))
    with pytest.raises(BadInputError, match="leave the anatomy out"):
        evaluate_case(mask, mask, (1, 1, 1), HEART)
    for a, b, anatomy in ((labels, labels, None), (labels, mask, HEART)):
        with pytest.raises(BadInputError, match="label maps need an anatomy"):
            evaluate_case(a, b, (1, 1, 1), anatomy)


def test_distances_use_the_spacing_of_their_axis() -> None:
    for axis, spacing in enumerate(SPACING):
        a, b = np.zeros((20, 20, 20), np.uint8), np.zeros((20, 20, 20), np.uint8)
        np.moveaxis(a, axis, 0)[5] = np.moveaxis(b, axis, 0)[7] = 3
        found = row_of(evaluate_case(a, b, SPACING, HEART), "LV", "b").values
        assert found["hd95_mm"] == found["assd_mm"] == 2 * spacing


def test_metrics_can_be_chosen_and_unknown_ones_are_errors() -> None:
    chosen = catalogue([2.5], keys=["nsd_2.5mm", "volume_ml"])
    assert [m.key for m in chosen] == ["nsd_2.5mm", "volume_ml"]
    rows = evaluate_case(heart(), heart(), SPACING, HEART, metrics=chosen)
    assert set(rows[1].values) == {"nsd_2.5mm", "volume_ml"}
    with pytest.raises(ConfigError, match=r"'hd99_mm'.*hd95_mm"):
        catalogue(keys=["hd99_mm"])
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="not a length"):
            catalogue([bad])


def test_keys_are_unique_and_end_with_their_unit() -> None:
    keys = [metric.key for metric in catalogue()]
    assert len(keys) == len(set(keys))
    for metric in catalogue():
        if metric.unit:
            assert metric.key.endswith("_" + metric.unit.replace("²", "2"))


@settings(max_examples=12, deadline=None)
@given(st.permutations(range(3)), st.lists(st.booleans(), min_size=3, max_size=3), st.integers(0, 2**32))
def test_the_order_of_the_axes_does_not_change_the_metrics(axes: list[int], flips: list[bool], seed: int) -> None:
    """Except for centrelines: thinning removes voxels in the order of the axes."""
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
