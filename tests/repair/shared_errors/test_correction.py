"""Tests of the correction of surfaces, on balls whose corrected volume is known."""

from dataclasses import replace

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.repair.shared_errors.case import RULE, CaseCorrection, correct_case
from heartmend.repair.shared_errors.correction import SIDE, Correction, correct_patches
from heartmend.repair.shared_errors.estimate import PatchError
from heartmend.repair.shared_errors.surface import SurfacePatches, divide_surface

VOXELS = 49
ROI = Roi(Grid((VOXELS,) * 3, np.diag([1.0, 1.0, 1.0, 1.0])), (0, 0, 0), (VOXELS,) * 3)
LV, CORONARY = (load_anatomy("heart").by_name(name).id for name in ("LV", "Coronary"))


def ball(radius_mm: float) -> np.ndarray:
    at = np.indices((VOXELS,) * 3) - VOXELS // 2
    return np.sqrt((at**2).sum(axis=0)) < radius_mm


def constant(movement_mm: float, heads: tuple[str, ...] = ("LV",)) -> Correction:
    return Correction(np.full((SIDE, SIDE, SIDE, len(heads)), movement_mm, np.float32), heads)


def same(points: np.ndarray) -> np.ndarray:
    return points


@pytest.mark.parametrize("movement_mm", [-3.0, -1.0, 1.0, 4.0])
def test_a_surface_moves_by_the_correction(movement_mm: float) -> None:
    maps = {"LV": DistanceMap.of_mask(ball(14.0), (1, 1, 1))}
    moved = constant(movement_mm).apply(maps, ROI, same)["LV"].inside
    radius = (3 * np.count_nonzero(moved) / (4 * np.pi)) ** (1 / 3)
    assert radius == pytest.approx(14.0 + movement_mm, abs=0.35)


def test_without_a_movement_the_maps_are_the_same_objects() -> None:
    maps = {"LV": DistanceMap.of_mask(ball(9.0), (1, 1, 1)), "RV": DistanceMap.of_mask(ball(3.0), (1, 1, 1))}
    moved = constant(0.0).apply(maps, ROI, same)
    assert moved["LV"] is maps["LV"] and moved["RV"] is maps["RV"]


def test_an_absent_structure_stays_absent() -> None:
    maps = {"LV": DistanceMap.of_mask(np.zeros((VOXELS,) * 3, bool), (1, 1, 1))}
    assert not constant(5.0).apply(maps, ROI, same)["LV"].inside.any()


def test_a_correction_is_read_in_the_frame_of_the_template() -> None:
    # Only the half of the template with positive x moves; the case is mirrored, so the other half of the case moves.
    table = np.zeros((SIDE, SIDE, SIDE, 1), np.float32)
    table[SIDE // 2 :] = 2.0
    maps = {"LV": DistanceMap.of_mask(ball(14.0), (1, 1, 1))}
    moved = Correction(table, ("LV",)).apply(maps, ROI, lambda points: points * [-1, 1, 1])["LV"].inside
    added = np.argwhere(moved & ~ball(14.0))[:, 0] - VOXELS // 2
    assert len(added) > 500 and np.mean(added < 1) > 0.99


def patch_errors(mean_mm: float, patches: SurfacePatches, unknown: set[int] = frozenset()) -> list[PatchError]:  # type: ignore[assignment]
    found = []
    for at, (x, y, z) in enumerate(patches.centres.tolist()):
        known = PatchError(LV, at, 0, True, 10, 50.0, (x, y, z), "measured", mean_mm, 0.05, 0.15)
        found.append(replace(known.without_edge(), neighbour=2) if at in unknown else known)
    return found


def lv_patches() -> SurfacePatches:
    at = np.indices((VOXELS,) * 3) - VOXELS // 2
    found = divide_surface(14.0 - np.sqrt((at**2).sum(axis=0)), np.full(3, float(VOXELS)))
    assert found is not None
    return found


@pytest.mark.parametrize(("error_mm", "movement_mm"), [(0.2, 0.0), (-0.29, 0.0), (1.0, -1.0), (-0.6, 0.6)])
def test_an_error_within_the_accuracy_is_not_corrected(error_mm: float, movement_mm: float) -> None:
    patches = lv_patches()
    found = correct_patches(Correction.none(("LV",)), patch_errors(error_mm, patches), {"LV": patches}, {LV: "LV"})
    assert found.at(patches.centres)[:, 0] == pytest.approx(movement_mm, abs=0.01)


def test_a_surface_that_was_moved_is_moved_more_precisely() -> None:
    patches = lv_patches()
    found = correct_patches(constant(-1.0), patch_errors(0.25, patches), {"LV": patches}, {LV: "LV"})
    assert found.at(patches.centres)[:, 0] == pytest.approx(-1.25, abs=0.01)


def test_a_surface_without_an_edge_stays() -> None:
    patches = lv_patches()
    low = {at for at, centre in enumerate(patches.centres) if centre[2] < 0}
    errors = patch_errors(1.0, patches, low)
    movement = correct_patches(Correction.none(("LV",)), errors, {"LV": patches}, {LV: "LV"}).at(patches.centres)[:, 0]
    height = patches.centres[:, 2] * VOXELS / 2
    assert np.abs(movement[height < -9]).max() < 0.05
    assert movement[height > 9] == pytest.approx(-1.0, abs=0.05)


def test_a_patch_that_was_not_measured_moves_as_its_neighbours_on_the_same_border() -> None:
    patches = lv_patches()
    errors = patch_errors(1.0, patches)
    errors[3] = errors[3].without_edge()
    movement = correct_patches(Correction.none(("LV",)), errors, {"LV": patches}, {LV: "LV"}).at(patches.centres)[:, 0]
    assert movement == pytest.approx(-1.0, abs=0.01)


def test_a_wall_moves_though_a_part_of_its_patch_borders_on_another_structure() -> None:
    # Each patch has a part without an edge, 8 mm further down: it counts there, and not at the wall.
    patches = lv_patches()
    known = patch_errors(1.0, patches)
    down = 8.0 / (VOXELS / 2)
    parts = [
        replace(one.without_edge(), neighbour=2, place=(x, y, z - down)) for one in known for x, y, z in [one.place]
    ]
    movement = correct_patches(Correction.none(("LV",)), [*known, *parts], {"LV": patches}, {LV: "LV"})
    top = patches.centres[patches.centres[:, 2] > 0.45]
    assert len(top) and movement.at(top)[:, 0] == pytest.approx(-1.0, abs=0.1)


def test_a_case_has_an_error_of_its_own_where_it_differs_from_a_usual_one() -> None:
    correction = Correction(constant(0.0).table_mm, ("LV",), {"Coronary": -0.6}, {"Coronary": -0.7})
    assert correction.tube_shift_mm("Coronary", None) == -0.6
    assert correction.tube_shift_mm("Coronary", -0.5) == -0.6
    assert correction.tube_shift_mm("Coronary", 0.1) == pytest.approx(0.2)
    assert Correction.none(("LV",)).tube_shift_mm("Coronary", -1.5) == 0.0


def test_a_case_lists_what_was_moved() -> None:
    original = np.zeros((VOXELS,) * 3, np.uint8)
    original[ball(14.0)] = LV
    original[2:6, 2:6, 2:40] = CORONARY
    correction = Correction(constant(1.0).table_mm, ("LV",), {"Coronary": -1.0})
    maps = {"LV": DistanceMap.of_mask(ball(14.0), (1, 1, 1))}
    found = correct_case(maps, original, ROI, load_anatomy("heart"), CaseCorrection(correction, same))
    # A bar of four voxels loses one on each side, also at its ends.
    assert np.array_equal(np.argwhere(found.tubes["Coronary"]).min(axis=0), [3, 3, 3])
    assert np.count_nonzero(found.tubes["Coronary"]) == 2 * 2 * 36
    listed = {change.structure: change for change in found.changes}
    assert {change.rule for change in found.changes} == {RULE} and set(listed) == {"LV", "Coronary"}
    assert listed["Coronary"].voxels == 4 * 4 * 38 - 2 * 2 * 36
    assert "1.0 mm" in listed["LV"].note
