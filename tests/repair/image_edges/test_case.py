"""Boundaries that the image of a case may move, boundaries that it may not, and the listed changes."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.grid import Grid
from heartmend.repair.acceptance import Verdict
from heartmend.repair.case_volume import CaseVolume
from heartmend.repair.image_edges.case import SnappedCase, snap_case
from heartmend.repair.image_edges.snap import smooth_maps

SHAPE = (40, 40, 40)
BOX = tuple(slice(0, n) for n in SHAPE)
GRID = Grid(SHAPE, np.diag([1.0, 1.0, 1.0, 1.0]))
HEART = load_anatomy("heart")


def ball(radius: float) -> np.ndarray:
    at = np.moveaxis(np.indices(SHAPE), 0, -1)
    return np.asarray(np.linalg.norm(at - 19.5, axis=-1) < radius)


def anatomy_with(**properties: object) -> Anatomy:
    """The heart's anatomy with other properties of the LV."""
    structures = tuple(s.model_copy(update=properties) if s.name == "LV" else s for s in HEART.structures)
    return HEART.model_copy(update={"structures": structures})


def snapped(anatomy: Anatomy = HEART, accepted: bool = True, structures: tuple[str, ...] = ("LV",)) -> SnappedCase:
    """A ventricle with a radius of 10.4 mm in its label and 11 mm in its CT image."""
    label = np.where(ball(10.4), 3, 0).astype(np.uint8)
    image = np.where(ball(11), 350, -90) + np.random.default_rng(0).normal(0, 15, SHAPE)
    # Half of the label's surface is outside the edge of the image and half of it inside: the mean is the same.
    label[:20] = np.where(ball(11.6), 3, 0)[:20]
    maps = {"LV": smooth_maps(label, [3], GRID.spacing_mm)[3]}
    volume = CaseVolume(GRID, BOX, image.astype(np.int16))
    return snap_case(label, maps, label, volume, anatomy, [Verdict("LV", accepted, 1.0, 0.0)], structures)


def wrong_voxels(case: SnappedCase) -> int:
    return int(np.count_nonzero((case.labels == 3) != ball(11)))


def test_a_boundary_moves_to_the_edge_and_the_change_is_listed() -> None:
    case, unmoved = snapped(), snapped(structures=())
    assert wrong_voxels(case) < 0.6 * wrong_voxels(unmoved)
    (change,) = case.changes
    assert (change.rule, change.structure, change.action) == ("image_edges", "LV", "moved")
    assert "added" in change.note
    assert change.voxels == np.count_nonzero(case.labels != unmoved.labels)
    assert case.verdicts[0].volume_ratio != 1.0
    assert np.mean(case.maps["LV"].inside != (case.labels == 3)) < 0.01


@pytest.mark.parametrize("anatomy", [anatomy_with(image_edges=False), anatomy_with(max_volume_change=(0.999, 1.001))])
def test_a_boundary_stays_where_the_anatomy_file_does_not_allow_the_movement(anatomy: Anatomy) -> None:
    np.testing.assert_array_equal(snapped(anatomy).labels, snapped(structures=()).labels)


def test_the_reason_of_an_unmoved_boundary_is_listed() -> None:
    (change,) = snapped(anatomy_with(max_surface_mm=0.2)).changes
    assert (change.action, change.severity) == ("not moved", "review")
    assert "surface moved by" in change.note


def test_the_boundary_of_a_rejected_mask_stays() -> None:
    assert snapped(accepted=False).changes == ()


def test_a_case_without_an_image_is_an_error() -> None:
    label = np.zeros(SHAPE, np.uint8)
    with pytest.raises(ValueError, match="without an image"):
        snap_case(label, {}, label, CaseVolume(GRID, BOX), HEART, [], ())
