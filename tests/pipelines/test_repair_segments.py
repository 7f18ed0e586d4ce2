"""Tests of the repair of named segments in memory."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

import heartmend as hm
from heartmend.errors import BadInputError
from heartmend.models.heart_model import HeartModel, evaluate_labels
from support.models import frame, two_balls

GRID = frame().grid


@pytest.fixture(scope="module")
def model() -> HeartModel:
    return replace(two_balls(spread=0.0), lowest_surface_noise_mm2={"LV": 0.001, "RV": 0.001})


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    """Two balls, LV (3) and RV (5), with a hole and a speck."""
    other = two_balls(("x",), spread=0.05, seed=9)
    labels = evaluate_labels(other, other.heart("x"), GRID).copy()
    centre = tuple(np.argwhere(labels == 3).mean(axis=0).astype(int))
    labels[centre] = 0
    return labels


@pytest.fixture(scope="module")
def found(model: HeartModel, labels: np.ndarray) -> hm.RepairedSegments:
    other = np.zeros(labels.shape, dtype=bool)
    other[:2] = True
    segments = {"left ventricle": labels == 3, "RV": (labels == 5).astype(np.uint8) * 7, "Lung": other}
    return hm.repair_segments(segments, GRID.affine, model)


def test_the_segments_are_repaired_as_the_label_map(
    found: hm.RepairedSegments, model: HeartModel, labels: np.ndarray
) -> None:
    expected = hm.repair_labels(labels, GRID.affine, model).labels
    same = np.ones(labels.shape, dtype=bool)
    same[:3] = False
    assert np.array_equal((found.masks["left ventricle"])[same], (expected == 3)[same])
    assert np.array_equal((found.masks["RV"])[same], (expected == 5)[same])
    centre = tuple(np.argwhere(labels == 3).mean(axis=0).astype(int))
    assert labels[centre] == 0 and found.masks["left ventricle"][centre] and found.changed[centre]


def test_the_changes_are_a_mask_and_counts(found: hm.RepairedSegments, labels: np.ndarray) -> None:
    before = {"left ventricle": labels == 3, "RV": labels == 5}
    differs = {name: found.masks[name] != mask for name, mask in before.items()}
    assert np.array_equal(found.changed, differs["left ventricle"] | differs["RV"])
    assert found.changed_voxels == {name: int(mask.sum()) for name, mask in differs.items() if mask.any()}
    count = int(differs["left ventricle"].sum())
    assert f"left ventricle: {count:,} {'voxel' if count == 1 else 'voxels'} changed" in found.summary


def test_a_segment_that_is_no_structure_stays(found: hm.RepairedSegments) -> None:
    assert found.others == ("Lung",) and found.masks["Lung"][:2].all() and not found.masks["Lung"][2:].any()
    assert "not changed, because the model does not have them: Lung" in found.summary


def test_the_parts_of_a_structure_stay_parts(model: HeartModel, labels: np.ndarray) -> None:
    """Two segments that are the LV: each voxel stays in its part, and a new one is in the nearest part."""
    half = np.indices(labels.shape)[2] < np.argwhere(labels == 3)[:, 2].mean()
    segments = {"LV": (labels == 3) & half, "left ventricle": (labels == 3) & ~half, "RV": labels == 5}
    found = hm.repair_segments(segments, GRID.affine, model)
    lower, upper = found.masks["LV"], found.masks["left ventricle"]
    assert not (lower & upper).any() and (lower | upper).sum() > 0
    assert (lower & binary_dilation(half)).sum() == lower.sum()
    kept = lower & segments["left ventricle"]
    assert not kept.any()


def test_an_overlap_that_is_not_repaired_stays(model: HeartModel, labels: np.ndarray) -> None:
    both = np.argwhere(labels == 5)[100]
    lv, rv = labels == 3, labels == 5
    lv[tuple(both)] = True
    found = hm.repair_segments({"LV": lv, "RV": rv}, GRID.affine, model)
    assert found.masks["LV"].dtype == np.bool_
    # The LV has priority; its single voxel inside the RV is an error that is repaired.
    assert not found.masks["LV"][tuple(both)] and found.masks["RV"][tuple(both)]


def test_errors_name_the_segments(model: HeartModel, labels: np.ndarray) -> None:
    with pytest.raises(BadInputError, match="none of the segments Tumour is a structure of the model, which has"):
        hm.repair_segments({"Tumour": labels == 3}, GRID.affine, model)
    with pytest.raises(BadInputError, match="2 segments of the shapes"):
        hm.repair_segments({"LV": labels == 3, "RV": labels[1:] == 5}, GRID.affine, model)
