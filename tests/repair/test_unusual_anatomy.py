"""Unusual anatomy, on balls and tubes whose volumes are known."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.boxes import Box, bounding_box, full_box
from heartmend.geometry.distance import signed_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.geometry.local_field import LocalField
from heartmend.repair.changes import ORIGINAL_KEPT
from heartmend.repair.unusual_anatomy import MIRRORED, UnusualAnatomy, find_unusual_anatomy, pose_remark

HEART = load_anatomy("heart")
MYO, LA, LV, PV = 1, 2, 3, 10
SHAPE = (64, 48, 48)
X, Y, Z = np.ogrid[:64, :48, :48]


def ball(centre: tuple[float, float, float], radius: float) -> np.ndarray:
    return (X - centre[0]) ** 2 + (Y - centre[1]) ** 2 + (Z - centre[2]) ** 2 <= radius**2


def ordinary() -> np.ndarray:
    """An LV of radius 12 in a wall of 5, an LA behind it, and a vein of the LA."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[ball((22, 24, 24), 17)] = MYO
    labels[ball((22, 24, 24), 12)] = LV
    labels[ball((48, 24, 24), 9)] = LA
    labels[((Y - 24) ** 2 + (Z - 36) ** 2 <= 25) & (X > 34) & (X < 64) & (labels == 0)] = PV
    return labels


def find(labels: np.ndarray, truth: np.ndarray | None = None) -> UnusualAnatomy:
    """With shapes that are those of an ordinary heart."""
    truth = ordinary() if truth is None else truth
    names = {"Myocardium": MYO, "LV": LV, "LA": LA, "PV": PV}
    shapes = {n: signed_distance_mm(truth == id, (1.0, 1.0, 1.0)) for n, id in names.items() if (truth == id).any()}
    empty = np.full(SHAPE, -8.0, dtype=np.float32)
    whole = {n: LocalField.of_whole(shapes.get(n, empty)) for n in names}
    found = find_unusual_anatomy(labels, whole, HEART, Grid(SHAPE, np.eye(4)))
    near = {n: one.cropped(box_of((labels == names[n]) | (one.values > 0))) for n, one in whole.items()}
    of_boxes = find_unusual_anatomy(labels, near, HEART, Grid(SHAPE, np.eye(4)))
    assert of_boxes.changes == found.changes, "the fields on their boxes give the same"
    assert (found.kept is None) == (of_boxes.kept is None) and np.all(of_boxes.kept == found.kept)
    return found


def box_of(mask: np.ndarray) -> Box:
    return bounding_box(mask, 2) or full_box((1, 1, 1))


def test_a_heart_like_the_others_has_no_unusual_part() -> None:
    found = find(ordinary())
    assert found.kept is None and not found.changes


def test_an_additional_vein_of_the_atrium_is_kept_and_named() -> None:
    labels = ordinary()
    vein = ((Y - 24) ** 2 + (Z - 12) ** 2 <= 16) & (X > 40) & (X < 62) & (labels == 0)
    labels[vein] = PV
    found = find(labels)
    assert found.kept is not None and found.kept[vein].all()
    (remark,) = found.changes
    assert (remark.structure, remark.action, remark.severity, remark.voxels) == ("PV", ORIGINAL_KEPT, "warning", 0)
    assert not found.kept[:30].any()


def test_what_leads_to_an_unusual_part_along_the_wall_is_kept_too() -> None:
    labels = ordinary()
    # It leaves the vein at one end, runs one voxel outside its wall for 16 mm, and then away from it.
    along = np.zeros(SHAPE, bool)
    along[40:56, 23:26, 41:43] = True
    away = np.zeros(SHAPE, bool)
    away[36:41, 20:29, 41:47] = True
    away[36:41, 2:29, 42:47] = True
    labels[(along | away) & (labels == 0)] = PV
    found = find(labels)
    assert found.kept is not None and found.kept[away & (labels == PV)].all()
    assert found.kept[along & (labels == PV)].all()
    # 20 mm away the vein is an ordinary one.
    assert not found.kept[63].any()


def test_a_common_trunk_of_two_veins_is_kept_and_named() -> None:
    truth = ordinary()
    truth[((Y - 37) ** 2 + (Z - 36) ** 2 <= 16) & (X > 34) & (X < 64) & (truth == 0)] = PV
    labels = truth.copy()
    trunk = (Y > 28) & (Y < 34) & (Z > 32) & (Z < 40) & (X > 40) & (X < 56) & (labels == 0)
    labels[trunk] = PV
    found = find(labels, truth)
    assert found.kept is not None and found.kept[trunk].all()
    (remark,) = found.changes
    assert (remark.structure, remark.action, remark.severity) == ("PV", ORIGINAL_KEPT, "warning")
    assert not found.kept[:36].any()


def test_a_vein_without_an_atrium_is_not_kept() -> None:
    labels = ordinary()
    labels[ball((5, 40, 5), 5.5)] = PV
    assert find(labels).kept is None


@pytest.mark.parametrize(("radius", "is_kept"), [(4.0, False), (9.0, True)])
def test_a_sac_inside_the_wall_is_kept_from_a_radius_on(radius: float, is_kept: bool) -> None:
    """The shapes claim the sac for a wall that is as thick as the sac is large."""
    truth = ordinary()
    truth[ball((8, 24, 24), 13) & (truth != LV)] = MYO
    labels = truth.copy()
    labels[ball((7, 24, 24), radius) & (labels == MYO)] = LV
    assert (find(labels, truth).kept is not None) == is_kept


def test_a_large_swap_with_a_narrow_neck_is_not_kept() -> None:
    truth = ordinary()
    truth[ball((44, 24, 24), 13) & (truth != LV)] = LA
    labels = truth.copy()
    labels[ball((44, 24, 24), 6)] = LV  # inside the atrium, joined by a bridge of 2 by 2 voxels
    labels[33:40, 23:25, 23:25] = LV
    assert find(labels, truth).kept is None


def test_a_detached_component_is_not_kept() -> None:
    labels = ordinary()
    labels[ball((8, 8, 8), 6) & (labels == 0)] = LV
    assert find(labels).kept is None


def graft(*gaps: slice) -> np.ndarray:
    """A tube of 4 by 4 voxels that leaves the LV through its wall and runs along the array, less the gaps in it."""
    labels = np.zeros((120, 48, 48), dtype=np.uint8)
    labels[: SHAPE[0]] = ordinary()
    labels[20:24, 24:44, 22:26] = np.where(labels[20:24, 24:44, 22:26] == 0, LV, labels[20:24, 24:44, 22:26])
    for slot in (slice(20, 118),):
        labels[slot, 40:44, 22:26] = LV
    labels[20:24, 34:42, 22:26] = LV
    for gap in gaps:
        labels[gap, 40:44, 22:26] = 0
    return labels


def kept_of_graft(labels: np.ndarray) -> UnusualAnatomy:
    truth = np.zeros(labels.shape, dtype=np.uint8)
    truth[: SHAPE[0]] = ordinary()
    names = {"Myocardium": MYO, "LV": LV, "LA": LA, "PV": PV}
    whole = {n: LocalField.of_whole(signed_distance_mm(truth == id, (1.0, 1.0, 1.0))) for n, id in names.items()}
    return find_unusual_anatomy(labels, whole, HEART, Grid(labels.shape, np.eye(4)))


def test_a_thin_graft_is_kept_whole_or_in_pieces() -> None:
    whole = kept_of_graft(graft())
    assert whole.kept is not None and [one.structure for one in whole.changes] == ["LV"] and not whole.detached
    labels = graft(slice(64, 70))
    pieces = kept_of_graft(labels)
    assert pieces.kept is not None and pieces.kept[30:118, 40:44, 22:26][labels[30:118, 40:44, 22:26] > 0].all()
    assert len(pieces.changes) == 2 and [part.voxels for part in pieces.detached["LV"]] == [48 * 16]


def test_a_piece_that_is_far_from_the_graft_is_none_of_it() -> None:
    assert len(kept_of_graft(graft(slice(55, 83))).changes) == 1


def test_a_shape_that_fits_badly_everywhere_makes_nothing_unusual() -> None:
    """All surfaces are 2 mm off: then 3 mm beyond the shape is nothing special."""
    labels, truth = ordinary(), ordinary()
    truth[:] = np.roll(truth, 3, axis=0)
    assert find(labels, truth).kept is None


def test_the_remark_of_a_mirrored_heart_names_both_reasons() -> None:
    remark = pose_remark(MIRRORED, (slice(0, 4),) * 3, Grid(SHAPE, np.eye(4)))
    assert remark.severity == "warning" and "situs inversus" in remark.note and "orientation" in remark.note
