"""Each rule on small label maps: one that it changes, and one that it must not change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.grid import Grid
from heartmend.repair.changes import Change
from heartmend.repair.rules.apply import apply_rules

HEART = load_anatomy("heart")
MYO, LA, LV, RA, RV, AORTA, PA, LAA, CORONARY, PV = range(1, 11)
N = 40


def empty(n: int = N) -> np.ndarray:
    return np.zeros((n, n, n), dtype=np.uint8)


def ball(labels: np.ndarray, centre: tuple[float, float, float], radius: float, id: int) -> np.ndarray:
    x, y, z = np.ogrid[tuple(slice(0, n) for n in labels.shape)]
    inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 <= radius**2
    labels[inside] = id
    return inside


def tube(labels: np.ndarray, first: int, last: int, id: int, at: tuple[int, int] = (20, 20), radius: float = 5) -> None:
    """A cylinder along z."""
    x, y = np.ogrid[: labels.shape[0], : labels.shape[1]]
    labels[(x - at[0]) ** 2 + (y - at[1]) ** 2 <= radius**2, first:last] = id


def grid_of(labels: np.ndarray, spacing: float = 1.0) -> Grid:
    return Grid(labels.shape, np.diag([-spacing, spacing, spacing, 1.0]))


def run(labels: np.ndarray, *only: str, anatomy: Anatomy = HEART, **more: object) -> tuple[np.ndarray, list[Change]]:
    original = labels.copy()
    result, changes = apply_rules(labels, grid_of(labels), anatomy, only=only or None, **more)  # type: ignore[arg-type]
    assert np.array_equal(labels, original)
    return result, changes


def test_missing_slices_are_interpolated() -> None:
    labels = empty()
    ball(labels, (20, 20, 20), 14, LV)
    expected = labels.copy()
    labels[:, :, 17:19] = 0
    result, changes = run(labels, "slices")
    assert (result != expected).mean() < 0.002
    assert [(c.action, c.severity) for c in changes] == [("interpolated", "review")]


@pytest.mark.parametrize("axis", range(3))
def test_a_slice_that_differs_from_both_neighbours_is_interpolated(axis: int) -> None:
    labels = empty()
    labels[8:32, 8:32, 8:32] = RA
    expected = labels.copy()
    np.moveaxis(labels, axis, 0)[20] = 0
    np.moveaxis(labels, axis, 0)[20, 25:38, 25:38] = RA
    result, changes = run(labels, "slices")
    assert np.array_equal(result, expected)
    assert len(changes) == 1


def test_wide_gaps_and_gaps_between_different_structures_are_not_interpolated() -> None:
    labels = empty()
    labels[2:15, 2:15, 5:18] = LA
    labels[22:38, 22:38, 21:35] = AORTA
    assert np.array_equal(run(labels, "slices")[0], labels)
    labels = empty()
    labels[5:30, 5:30, 5:18] = LA
    labels[5:30, 5:30, 28:38] = LA
    assert np.array_equal(run(labels, "slices")[0], labels), "a gap of 10 mm is not a missing slice"


def ventricle_in_its_wall() -> np.ndarray:
    labels = empty()
    ball(labels, (20, 20, 20), 15, MYO)
    ball(labels, (20, 20, 20), 11, LV)
    return labels


def test_a_run_of_shifted_slices_is_moved_back() -> None:
    labels = ventricle_in_its_wall()
    expected = labels.copy()
    labels[:, :, 18:22] = np.roll(labels[:, :, 18:22], (3, -2), (0, 1))
    result, changes = run(labels, "shifts")
    assert np.array_equal(result, expected)
    assert [c.rule for c in changes] == ["shifts"]


def test_a_slanting_vessel_is_not_shifted() -> None:
    labels = empty()
    for z in range(4, 36):
        labels[4 + z // 2 : 14 + z // 2, 10:22, z] = AORTA
    assert np.array_equal(run(labels, "shifts")[0], labels)


def test_specks_get_the_label_of_their_neighbours() -> None:
    labels = empty()
    labels[5:35, 5:35, 5:35] = LV
    expected = labels.copy()
    labels[10, 10, 10], labels[20, 20, 20:22], labels[2, 2, 2], labels[15, 15, 15] = 0, RA, PV, CORONARY
    result, changes = run(labels, "speckle")
    assert np.array_equal(result, expected)
    assert sum(c.voxels for c in changes) == 5


def test_a_thin_vessel_and_a_gap_between_structures_are_not_speckle() -> None:
    labels = empty()
    for i in range(5, 30):
        labels[i, i, i] = CORONARY
    labels[30:38, 5:14, 5:14] = LA
    labels[30:38, 15:24, 5:14] = RA
    labels[30:38, 14, 5:9] = LA
    labels[30:38, 14, 10:14] = RA
    labels[31:38, 14, 9] = LA
    labels[33, 14, 9] = 0
    assert np.array_equal(run(labels, "speckle")[0], labels)


def test_a_separate_patch_moves_to_the_structure_around_it() -> None:
    labels = empty()
    labels[2:20, 2:38, 2:38] = RA
    labels[20:38, 2:38, 2:38] = LA
    expected = labels.copy()
    ball(labels, (8, 20, 20), 4, LA)
    result, changes = run(labels, "swaps")
    assert np.array_equal(result, expected)
    assert [(c.structure, c.action) for c in changes] == [("LA", "moved to RA")]


def test_a_patch_on_a_thin_neck_moves_to_the_structure_around_it() -> None:
    labels = empty()
    labels[2:20, 2:38, 2:38] = RA
    labels[20:38, 2:38, 2:38] = LA
    expected = labels.copy()
    ball(labels, (9, 20, 20), 5, LA)
    labels[13:20, 20:22, 20:22] = LA
    result, _ = run(labels, "swaps")
    assert (result != expected).sum() < 30 < (labels != expected).sum()


def test_a_patch_deep_inside_its_fitted_shape_stays() -> None:
    labels = empty()
    labels[2:20, 2:38, 2:38] = RA
    labels[20:38, 2:38, 2:38] = LA
    patch = ball(labels, (8, 20, 20), 5, LA)
    own, other = (DistanceMap.of_mm(np.where(patch, mm, -mm)) for mm in (3.0, -3.0))
    result, changes = run(labels, "swaps", evidence={"LA": own, "RA": other})
    assert np.array_equal(result, labels)
    assert changes[0].severity == "review"
    assert not np.array_equal(run(labels, "swaps", evidence={"LA": other, "RA": own})[0], labels)


def test_the_ventricle_inside_its_wall_and_an_island_are_not_swaps() -> None:
    labels = ventricle_in_its_wall()
    ball(labels, (3, 3, 3), 2, LV)
    assert np.array_equal(run(labels, "swaps")[0], labels)


def test_a_patch_between_two_structures_stays() -> None:
    labels = empty()
    labels[2:20, 2:38, 2:30] = RA
    labels[20:38, 2:38, 2:30] = RV
    labels[2:38, 2:38, 34:39] = LA
    ball(labels, (19.5, 20, 15), 4, LA)
    assert np.array_equal(run(labels, "swaps")[0], labels)


def test_the_larger_component_is_a_swap_if_it_lies_in_a_structure_that_it_never_borders() -> None:
    labels = ventricle_in_its_wall()
    ball(labels, (20, 20, 20), 5, PV)
    tube(labels, 37, 40, PV, at=(5, 5), radius=3)
    result, _ = run(labels, "swaps")
    assert (result == PV).sum() == (labels[:, :, 37:] == PV).sum()
    only = ventricle_in_its_wall()
    ball(only, (20, 20, 20), 5, PV)
    assert np.array_equal(run(only, "swaps")[0], only), "a present structure stays present"


def test_an_interrupted_vessel_is_joined() -> None:
    labels = empty()
    tube(labels, 2, 38, AORTA)
    expected = labels.copy()
    labels[:, :, 16:23] = 0
    result, changes = run(labels, "cut_vessels")
    assert np.array_equal(result, expected)
    assert [(c.structure, c.action, c.severity) for c in changes] == [("Aorta", "joined", "review")]


def test_a_fitted_shape_that_does_not_cross_the_gap_prevents_the_bridge() -> None:
    labels = empty()
    tube(labels, 2, 38, AORTA)
    labels[:, :, 16:23] = 0
    result, changes = run(labels, "cut_vessels", evidence={"Aorta": DistanceMap.of_mm(np.full(labels.shape, -8.0))})
    assert np.array_equal(result, labels)
    assert changes[0].action == "not joined"


@pytest.mark.parametrize(
    "case", ["far", "side by side", "another between", "another in half of it", "thick and thin", "two veins"]
)
def test_components_of_different_vessels_are_not_joined(case: str) -> None:
    labels = empty(48)
    if case == "far":
        tube(labels, 2, 14, AORTA)
        tube(labels, 32, 46, AORTA)
    elif case == "side by side":
        tube(labels, 2, 46, AORTA, at=(12, 12), radius=6)
        tube(labels, 2, 46, AORTA, at=(30, 12), radius=6)
    elif case == "another between":
        tube(labels, 2, 20, AORTA)
        tube(labels, 26, 46, AORTA)
        labels[10:32, 10:32, 20:26] = LA
    elif case == "another in half of it":
        tube(labels, 2, 20, AORTA)
        tube(labels, 26, 46, AORTA)
        labels[10:21, 10:32, 20:26] = LA
    elif case == "thick and thin":
        tube(labels, 2, 20, AORTA, radius=12)
        tube(labels, 26, 46, AORTA, radius=4)
    else:
        tube(labels, 2, 15, PV)
        labels[10:32, 10:32, 15:20] = 0
        tube(labels, 22, 36, PV)
        labels[28:34, 5:40, 2:40] = LA
    assert np.array_equal(run(labels, "cut_vessels")[0], labels)


def test_a_vessel_is_not_extended_to_the_border() -> None:
    labels = empty()
    tube(labels, 0, 20, AORTA)
    assert np.array_equal(run(labels)[0], labels)


def test_a_hole_is_filled_and_a_cavity_is_not() -> None:
    labels = ventricle_in_its_wall()
    expected = labels.copy()
    labels[20, 20, 7:8] = 0
    ball(labels, (20, 20, 20), 3, 0)
    result, changes = run(labels, "holes")
    assert np.array_equal(result, expected)
    assert {c.action for c in changes} == {"filled"}
    assert not run(expected, "holes")[1]


def test_open_background_and_a_gap_between_two_structures_are_not_filled() -> None:
    labels = empty()
    labels[0:20, 5:35, 5:35] = RA
    labels[0:10, 15:20, 15:20] = 0
    labels[21:38, 5:35, 5:35] = LA
    labels[20, 5:35, 5:35] = RA
    labels[20, 18:20, 18:24] = 0
    labels[21, 18:20, 18:24] = 0
    assert np.array_equal(run(labels, "holes")[0], labels)


def test_small_and_surplus_components_are_removed() -> None:
    labels = empty()
    labels[20:38, 5:35, 5:35] = LA
    expected = labels.copy()
    ball(labels, (8, 8, 8), 5, LA)
    ball(labels, (30, 20, 20), 3, RV)
    labels[5:15, 20:38, 20:38] = RV
    expected[5:15, 20:38, 20:38] = RV
    result, changes = run(labels, "components")
    assert np.array_equal(result, expected), "removed voxels become background, or LA inside the LA"
    assert {c.action for c in changes} == {"removed"}


def test_a_large_surplus_component_stays_with_a_warning() -> None:
    labels = empty()
    labels[2:18, 5:35, 5:35] = RV
    labels[22:34, 5:35, 5:35] = RV
    result, changes = run(labels, "components")
    assert np.array_equal(result, labels)
    assert [c.severity for c in changes] == ["warning"]


def test_all_veins_that_touch_the_atrium_stay() -> None:
    labels = empty()
    labels[15:25, 5:35, 5:35] = LA
    for y in (8, 28):
        for x in (slice(7, 15), slice(25, 33)):
            labels[x, y : y + 5, 10:16] = PV
    expected = labels.copy()
    labels[35:39, 15:22, 25:32] = PV
    result, changes = run(labels, "components")
    assert np.array_equal(result, expected)
    assert [(c.action, c.severity) for c in changes] == [("original kept", "review"), ("removed", "info")]


def test_a_main_component_that_does_not_touch_its_neighbour_stays_with_a_warning() -> None:
    labels = empty()
    labels[2:12, 5:35, 5:35] = LA
    ball(labels, (30, 20, 20), 6, LAA)
    result, changes = run(labels, "components")
    assert np.array_equal(result, labels)
    assert [(c.structure, c.severity) for c in changes] == [("LAA", "warning")]


def test_a_piece_of_a_graft_stays_and_is_reported_and_a_bead_goes() -> None:
    labels = np.zeros((90, 40, 40), dtype=np.uint8)
    ball(labels, (16, 16, 16), 14, AORTA)
    labels[34:80, 16:19, 16:19] = AORTA
    ball(labels, (50, 30, 30), 4, AORTA)
    result, changes = run(labels, "components")
    assert (result[34:80, 16:19, 16:19] == AORTA).all() and not result[46:55, 26:35, 26:35].any()
    assert [c.action for c in changes] == ["original kept", "removed"] and "graft" in changes[0].note
    # A chamber has no such branches.
    result, _ = run(np.where(labels == AORTA, LV, labels).astype(np.uint8), "components")
    assert not result[34:].any()


def test_components_that_the_field_of_view_cuts_off_stay() -> None:
    labels = empty()
    labels[12:30, 5:35, 5:35] = RV
    labels[0:4, 5:12, 5:20] = RV
    result, changes = run(labels, "components", "field_of_view")
    assert np.array_equal(result, labels)
    assert {c.rule for c in changes} == {"components", "field_of_view"}
    assert {c.severity for c in changes} == {"info"}


def test_far_and_short_segments_of_coronaries_are_removed_and_interrupted_ones_stay() -> None:
    labels = empty(60)
    labels[2:20, 2:58, 2:58] = MYO
    labels[20:22, 10:22, 10:12] = CORONARY
    labels[20:22, 26:40, 10:12] = CORONARY
    labels[20:22, 44:56, 10:12] = CORONARY
    expected = labels.copy()
    labels[50:52, 20:40, 30:32] = CORONARY  # 29 mm from the heart
    labels[22:24, 50, 50:52] = CORONARY  # short
    assert np.array_equal(run(labels, "detached_segments")[0], expected)


def test_a_short_segment_at_the_aorta_stays() -> None:
    labels = empty()
    tube(labels, 5, 35, AORTA, radius=6)
    labels[26:29, 20:22, 20:22] = CORONARY
    assert np.array_equal(run(labels, "detached_segments")[0], labels)


def test_an_absent_structure_stays_absent() -> None:
    assert not run(empty())[0].any()
    labels = empty()
    ball(labels, (20, 20, 20), 12, LV)
    result, _ = run(labels)
    assert set(np.unique(result)) == {0, LV}


def test_an_anatomy_without_rules_changes_nothing() -> None:
    bare = HEART.model_copy(update={"rules": ()})
    labels = np.random.default_rng(0).integers(0, 11, (12, 12, 12)).astype(np.uint8)
    result, changes = run(labels, anatomy=bare)
    assert np.array_equal(result, labels) and not changes


def test_the_rules_are_applied_in_the_order_of_the_anatomy_file() -> None:
    labels = empty()
    labels[4:36, 4:36, 4:36] = RA
    expected = labels.copy()
    labels[36:39, 10:30, 10:30] = LA
    expected[36:39, 10:30, 10:30] = LA
    ball(labels, (15, 20, 20), 5, 0)
    ball(labels, (15, 20, 20), 2, LA)
    result, changes = run(labels)
    assert np.array_equal(result, expected)
    order = [r.rule for r in HEART.rules]
    assert [order.index(c.rule) for c in changes] == sorted(order.index(c.rule) for c in changes)


@given(seed=st.integers(0, 10_000), count=st.integers(1, 12), spacing=st.sampled_from([0.5, 0.9, 1.7]))
@settings(max_examples=25, deadline=None)
def test_no_structure_is_created_and_the_result_is_deterministic(seed: int, count: int, spacing: float) -> None:
    rng = np.random.default_rng(seed)
    labels = empty(24)
    for _ in range(count):
        ball(labels, tuple(rng.uniform(0, 24, 3)), rng.uniform(1, 8), int(rng.integers(0, 11)))
    original = labels.copy()
    result, changes = apply_rules(labels, grid_of(labels, spacing), HEART)
    assert np.array_equal(labels, original)
    assert set(np.unique(result)) <= set(np.unique(labels)) | {0}
    again, _ = apply_rules(labels, grid_of(labels, spacing), HEART)
    assert np.array_equal(result, again)
    for change in changes:
        assert change.volume_mm3 == pytest.approx(change.voxels * spacing**3, rel=0.01, abs=0.01)
        assert all(low < high for low, high in zip(*change.box_mm, strict=True))


@given(axes=st.permutations(range(3)), flips=st.tuples(*[st.booleans()] * 3))
@settings(max_examples=8, deadline=None)
def test_the_order_and_direction_of_the_axes_do_not_matter(axes: list[int], flips: tuple[bool, ...]) -> None:
    labels = ventricle_in_its_wall()
    ball(labels, (20, 20, 9), 2, 0)
    ball(labels, (4, 4, 4), 2, LV)
    labels[:, :, 22] = 0

    def turned(volume: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(volume.transpose(axes)[tuple(slice(None, None, -1 if f else 1) for f in flips)])

    assert np.array_equal(turned(run(labels)[0]), run(turned(labels))[0])


def test_boxes_of_changes_are_in_mm() -> None:
    labels = empty()
    labels[5:35, 5:35, 5:35] = LV
    labels[10:13, 11:14, 12:16] = 0
    affine = np.array([[0, -2.0, 0, 100], [0.5, 0, 0, -20], [0, 0, 3.0, 7], [0, 0, 0, 1]])
    _, (change,) = apply_rules(labels, Grid(labels.shape, affine), HEART, only=["holes"])
    assert change.box_mm == ((73.0, -15.25, 41.5), (79.0, -13.75, 53.5))
    assert change.volume_mm3 == 36 * 3


def test_evidence_of_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match="evidence for LA"):
        run(empty(), evidence={"LA": DistanceMap(np.zeros((3, 3, 3), dtype=np.int8))})
