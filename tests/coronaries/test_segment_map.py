"""Names of coronary segments: phantom trees with known names, mirrored grids, given names, doubtful pieces."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.coronaries.segment_map import SegmentMap, map_segments
from heartmend.coronaries.segments import Segment, Side
from heartmend.geometry.grid import Grid
from heartmend.phantom.coronary_tree import SEGMENTS, CoronaryPhantom, draw_tree, sample_tree
from heartmend.phantom.plan import Label
from heartmend.types import Labels

HEART = load_anatomy("heart")
NAMES = {
    "LM": {1}, "LAD": {2}, "LCx": {3}, "RCA": {9}, "D": {4, 5}, "OM": {6, 7}, "PDA": {10}, "PLA": {11}, "RV": {14},
}  # fmt: skip
RIGHT = ("RCA", "PDA", "PLA", "RV")


@cache
def phantom(seed: int) -> CoronaryPhantom:
    rng = np.random.default_rng(seed)
    return draw_tree(sample_tree(rng), (0.8,) * 3, rng)


def whole_heart(one: CoronaryPhantom) -> Labels:
    """The chambers around the grooves, with the vessels."""
    labels = one.chambers.copy()
    labels[one.labels == Label.CORONARY] = Label.CORONARY
    return labels


@cache
def named(seed: int) -> SegmentMap:
    one = phantom(seed)
    found = map_segments(whole_heart(one), Grid(one.labels.shape, one.affine), HEART)
    assert found is not None
    return found


def shares(one: CoronaryPhantom, values: Labels) -> dict[str, float]:
    """Share of the voxels of each vessel that have its name."""
    return {
        name: float(np.isin(values[one.segments == i], list(NAMES[name])).mean())
        for i, name in enumerate(SEGMENTS, start=1)
        if (one.segments == i).any()
    }


def test_the_ids_are_those_of_imagecas_x() -> None:
    assert [one.label for one in Segment] == [
        "LM", "LAD", "LCx", "D1", "D2", "OM1", "OM2", "IM", "RCA", "R-PDA", "R-PLA", "L-PDA", "L-PLA", "Other",
    ]  # fmt: skip
    assert [int(one) for one in Segment] == list(range(1, 15))


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_the_vessels_of_a_phantom_have_their_names(seed: int) -> None:
    right = shares(phantom(seed), named(seed).values)
    assert min(right.values()) > 0.75, right
    assert min(right[name] for name in ("LM", "LAD", "LCx", "RCA")) > 0.85, right
    np.testing.assert_array_equal(named(seed).values > 0, phantom(seed).labels == Label.CORONARY)


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_left_and_right_tree_are_told_apart(seed: int) -> None:
    one, sides = phantom(seed), named(seed).sides
    right = np.isin(one.segments, [SEGMENTS.index(name) + 1 for name in RIGHT])
    assert (sides[right] == Side.RIGHT).all()
    assert (sides[(one.segments > 0) & ~right] == Side.LEFT).all()


def test_a_mirrored_grid_of_the_same_heart_has_the_same_names() -> None:
    one = phantom(2)
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = one.labels.shape[0] - 1
    found = map_segments(whole_heart(one)[::-1], Grid(one.labels.shape, one.affine @ flip), HEART)
    assert found is not None
    same = found.values[::-1] == named(2).values
    assert same[one.labels == Label.CORONARY].mean() > 0.98


def test_the_list_has_length_side_and_confidence() -> None:
    records = {record.segment: record for record in named(2).records}
    assert records["RCA"].side == "right" and records["LAD"].side == "left"
    assert 80 < records["LAD"].length_mm < 130
    assert records["RCA"].voxels == int((named(2).values == Segment.RCA).sum())
    assert all(0 <= record.confidence <= 1 for record in named(2).records)
    assert records["LAD"].confidence > 0.5
    # The left main of the phantom is longer than any real one.
    assert records["LM"].confidence < records["LAD"].confidence


def test_a_piece_without_an_ostium_is_doubtful() -> None:
    one = phantom(2)
    labels = whole_heart(one)
    lad = np.argwhere(one.segments == SEGMENTS.index("LAD") + 1)
    middle = lad[len(lad) // 2]
    near = np.linalg.norm(lad - middle, axis=1) < 8
    labels[tuple(lad[near].T)] = 0
    found = map_segments(labels, Grid(one.labels.shape, one.affine), HEART)
    assert found is not None
    beyond = found.named.confidence[~np.isfinite(_depth(found))]
    assert len(beyond) and beyond.max() <= 0.3


def _depth(found: SegmentMap) -> np.ndarray:
    from heartmend.coronaries.rooted import RootedForest
    from heartmend.coronaries.surroundings import CoronarySurroundings

    one = phantom(2)
    masks = {structure.name: whole_heart(one) == structure.id for structure in HEART.structures}
    around = CoronarySurroundings.of(masks, Grid(one.labels.shape, one.affine))
    assert around is not None
    return RootedForest.at_aorta(found.named.tree, around.aorta_mm).depth_mm


def test_given_names_are_carried_over() -> None:
    one = phantom(2)
    given = np.zeros(one.labels.shape, np.uint8)
    given[one.segments == SEGMENTS.index("LAD") + 1] = Segment.LAD
    given[one.segments == SEGMENTS.index("D") + 1] = Segment.D2
    found = map_segments(whole_heart(one), Grid(one.labels.shape, one.affine), HEART, given)
    assert found is not None
    np.testing.assert_array_equal(found.values[given > 0], given[given > 0])
    records = {record.segment: record for record in found.records}
    assert records["D2"].confidence > 0.9 and "D1" not in records


def test_without_chambers_only_given_names_are_known() -> None:
    one = phantom(2)
    vessels = np.where(one.labels == Label.CORONARY, one.labels, 0).astype(np.uint8)
    grid = Grid(one.labels.shape, one.affine)
    assert map_segments(vessels, grid, HEART) is None
    given = np.where(one.segments == SEGMENTS.index("RCA") + 1, int(Segment.RCA), 0).astype(np.uint8)
    found = map_segments(vessels, grid, HEART, given)
    assert found is not None
    assert [(record.segment, record.side) for record in found.records] == [("RCA", "right")]


def test_a_heart_without_coronaries_has_no_segments() -> None:
    one = phantom(2)
    assert map_segments(one.chambers, Grid(one.labels.shape, one.affine), HEART) is None
    assert map_segments(one.chambers, Grid(one.labels.shape, one.affine), load_anatomy("adrenal")) is None
