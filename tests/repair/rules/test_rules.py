"""Each rule on small hand-made maps: one where it acts, one where it must not."""

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
    came = labels.copy()
    result, changes = apply_rules(labels, grid_of(labels), anatomy, only=only or None, **more)  # type: ignore[arg-type]
    assert np.array_equal(labels, came)
    return result, changes


def test_missing_slices_are_interpolated() -> None:
    labels = empty()
    ball(labels, (20, 20, 20), 14, LV)
    whole = labels.copy()
    labels[:, :, 17:19] = 0
    result, changes = run(labels, "slices")
    assert (result != whole).mean() < 0.002
    assert [(c.action, c.severity) for c in changes] == [("interpolated", "review")]


@pytest.mark.parametrize("axis", range(3))
def test_a_slice_at_odds_with_both_sides_is_interpolated(axis: int) -> None:
    labels = empty()
    labels[8:32, 8:32, 8:32] = RA
    whole = labels.copy()
    np.moveaxis(labels, axis, 0)[20] = 0
    np.moveaxis(labels, axis, 0)[20, 25:38, 25:38] = RA
    result, changes = run(labels, "slices")
    assert np.array_equal(result, whole)
    assert len(changes) == 1


def test_nothing_is_interpolated_between_two_things_or_beyond_an_end() -> None:
    labels = empty()
    labels[2:15, 2:15, 5:18] = LA
    labels[22:38, 22:38, 21:35] = AORTA
    assert np.array_equal(run(labels, "slices")[0], labels)
    labels = empty()
    labels[5:30, 5:30, 5:18] = LA
    labels[5:30, 5:30, 28:38] = LA
    assert np.array_equal(run(labels, "slices")[0], labels), "a gap of 10 mm is no missing slice"


def tilted_heart() -> np.ndarray:
    labels = empty()
    ball(labels, (20, 20, 20), 15, MYO)
    ball(labels, (20, 20, 20), 11, LV)
    return labels


def test_a_run_of_shifted_slices_is_moved_back() -> None:
    labels = tilted_heart()
    whole = labels.copy()
    labels[:, :, 18:22] = np.roll(labels[:, :, 18:22], (3, -2), (0, 1))
    result, changes = run(labels, "shifts")
    assert np.array_equal(result, whole)
    assert [c.rule for c in changes] == ["shifts"]


def test_a_vessel_that_leans_is_not_shifted() -> None:
    labels = empty()
    for z in range(4, 36):
        labels[4 + z // 2 : 14 + z // 2, 10:22, z] = AORTA
    assert np.array_equal(run(labels, "shifts")[0], labels)


def test_salt_takes_what_is_about_it() -> None:
    labels = empty()
    labels[5:35, 5:35, 5:35] = LV
    whole = labels.copy()
    labels[10, 10, 10], labels[20, 20, 20:22], labels[2, 2, 2], labels[15, 15, 15] = 0, RA, PV, CORONARY
    result, changes = run(labels, "speckle")
    assert np.array_equal(result, whole)
    assert sum(c.voxels for c in changes) == 5


def test_a_thin_vessel_and_a_crack_are_no_salt() -> None:
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


def test_a_severed_patch_goes_to_what_is_around_it() -> None:
    labels = empty()
    labels[2:20, 2:38, 2:38] = RA
    labels[20:38, 2:38, 2:38] = LA
    whole = labels.copy()
    ball(labels, (8, 20, 20), 4, LA)
    result, changes = run(labels, "swaps")
    assert np.array_equal(result, whole)
    assert [(c.structure, c.action) for c in changes] == [("LA", "moved to RA")]


def test_a_patch_on_a_thin_neck_goes_too() -> None:
    labels = empty()
    labels[2:20, 2:38, 2:38] = RA
    labels[20:38, 2:38, 2:38] = LA
    whole = labels.copy()
    ball(labels, (9, 20, 20), 5, LA)
    labels[13:20, 20:22, 20:22] = LA
    result, _ = run(labels, "swaps")
    assert (result != whole).sum() < 30 < (labels != whole).sum()


def test_a_shape_that_is_sure_keeps_its_patch() -> None:
    labels = empty()
    labels[2:20, 2:38, 2:38] = RA
    labels[20:38, 2:38, 2:38] = LA
    patch = ball(labels, (8, 20, 20), 5, LA)
    own, other = (DistanceMap.of_mm(np.where(patch, mm, -mm)) for mm in (3.0, -3.0))
    result, changes = run(labels, "swaps", evidence={"LA": own, "RA": other})
    assert np.array_equal(result, labels)
    assert changes[0].severity == "review"
    assert not np.array_equal(run(labels, "swaps", evidence={"LA": other, "RA": own})[0], labels)


def test_the_ventricle_inside_its_wall_is_no_swap_nor_is_an_island() -> None:
    labels = tilted_heart()
    ball(labels, (3, 3, 3), 2, LV)
    assert np.array_equal(run(labels, "swaps")[0], labels)


def test_a_patch_with_two_hosts_goes_to_neither() -> None:
    labels = empty()
    labels[2:20, 2:38, 2:30] = RA
    labels[20:38, 2:38, 2:30] = RV
    labels[2:38, 2:38, 34:39] = LA
    ball(labels, (19.5, 20, 15), 4, LA)
    assert np.array_equal(run(labels, "swaps")[0], labels)


def test_a_structure_in_one_that_it_never_borders_is_a_swap_even_if_it_is_the_larger_piece() -> None:
    labels = tilted_heart()
    ball(labels, (20, 20, 20), 5, PV)
    tube(labels, 37, 40, PV, at=(5, 5), radius=3)
    result, _ = run(labels, "swaps")
    assert (result == PV).sum() == (labels[:, :, 37:] == PV).sum()
    only = tilted_heart()
    ball(only, (20, 20, 20), 5, PV)
    assert np.array_equal(run(only, "swaps")[0], only), "present stays present"


def test_a_cut_vessel_is_joined() -> None:
    labels = empty()
    tube(labels, 2, 38, AORTA)
    whole = labels.copy()
    labels[:, :, 16:23] = 0
    result, changes = run(labels, "cut_vessels")
    assert np.array_equal(result, whole)
    assert [(c.structure, c.action, c.severity) for c in changes] == [("Aorta", "joined", "review")]


def test_a_shape_that_has_nothing_there_forbids_the_bridge() -> None:
    labels = empty()
    tube(labels, 2, 38, AORTA)
    labels[:, :, 16:23] = 0
    result, changes = run(labels, "cut_vessels", evidence={"Aorta": DistanceMap.of_mm(np.full(labels.shape, -8.0))})
    assert np.array_equal(result, labels)
    assert changes[0].action == "left apart"


@pytest.mark.parametrize(
    "case", ["far", "side by side", "another between", "another in half of it", "thick and thin", "two veins"]
)
def test_what_is_not_one_vessel_is_not_joined(case: str) -> None:
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


def test_a_vessel_is_not_lengthened_towards_the_border() -> None:
    labels = empty()
    tube(labels, 0, 20, AORTA)
    assert np.array_equal(run(labels)[0], labels)


def test_a_hole_is_filled_but_not_the_cavity() -> None:
    labels = tilted_heart()
    whole = labels.copy()
    labels[20, 20, 7:8] = 0
    ball(labels, (20, 20, 20), 3, 0)
    result, changes = run(labels, "holes")
    assert np.array_equal(result, whole)
    assert {c.action for c in changes} == {"filled"}
    assert not run(whole, "holes")[1]


def test_what_is_open_is_no_hole_nor_is_a_crack_between_two() -> None:
    labels = empty()
    labels[0:20, 5:35, 5:35] = RA
    labels[0:10, 15:20, 15:20] = 0
    labels[21:38, 5:35, 5:35] = LA
    labels[20, 5:35, 5:35] = RA
    labels[20, 18:20, 18:24] = 0
    labels[21, 18:20, 18:24] = 0
    assert np.array_equal(run(labels, "holes")[0], labels)


def test_crumbs_and_surplus_pieces_go() -> None:
    labels = empty()
    labels[20:38, 5:35, 5:35] = LA
    whole = labels.copy()
    ball(labels, (8, 8, 8), 5, LA)
    ball(labels, (30, 20, 20), 3, RV)
    labels[5:15, 20:38, 20:38] = RV
    whole[5:15, 20:38, 20:38] = RV
    result, changes = run(labels, "components")
    assert np.array_equal(result, whole), "in the open it becomes background, inside the LA it becomes LA"
    assert {c.action for c in changes} == {"dropped"}


def test_a_large_surplus_piece_stays_and_is_told() -> None:
    labels = empty()
    labels[2:18, 5:35, 5:35] = RV
    labels[22:34, 5:35, 5:35] = RV
    result, changes = run(labels, "components")
    assert np.array_equal(result, labels)
    assert [c.severity for c in changes] == ["warning"]


def test_veins_stay_if_they_touch_the_atrium_however_many_they_are() -> None:
    labels = empty()
    labels[15:25, 5:35, 5:35] = LA
    for y in (8, 28):
        for x in (slice(7, 15), slice(25, 33)):
            labels[x, y : y + 5, 10:16] = PV
    whole = labels.copy()
    labels[35:39, 15:22, 25:32] = PV
    result, changes = run(labels, "components")
    assert np.array_equal(result, whole)
    assert [(c.action, c.severity) for c in changes] == [("kept", "review"), ("dropped", "info")]


def test_a_main_piece_that_does_not_touch_is_kept_and_told() -> None:
    labels = empty()
    labels[2:12, 5:35, 5:35] = LA
    ball(labels, (30, 20, 20), 6, LAA)
    result, changes = run(labels, "components")
    assert np.array_equal(result, labels)
    assert [(c.structure, c.severity) for c in changes] == [("LAA", "warning")]


def test_what_the_field_of_view_cut_off_is_left() -> None:
    labels = empty()
    labels[12:30, 5:35, 5:35] = RV
    labels[0:4, 5:12, 5:20] = RV
    result, changes = run(labels, "components", "field_of_view")
    assert np.array_equal(result, labels)
    assert {c.rule for c in changes} == {"components", "field_of_view"}
    assert {c.severity for c in changes} == {"info"}


def test_far_and_short_pieces_of_the_coronaries_go_and_broken_ones_stay() -> None:
    labels = empty(60)
    labels[2:20, 2:58, 2:58] = MYO
    labels[20:22, 10:22, 10:12] = CORONARY
    labels[20:22, 26:40, 10:12] = CORONARY
    labels[20:22, 44:56, 10:12] = CORONARY
    whole = labels.copy()
    labels[50:52, 20:40, 30:32] = CORONARY  # 29 mm from the heart
    labels[22:24, 50, 50:52] = CORONARY  # short
    assert np.array_equal(run(labels, "detached_segments")[0], whole)


def test_a_short_piece_at_the_aorta_stays() -> None:
    labels = empty()
    tube(labels, 5, 35, AORTA, radius=6)
    labels[26:29, 20:22, 20:22] = CORONARY
    assert np.array_equal(run(labels, "detached_segments")[0], labels)


def test_absent_stays_absent_and_empty_empty() -> None:
    assert not run(empty())[0].any()
    labels = empty()
    ball(labels, (20, 20, 20), 12, LV)
    result, _ = run(labels)
    assert set(np.unique(result)) == {0, LV}


def test_a_file_without_rules_changes_nothing() -> None:
    bare = HEART.model_copy(update={"rules": ()})
    labels = np.random.default_rng(0).integers(0, 11, (12, 12, 12)).astype(np.uint8)
    result, changes = run(labels, anatomy=bare)
    assert np.array_equal(result, labels) and not changes


def test_the_rules_run_in_the_order_of_the_file() -> None:
    labels = empty()
    labels[4:36, 4:36, 4:36] = RA
    whole = labels.copy()
    labels[36:39, 10:30, 10:30] = LA
    whole[36:39, 10:30, 10:30] = LA
    ball(labels, (15, 20, 20), 5, 0)
    ball(labels, (15, 20, 20), 2, LA)
    result, changes = run(labels)
    assert np.array_equal(result, whole)
    order = [r.rule for r in HEART.rules]
    assert [order.index(c.rule) for c in changes] == sorted(order.index(c.rule) for c in changes)


@given(seed=st.integers(0, 10_000), count=st.integers(1, 12), spacing=st.sampled_from([0.5, 0.9, 1.7]))
@settings(max_examples=25, deadline=None)
def test_whatever_comes_no_structure_is_made_or_wholly_lost(seed: int, count: int, spacing: float) -> None:
    rng = np.random.default_rng(seed)
    labels = empty(24)
    for _ in range(count):
        ball(labels, tuple(rng.uniform(0, 24, 3)), rng.uniform(1, 8), int(rng.integers(0, 11)))
    kept = labels.copy()
    result, changes = apply_rules(labels, grid_of(labels, spacing), HEART)
    assert np.array_equal(labels, kept)
    assert set(np.unique(result)) <= set(np.unique(labels)) | {0}
    again, _ = apply_rules(labels, grid_of(labels, spacing), HEART)
    assert np.array_equal(result, again)
    for change in changes:
        assert change.volume_mm3 == pytest.approx(change.voxels * spacing**3, rel=0.01, abs=0.01)
        assert all(low < high for low, high in zip(*change.box_mm, strict=True))


@given(axes=st.permutations(range(3)), flips=st.tuples(*[st.booleans()] * 3))
@settings(max_examples=8, deadline=None)
def test_the_order_and_direction_of_the_axes_do_not_matter(axes: list[int], flips: tuple[bool, ...]) -> None:
    labels = tilted_heart()
    ball(labels, (20, 20, 9), 2, 0)
    ball(labels, (4, 4, 4), 2, LV)
    labels[:, :, 22] = 0

    def turned(volume: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(volume.transpose(axes)[tuple(slice(None, None, -1 if f else 1) for f in flips)])

    assert np.array_equal(turned(run(labels)[0]), run(turned(labels))[0])


def test_boxes_are_in_the_millimetres_of_the_file() -> None:
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
