"""Tests of the merging of label maps, on balls of which each label map has another part wrong."""

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import signed_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.repair.label_sets import ConsensusShape, consensus_of, merge_case
from heartmend.repair.shared_errors.surface import divide_surface

SIDE = 49
ANATOMY = load_anatomy("heart")
LV, CORONARY = ANATOMY.by_name("LV").id, ANATOMY.by_name("Coronary").id
ROI = Roi(Grid((SIDE,) * 3, np.eye(4)), (0, 0, 0), (SIDE,) * 3)


def ball(radius_mm: float, above: float | None = None, lid_mm: float = 0.0) -> np.ndarray:
    """A ball whose radius is larger by `lid_mm` above a plane."""
    at = np.indices((SIDE,) * 3) - SIDE // 2
    radius = np.where(at[2] > (SIDE if above is None else above), radius_mm + lid_mm, radius_mm)
    return np.where(np.sqrt((at**2).sum(axis=0)) < radius, LV, 0).astype(np.uint8)


def shape(radius_mm: float = 14.0) -> ConsensusShape:
    distance = signed_distance_mm(ball(radius_mm) == LV, (1, 1, 1))
    patches = divide_surface(distance, np.full(3, float(SIDE)))
    assert patches is not None
    return ConsensusShape({"LV": distance}, {"LV": patches}, lambda points: points, ROI)


def test_at_each_place_the_better_label_map_is_taken() -> None:
    # The first is 4 mm too wide above, the second 4 mm too wide below.
    first, second = ball(14.0, above=0, lid_mm=4.0), ball(14.0, above=0, lid_mm=4.0)[:, :, ::-1]
    merged = merge_case([first, second], shape(), ANATOMY)
    truth = ball(14.0) == LV
    wrong = np.count_nonzero((merged.labels == LV) != truth)
    assert wrong < 0.15 * min(np.count_nonzero((one == LV) != truth) for one in (first, second))
    assert merged.shares["LV"] == pytest.approx((0.5, 0.5), abs=0.15)


def test_equal_label_maps_stay_as_they_are() -> None:
    merged = merge_case([ball(14.0), ball(14.0)], shape(), ANATOMY)
    assert np.array_equal(merged.labels, ball(14.0))
    assert not merged.disagreement_percent.any()


def test_an_edge_of_the_image_decides_between_two_label_maps() -> None:
    # The shape lies in the middle of both; the edge is that of the second.
    image = np.where(ball(12.0) == LV, 400.0, -80.0)
    merged = merge_case([ball(16.0), ball(12.0)], shape(14.0), ANATOMY, image)
    assert merged.shares["LV"][1] > 0.9
    radius = (3 * np.count_nonzero(merged.labels == LV) / (4 * np.pi)) ** (1 / 3)
    assert radius == pytest.approx(12.0, abs=0.6)


def test_the_disagreement_is_the_share_of_the_other_label_maps() -> None:
    merged = merge_case([ball(14.0), ball(14.0), ball(17.0)], shape(), ANATOMY)
    ring = (ball(16.5) == LV) & (ball(14.5) != LV)
    assert set(np.unique(merged.disagreement_percent[ring])) <= {33, 67}
    assert np.median(merged.disagreement_percent[ring]) == 33


def test_of_thin_vessels_the_most_similar_tree_is_taken_as_a_whole() -> None:
    trees = [ball(14.0) for _ in range(3)]
    trees[0][2:4, 2:4, 2:40] = CORONARY
    trees[1][2:4, 2:4, 2:42] = CORONARY
    trees[2][44:46, 2:4, 2:40] = CORONARY
    merged = merge_case(trees, shape(), ANATOMY)
    assert merged.shares["Coronary"] == (1.0, 0.0, 0.0)
    assert np.array_equal(merged.labels == CORONARY, trees[0] == CORONARY)


def test_a_structure_that_one_label_map_lacks_comes_from_the_others() -> None:
    merged = merge_case([np.zeros((SIDE,) * 3, np.uint8), ball(14.0)], shape(), ANATOMY)
    assert np.array_equal(merged.labels, ball(14.0))


def test_the_consensus_leaves_out_what_most_label_maps_lack() -> None:
    empty = np.zeros((SIDE,) * 3, np.uint8)
    assert not consensus_of([ball(9.0), empty, empty], ANATOMY, (1, 1, 1)).any()
    assert np.array_equal(consensus_of([ball(9.0), ball(9.0), empty], ANATOMY, (1, 1, 1)), ball(9.0))
