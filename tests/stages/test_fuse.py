"""Tests of the stage fuse."""

import numpy as np

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.repair.far_components import RULE
from heartmend.stages.fuse import FusedCase, FuseSettings, RefinedCase, fuse_case
from heartmend.stages.prepare import PrepareSettings, prepare_labels


def test_images_are_read_for_vessels_and_for_image_edges_only() -> None:
    assert FuseSettings().reads_images
    assert FuseSettings(image_edges=False).reads_images
    assert not FuseSettings(image_edges=False, repair_vessels=False).reads_images


def _fused(labels: np.ndarray, settings: PrepareSettings, structures: tuple[str, ...] = ()) -> FusedCase:
    anatomy, grid = load_anatomy("heart"), Grid(labels.shape, np.eye(4))
    prepared = prepare_labels("001", labels, grid, anatomy, settings)
    return fuse_case(RefinedCase(labels, prepared, {}), anatomy, FuseSettings(), structures)


def _label_map() -> np.ndarray:
    """A ventricle with its wall, and a far region of each outside the ROI."""
    labels = np.zeros((90, 40, 40), dtype=np.uint8)
    labels[8:32, 8:32, 8:32], labels[12:28, 12:28, 12:28] = 1, 3
    labels[70:90, :6, :6], labels[80:85, 30:35, 30:35] = 1, 3
    return labels


def test_far_components_outside_the_roi_are_removed_and_listed() -> None:
    labels = _label_map()
    expected = labels.copy()
    expected[60:] = 0
    fused = _fused(labels, PrepareSettings())
    assert np.array_equal(fused.labels, expected)
    assert [(c.structure, c.voxels) for c in fused.log.changes if c.rule == RULE] == [("Myocardium", 720), ("LV", 125)]


def test_far_components_stay_on_request() -> None:
    labels = _label_map()
    fused = _fused(labels, PrepareSettings(keep_far_components=True))
    assert np.array_equal(fused.labels, labels)
    assert not [c for c in fused.log.changes if c.rule == RULE]


def test_far_components_of_other_structures_stay() -> None:
    labels = _label_map()
    fused = _fused(labels, PrepareSettings(), ("LV",))
    labels[60:][labels[60:] == 3] = 0
    assert np.array_equal(fused.labels, labels)
    assert [c.structure for c in fused.log.changes if c.rule == RULE] == ["LV"]
