"""Repair of a thin vessel of a case, and the changes that are listed."""

from functools import partial

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.repair.case_volume import CaseVolume
from heartmend.repair.vessels import case
from heartmend.repair.vessels.case import RepairedVessel, repair_vessel
from heartmend.repair.vessels.settings import ImageUse, TreeSettings

SHAPE = (60, 40, 40)
BOX = tuple(slice(0, n) for n in SHAPE)
CORONARY = load_anatomy("heart").by_name("Coronary")


@pytest.fixture(autouse=True)
def short_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vessels here have 15 to 50 mm, and nothing is missing of them."""
    monkeypatch.setattr(case, "TreeSettings", partial(TreeSettings, sparse_mm=0.0))


def vessel(radius: float) -> np.ndarray:
    at = np.indices(SHAPE)
    return (np.hypot(at[1] - 20, at[2] - 20) < radius) & (at[0] > 4) & (at[0] < 55)


def repaired(label: np.ndarray, calibre: Calibre, affine: np.ndarray | None = None) -> RepairedVessel:
    grid = Grid(SHAPE, np.eye(4) if affine is None else affine)
    return repair_vessel(CORONARY, label, {}, CaseVolume(grid, BOX), calibre)


def test_a_vessel_wider_than_the_cohort_is_narrowed_and_listed() -> None:
    calibre = Calibre(1.9, 0.06)
    wide, usual = repaired(vessel(3.1), calibre), repaired(vessel(2.1), calibre)
    assert wide.mask.sum() < 0.6 * vessel(3.1).sum()
    assert wide.reference.sum() < 0.6 * vessel(3.1).sum()
    (change,) = [c for c in wide.changes if c.rule == "calibre"]
    assert (change.action, change.severity) == ("narrowed", "review")
    assert "larger than expected" in change.note
    assert not [c for c in usual.changes if c.rule == "calibre"]
    assert (usual.reference == vessel(2.1)).all()


def test_a_vessel_thinner_than_the_cohort_is_widened_and_its_voxels_are_counted() -> None:
    thin = repaired(vessel(1.6), Calibre(3.4, 0.06))
    (change,) = [c for c in thin.changes if c.rule == "calibre"]
    assert change.action == "widened"
    assert change.voxels == thin.reference.sum() - vessel(1.6).sum() > 0
    assert change.volume_mm3 == change.voxels


def test_the_box_of_a_bridge_is_in_mm_of_the_label_map() -> None:
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (100, 10, 20)
    interrupted = vessel(2.1)
    interrupted[28:33] = False
    result = repaired(interrupted, Calibre(2.1, 0.5), affine)
    (bridge,) = [c for c in result.changes if c.action == "bridged"]
    assert bridge.severity == "review"
    low, high = bridge.box_mm
    assert low[0] < 100 - 30 < high[0]
    assert low[1] < 30 < high[1]
    assert result.mask[30, 20, 20]


def test_removed_components_are_listed_with_their_length_and_do_not_count_for_the_acceptance() -> None:
    label = vessel(2.1)
    island = np.zeros(SHAPE, bool)
    island[20:24, 34:37, 34:37] = True
    result = repaired(label | island, Calibre(2.1, 0.5))
    (removed,) = [c for c in result.changes if c.action == "removed"]
    assert "mm long, too short for a vessel" in removed.note
    assert removed.voxels == island.sum()
    assert (result.mask == label).all() and (result.reference == label).all()


def test_an_oval_vessel_with_a_bump_does_not_change() -> None:
    at = np.indices(SHAPE)
    oval = (np.hypot((at[1] - 20) / 1.4, (at[2] - 20) * 1.2) < 2.6 + np.sin(at[0] / 6)) & (at[0] > 4) & (at[0] < 55)
    result = repaired(oval, Calibre(2.6, 0.5))
    assert (result.mask == oval).all() and not result.changes


def test_a_stretch_inside_a_chamber_is_kept_and_flagged() -> None:
    at = np.indices(SHAPE)
    lead = vessel(1.6)
    chamber = (np.linalg.norm(at - np.array([40, 20, 20]).reshape(3, 1, 1, 1), axis=0) < 13) & ~lead
    volume = CaseVolume(Grid(SHAPE, np.eye(4)), BOX)
    flagged = repair_vessel(CORONARY, lead, {"RV": chamber}, volume, Calibre(1.6, 0.5), ("RV",))
    (change,) = [c for c in flagged.changes if c.action == "original kept"]
    assert change.severity == "warning" and "inside a chamber" in change.note
    assert (flagged.mask == lead).all()
    # The chord of the sphere is 26 mm, less 3 mm and the radius at both ends.
    assert 12 <= float(change.note.split(" mm")[0]) <= 24
    wall = repair_vessel(CORONARY, lead, {"Myocardium": chamber}, volume, Calibre(1.6, 0.5), ("RV",))
    assert not wall.changes  # a vessel in the muscle is a myocardial bridge


def test_a_long_graft_far_from_the_heart_is_kept_and_flagged() -> None:
    at = np.indices(SHAPE)
    near = (np.hypot(at[1] - 8, at[2] - 20) < 1.6) & (at[0] > 20) & (at[0] < 55)
    graft = (np.hypot(at[1] - 34, at[2] - 20) < 1.6) & (at[0] > 26) & (at[0] < 55)
    heart = at[1] < 6
    volume = CaseVolume(Grid(SHAPE, np.eye(4)), BOX)
    result = repair_vessel(CORONARY, near | graft, {"Myocardium": heart}, volume, Calibre(1.6, 0.5))
    assert (result.mask == near | graft).all()
    (change,) = result.changes
    assert (change.action, change.severity) == ("original kept", "warning")
    assert "a graft?" in change.note


def test_a_bridge_is_listed_with_the_volume_that_it_adds() -> None:
    interrupted = vessel(2.1)
    interrupted[28:33] = False
    result = repaired(interrupted, Calibre(2.1, 0.5))
    (bridge,) = [c for c in result.changes if c.action == "bridged"]
    assert bridge.note in ("gap of 5 mm", "gap of 6 mm")
    assert bridge.voxels == (result.mask & ~interrupted).sum() == bridge.volume_mm3 > 20
    # A bridge has a verdict of its own and does not count in the acceptance of the rest.
    np.testing.assert_array_equal(result.reference, result.mask)


def test_the_box_of_a_change_holds_it_on_an_oblique_grid() -> None:
    affine = np.eye(4)
    affine[:2, :2] = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2)
    label = vessel(2.1)
    island = np.zeros(SHAPE, bool)
    island[20:24, 32:38, 34:37] = True
    result = repaired(label | island, Calibre(2.1, 0.5), affine)
    (removed,) = [c for c in result.changes if c.action == "removed"]
    points = Grid(SHAPE, affine).index_to_world(np.argwhere(island))
    low, high = np.array(removed.box_mm)
    assert (points >= low - 0.6).all() and (points <= high + 0.6).all()


def test_at_most_40_percent_of_a_label_are_removed_and_the_largest_piece_is_kept_and_listed() -> None:
    at = np.indices(SHAPE)
    main = (np.hypot(at[1] - 20, at[2] - 20) < 1.6) & (at[0] > 4) & (at[0] < 20)
    pieces = [
        np.linalg.norm(at - np.reshape(c, (3, 1, 1, 1)), axis=0) < r
        for c, r in (((40, 8, 8), 3.1), ((40, 32, 32), 2.6))
    ]
    result = repaired(main | pieces[0] | pieces[1], Calibre(1.6, 0.5))
    assert (result.mask & pieces[0]).sum() == pieces[0].sum() and not (result.mask & pieces[1]).any()
    (kept,) = [c for c in result.changes if c.action == "original kept"]
    assert "% of the label" in kept.note and kept.severity == "warning"


def test_specks_are_one_entry() -> None:
    label = vessel(2.1)
    label[30, 36, 36] = label[40, 4, 4] = True
    result = repaired(label, Calibre(2.1, 0.5))
    (removed,) = [c for c in result.changes if c.action == "removed"]
    assert (removed.note, removed.voxels, removed.severity) == ("2 specks below 3 mm³", 2, "info")


def with_ct(label: np.ndarray, lumen: np.ndarray, use: ImageUse) -> RepairedVessel:
    image = gaussian_filter(np.where(lumen, 400.0, -90.0), 0.8) + np.random.default_rng(0).normal(0, 20, SHAPE)
    volume = CaseVolume(Grid(SHAPE, np.eye(4)), BOX, image)
    return repair_vessel(CORONARY, label, {}, volume, Calibre(3.0, 1.0), image_use=use)


def test_with_a_ct_the_surface_follows_the_lumen_and_is_listed() -> None:
    # The label has twice the radius of the lumen over 20 mm, which no limit of volume may undo.
    at = np.indices(SHAPE)
    lumen = vessel(3.1) & ((np.abs(at[0] - 30) > 10) | vessel(2.1))
    found = with_ct(vessel(3.1), lumen, ImageUse())
    assert found.follows_lumen
    wrong, left = (np.count_nonzero(one ^ lumen) for one in (vessel(3.1), found.mask))
    assert left < 0.4 * wrong
    (change,) = [one for one in found.changes if "lumen" in one.note]
    assert (change.action, change.severity) == ("moved", "review")
    narrower = float(change.note.split("CT: ")[1].split(" mm")[0])
    assert narrower == pytest.approx(20, abs=5)
    assert change.voxels == np.count_nonzero(found.mask ^ vessel(3.1))
    moved = found.mask ^ vessel(3.1)
    np.testing.assert_array_equal(found.reference[moved], found.mask[moved])


def test_the_surface_stays_where_the_ct_is_not_to_be_followed() -> None:
    found = with_ct(vessel(3.1), vessel(2.1), ImageUse(follows_lumen=False))
    assert not found.follows_lumen and not [one for one in found.changes if "lumen" in one.note]
    assert (found.mask == vessel(3.1)).all()
