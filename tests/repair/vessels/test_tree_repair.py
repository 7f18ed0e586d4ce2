"""Small hand-made trees: what is repaired, and what does not change."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, generate_binary_structure, label

from heartmend.anatomy.calibre import Calibre
from heartmend.errors import BadInputError
from heartmend.repair.vessels.settings import TreeSettings
from heartmend.repair.vessels.tree_repair import TreeRepair, repair_tree
from heartmend.types import FloatArray, Mask

SHAPE = (60, 40, 40)
FACES = generate_binary_structure(3, 1)
ANY_WIDTH = TreeSettings(calibre=None)


def tube(
    start: tuple[float, float, float],
    end: tuple[float, float, float],
    radius_mm: float = 2.0,
    shape: tuple[int, int, int] = SHAPE,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Mask:
    """Voxels within `radius_mm` of a segment with flat ends; positions in mm."""
    points = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij"), -1)
    a, way = np.array(start), np.array(end) - np.array(start)
    t = (points - a) @ way / (way @ way)
    off = np.linalg.norm(points - a - t[..., None] * way, axis=-1)
    return (t >= 0) & (t <= 1) & (off < radius_mm)


def dice(a: Mask, b: Mask) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def components(mask: Mask) -> int:
    return int(label(mask, np.ones((3, 3, 3)))[1])


def repaired(mask: Mask, settings: TreeSettings = ANY_WIDTH, **context: Mask) -> TreeRepair:
    return repair_tree(mask, (1.0, 1.0, 1.0), settings=settings, **context)


def points(result: TreeRepair) -> FloatArray:
    return np.array([data["mm"] for _, data in result.graph.nodes(data=True)])


def test_an_empty_label_stays_empty() -> None:
    result = repaired(np.zeros(SHAPE, bool))
    assert not result.mask.any()
    assert result.trees == 0 and len(result.graph) == 0


def test_the_input_does_not_change() -> None:
    vessel = tube((5, 20, 20), (55, 20, 20)) & ~tube((28, 20, 20), (33, 20, 20), 6)
    original = vessel.copy()
    repaired(vessel)
    np.testing.assert_array_equal(vessel, original)


def test_a_clean_tube_hardly_changes() -> None:
    clean = tube((5, 14, 20), (55, 26, 22))
    result = repaired(clean)
    assert dice(result.mask, clean) > 0.99
    assert not result.bridges and not result.removed


def test_a_clean_tube_of_usual_width_hardly_changes() -> None:
    clean = tube((5, 14, 20), (55, 26, 22), 1.5)
    assert dice(repaired(clean, TreeSettings()).mask, clean) > 0.99


@pytest.mark.parametrize("gap_mm", [3, 6, 10])
def test_a_gap_along_the_vessel_is_bridged(gap_mm: int) -> None:
    complete = tube((5, 14, 20), (55, 26, 22))
    interrupted = complete & ~tube((30 - gap_mm / 2, 20, 21), (30 + gap_mm / 2, 20, 21), 9)
    assert components(interrupted) == 2
    result = repaired(interrupted)
    assert components(result.mask) == 1 and result.trees == 1
    assert len(result.bridges) == 1
    assert dice(result.mask, complete) > 0.97 > dice(interrupted, complete) - 0.03
    low, high = result.bridges[0].box
    assert low[0] < 30 < high[0] and high[0] - low[0] < gap_mm + 8
    assert {data["bridge"] for _, data in result.graph.nodes(data=True)} == {-1, 0}


def test_parallel_tubes_far_apart_are_not_joined() -> None:
    two = tube((5, 10, 20), (55, 10, 20)) | tube((5, 30, 20), (55, 30, 20))
    result = repaired(two)
    assert components(result.mask) == 2 and not result.bridges
    assert dice(result.mask, two) > 0.99


def test_parallel_tubes_side_by_side_are_not_joined() -> None:
    two = tube((5, 14, 20), (55, 14, 20)) | tube((5, 21, 20), (55, 21, 20))
    assert not repaired(two).bridges


def test_two_trees_with_roots_at_the_aorta_are_not_joined_at_their_tips() -> None:
    aorta = tube((1, 4, 20), (59, 4, 20), 4.0)
    left = tube((10, 8, 20), (10, 30, 20)) | tube((10, 30, 20), (27, 30, 20))
    right = tube((50, 8, 20), (50, 30, 20)) | tube((50, 30, 20), (33, 30, 20))
    both = left | right
    assert repaired(both).trees == 1  # without the aorta the tips are joined
    result = repaired(both, aorta=aorta)
    assert result.trees == 2 and result.rooted == 2 and not result.bridges


def test_a_branch_that_lost_its_origin_is_joined_to_the_side_of_the_vessel() -> None:
    main, side = tube((5, 8, 20), (55, 8, 20)), tube((30, 8, 20), (30, 36, 20), 1.5)
    complete = main | side
    interrupted = main | tube((30, 15, 20), (30, 36, 20), 1.5)
    assert components(interrupted) == 2
    result = repaired(interrupted)
    assert components(result.mask) == 1
    assert dice(result.mask, complete) > dice(interrupted, complete)


def test_a_vessel_that_lost_its_origin_is_joined_to_the_aorta() -> None:
    aorta = tube((4, 20, 1), (4, 20, 39), 4.0)
    result = repaired(tube((14, 20, 20), (55, 20, 20)), aorta=aorta)
    assert [bridge.to_aorta for bridge in result.bridges] == [True]
    assert result.rooted == 1
    assert result.mask[9:56, 20, 20].all()


def test_a_far_island_and_specks_are_removed() -> None:
    vessel = tube((5, 10, 10), (55, 10, 10))
    island = tube((40, 35, 34), (44, 35, 34), 2.0)
    speck = np.zeros(SHAPE, bool)
    speck[10, 30, 30] = True
    result = repaired(vessel | island | speck, TreeSettings(calibre=None, sparse_mm=50))
    assert not (result.mask & (island | speck)).any()
    assert dice(result.mask, vessel) > 0.99
    assert len(result.removed) == 1
    assert result.removed[0].mm3 == island.sum()
    low, high = np.array(result.removed[0].box)
    assert (low <= (40, 35, 34)).all() and (high >= (44, 35, 34)).all()


def test_short_components_are_kept_where_most_of_the_tree_is_missing() -> None:
    """50 mm of a vessel would be left, and two islands of 5 and 7 voxels (about 4 and 6 mm) beside it."""
    vessel = tube((5, 10, 10), (55, 10, 10))
    islands = tube((40, 35, 34), (44, 35, 34), 2.0), tube((10, 35, 34), (16, 35, 34), 2.0)
    speck = np.zeros(SHAPE, bool)
    speck[10, 30, 30] = True
    result = repaired(vessel | islands[0] | islands[1] | speck, TreeSettings(calibre=None, sparse_mm=60))
    assert (result.mask & islands[0]).sum() == islands[0].sum() and (result.mask & islands[1]).sum() == islands[1].sum()
    assert not result.removed and not result.mask[10, 30, 30]
    (remark,) = result.remarks
    assert remark.reason.startswith("2 components too short for a vessel, kept as only 5")
    assert remark.mm3 == islands[1].sum(), "the longest one has the remark"


def test_a_vessel_far_from_the_heart_is_removed() -> None:
    vessel, far = tube((5, 10, 20), (55, 10, 20)), tube((5, 36, 20), (55, 36, 20))
    heart = np.zeros(SHAPE, bool)
    heart[:, :8] = True
    assert (repaired(vessel | far, heart=heart).mask & far).sum() == 0
    assert (repaired(vessel | far).mask & far).sum() > 0


def test_a_spur_is_pruned_and_a_side_branch_stays() -> None:
    vessel = tube((5, 10, 20), (55, 10, 20), 1.5)
    branch, spur = tube((20, 10, 20), (20, 22, 20), 1.2), tube((40, 10, 20), (40, 13.5, 20), 0.8)
    result = repaired(vessel | branch | spur)
    assert (result.mask & branch).sum() > 0.9 * branch.sum()
    assert points(result)[:, 1].max() > 20
    near_spur = points(result)[np.abs(points(result)[:, 0] - 40) < 4]
    assert near_spur[:, 1].max() < 11


def test_a_label_that_is_too_wide_is_narrowed_to_the_population() -> None:
    true = tube((5, 14, 20), (55, 26, 22), 1.6)
    wide = binary_dilation(true, FACES)
    result = repaired(wide, TreeSettings(calibre=Calibre(1.6, 0.1)))
    assert result.excess_mm == pytest.approx(0.8, abs=0.25)
    assert dice(wide, true) < 0.75
    assert dice(result.mask, true) > 0.9


def test_a_wide_vessel_in_a_wide_population_keeps_its_width() -> None:
    wide = tube((5, 14, 20), (55, 26, 22), 2.4)
    result = repaired(wide, TreeSettings(calibre=Calibre(2.3, 0.2)))
    assert result.excess_mm == pytest.approx(0.0, abs=0.02)
    assert dice(result.mask, wide) > 0.99


def test_a_narrowed_vessel_is_never_interrupted() -> None:
    thin = tube((5, 14, 20), (55, 26, 22), 0.9)
    result = repaired(thin, TreeSettings(calibre=Calibre(0.4, 0.05)))
    assert components(result.mask) == 1
    assert points(result)[:, 0].min() < 7 and points(result)[:, 0].max() > 53


def test_a_bump_in_the_radius_is_smoothed_by_the_tube() -> None:
    vessel = tube((5, 20, 20), (55, 20, 20), 1.5)
    bump = tube((28, 20, 20), (31, 20, 20), 3.2)
    result = repaired(vessel | bump, TreeSettings(calibre=None, tube_weight=1.0))
    radius = np.array([data["radius_mm"] for _, data in result.graph.nodes(data=True)])
    assert radius.max() < 2.5
    assert (result.mask & bump & ~vessel).sum() < 0.6 * (bump & ~vessel).sum()


@pytest.mark.parametrize("true_mm", [1.5, 2.0, 2.5])
def test_the_radius_of_a_tube_is_measured(true_mm: float) -> None:
    result = repaired(tube((5, 14, 20), (55, 26, 22), true_mm))
    x = points(result)[:, 0]
    radius = np.array([data["radius_mm"] for _, data in result.graph.nodes(data=True)])
    assert np.median(radius[(x > 12) & (x < 48)]) == pytest.approx(true_mm, abs=0.12)


def test_voxels_may_be_anisotropic() -> None:
    spacing, shape = (0.6, 1.0, 1.5), (100, 40, 27)
    complete = tube((5, 14, 16), (55, 26, 22), 2.0, shape, spacing)
    interrupted = complete & ~tube((27, 20, 19), (33, 20, 19), 9, shape, spacing)
    result = repair_tree(interrupted, spacing, settings=ANY_WIDTH)
    assert len(result.bridges) == 1 and components(result.mask) == 1
    assert dice(result.mask, complete) > 0.96
    a, way = np.array([5.0, 14, 16]), np.array([50.0, 12, 6])
    offset = points(result) - a
    off = np.linalg.norm(offset - np.outer(offset @ way / (way @ way), way), axis=1)
    assert np.percentile(off, 90) < 0.5


def test_a_bridge_follows_the_lumen_of_the_image() -> None:
    path = [(5.0, 20.0, 20.0), (24.0, 20.0, 20.0), (30.0, 23.0, 20.0), (36.0, 20.0, 20.0), (55.0, 20.0, 20.0)]
    complete = np.logical_or.reduce([tube(a, b) for a, b in pairwise(path)])
    interrupted = complete.copy()
    interrupted[25:36] = False
    image = np.where(complete, 350, -60) + np.random.default_rng(0).normal(0, 20, SHAPE)
    without_image, with_image = repaired(interrupted), repaired(interrupted, image=image)
    assert len(with_image.bridges) == 1
    assert dice(with_image.mask, complete) > dice(without_image.mask, complete) + 0.02


def test_a_flat_image_does_not_change_the_bridge() -> None:
    complete = tube((5, 14, 20), (55, 26, 22))
    interrupted = complete & ~tube((27, 20, 21), (33, 20, 21), 9)
    flat = repaired(interrupted, image=np.zeros(SHAPE))
    np.testing.assert_array_equal(flat.mask, repaired(interrupted).mask)


def test_masks_on_different_grids_are_an_error() -> None:
    with pytest.raises(BadInputError, match="aorta"):
        repair_tree(np.ones((3, 3, 3), bool), (1, 1, 1), aorta=np.ones((3, 3, 4), bool))


def test_the_result_does_not_depend_on_the_volume_around_the_vessel() -> None:
    small = tube((5, 20, 20), (25, 20, 20))
    interrupted = small & ~tube((13, 20, 20), (17, 20, 20), 9)
    large = np.zeros((100, 90, 90), bool)
    large[40:100, 50:90, 50:90] = interrupted
    a, b = repaired(interrupted), repaired(large)
    np.testing.assert_allclose(points(b), points(a) + np.array([40, 50, 50]), atol=1e-9)
    np.testing.assert_allclose(
        np.array(b.bridges[0].box), np.array(a.bridges[0].box) + np.array([40, 50, 50]), atol=1e-9
    )
    np.testing.assert_array_equal(b.mask[40:, 50:, 50:], a.mask)
