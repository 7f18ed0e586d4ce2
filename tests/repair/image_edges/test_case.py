"""A case's image in a run: what it may move, what it may not, and what is told."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.grid import Grid
from heartmend.repair.acceptance import Verdict
from heartmend.repair.image_edges.case import SnappedCase, snap_case
from heartmend.repair.image_edges.snap import smooth_distances
from heartmend.stages.fuse import FuseSettings

SHAPE = (40, 40, 40)
BOX = tuple(slice(0, n) for n in SHAPE)
GRID = Grid(SHAPE, np.diag([1.0, 1.0, 1.0, 1.0]))
HEART = load_anatomy("heart")


def ball(radius: float) -> np.ndarray:
    at = np.moveaxis(np.indices(SHAPE), 0, -1)
    return np.asarray(np.linalg.norm(at - 19.5, axis=-1) < radius)


def limited(**changes: object) -> Anatomy:
    """The heart's anatomy with other properties of the LV."""
    structures = tuple(s.model_copy(update=changes) if s.name == "LV" else s for s in HEART.structures)
    return HEART.model_copy(update={"structures": structures})


def look(anatomy: Anatomy = HEART, keep: bool = True, structures: tuple[str, ...] = ("LV",)) -> SnappedCase:
    """A ventricle of 10.4 mm whose CT says 11 mm."""
    label = np.where(ball(10.4), 3, 0).astype(np.uint8)
    image = np.where(ball(11), 350, -90) + np.random.default_rng(0).normal(0, 15, SHAPE)
    # Half of the label is drawn at the CT's edge: the average says nothing, the place does.
    label[:20] = np.where(ball(11.6), 3, 0)[:20]
    fields = {"LV": smooth_distances(label, [3], GRID.spacing_mm)[3]}
    verdicts = [Verdict("LV", keep, 1.0, 0.0)]
    return snap_case(label, fields, label, image.astype(np.int16), anatomy, GRID, BOX, verdicts, structures)


def error(seen: SnappedCase) -> int:
    return int(np.count_nonzero((seen.labels == 3) != ball(11)))


def test_the_image_s_edge_is_taken_and_told() -> None:
    seen = look()
    assert error(seen) < 0.6 * error(look(structures=()))
    (change,) = seen.changes
    assert (change.rule, change.structure, change.action) == ("image_edges", "LV", "moved")
    assert "more" in change.note
    assert change.voxels == np.count_nonzero(seen.labels != look(structures=()).labels)
    assert seen.verdicts[0].volume_ratio != 1.0
    inside = seen.fields["LV"] > 0
    assert np.mean(inside != (seen.labels == 3)) < 0.01


@pytest.mark.parametrize("anatomy", [limited(image_edges=False), limited(max_volume_change=(0.999, 1.001))])
def test_the_anatomy_file_keeps_a_structure_from_its_image(anatomy: Anatomy) -> None:
    seen = look(anatomy)
    np.testing.assert_array_equal(seen.labels, look(structures=()).labels)


def test_do_no_harm_says_why() -> None:
    (change,) = look(limited(max_surface_mm=0.2)).changes
    assert (change.action, change.severity) == ("kept", "review")
    assert "surface moved" in change.note


def test_a_mask_that_was_not_taken_stays_as_it_came() -> None:
    assert look(keep=False).changes == ()


def test_an_image_is_read_where_something_looks_at_it() -> None:
    assert FuseSettings().looks
    assert not FuseSettings(image_edges=False, repair_vessels=False).looks
