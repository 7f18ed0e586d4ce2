"""Vessels in a CT: those without a root that are darker are veins; branches that the label lacks are found."""

import numpy as np
from scipy.ndimage import gaussian_filter

from heartmend.geometry.centrelines.measurement import measure_tree
from heartmend.repair.vessels.brightness import contrast_of_components, contrast_of_points
from heartmend.repair.vessels.settings import TreeSettings
from heartmend.repair.vessels.tree_repair import TreeRepair, repair_tree
from heartmend.repair.vessels.vessel_context import Lumen
from heartmend.types import FloatArray, Mask

SPACING = (0.5, 0.5, 0.5)
SHAPE = (120, 80, 40)
FAT, BLOOD, VENOUS, MUSCLE = -90.0, 400.0, 150.0, 110.0


def rod(x: tuple[float, float], y: float, z: float = 10.0, radius_mm: float = 1.5) -> Mask:
    """A vessel along x; positions in mm."""
    at = np.indices(SHAPE) * 0.5
    return (np.hypot(at[1] - y, at[2] - z) < radius_mm) & (at[0] >= x[0]) & (at[0] <= x[1])


def rising(y: tuple[float, float], x: float, radius_mm: float = 1.0) -> Mask:
    """A vessel along y."""
    at = np.indices(SHAPE) * 0.5
    return (np.hypot(at[0] - x, at[2] - 10.0) < radius_mm) & (at[1] >= y[0]) & (at[1] <= y[1])


def scan(*filled: tuple[Mask, float]) -> FloatArray:
    image = np.where(np.indices(SHAPE)[2] * 0.5 < 7.0, MUSCLE, FAT)
    for mask, level in filled:
        image[mask] = level
    return gaussian_filter(image, 1.2) + np.random.default_rng(0).normal(0, 15, SHAPE)


AORTA = rod((0, 4), 10, 10, 8.0)
WALL = (np.indices(SHAPE)[2] * 0.5 < 7.0) & ~AORTA
"""The heart's muscle below the vessels."""
ARTERY = rod((3, 55), 10)


def repaired(label: Mask, image: FloatArray, missing_branches: bool = False) -> TreeRepair:
    settings = TreeSettings(calibre=None, missing_branches=missing_branches)
    return repair_tree(label, SPACING, aorta=AORTA, heart=AORTA | WALL, image=image, settings=settings)


def test_thin_and_thick_vessels_of_one_blood_have_the_same_contrast() -> None:
    both = ARTERY | rod((3, 55), 30, 10, 0.8)
    image = scan((both, BLOOD))
    lumen = Lumen.of(image, both, SPACING)
    assert lumen is not None
    tree = measure_tree(both, SPACING)
    contrast = contrast_of_points(tree, lumen)
    thick = tree.points_mm[:, 1] < 20
    assert abs(np.median(contrast[thick]) / np.median(contrast[~thick]) - 1) < 0.25
    assert (
        np.median(gaussian_filter(image, 1.0)[tuple(np.rint(tree.points_mm[~thick] * 2).astype(int).T)]) < 0.75 * BLOOD
    )


def test_a_vein_beside_the_arteries_is_flagged_and_not_joined() -> None:
    vein = rod((20, 55), 18)
    result = repaired(ARTERY | vein, scan((ARTERY, BLOOD), (vein, VENOUS), (AORTA, BLOOD)))
    (remark,) = result.remarks
    assert "a vein?" in remark.reason and 30 < remark.length_mm < 40
    assert (result.mask == ARTERY | vein).all() and not result.bridges
    same = repaired(ARTERY | vein, scan((ARTERY | vein, BLOOD), (AORTA, BLOOD)))
    assert not [part for part in same.remarks if "vein" in part.reason]


def test_a_dark_piece_in_line_with_an_artery_is_not_bridged_and_a_bright_one_is() -> None:
    near, far = rod((3, 30), 10), rod((36, 58), 10)
    dark = repaired(near | far, scan((near, BLOOD), (far, VENOUS), (AORTA, BLOOD)))
    bright = repaired(near | far, scan((near | far, BLOOD), (AORTA, BLOOD)))
    assert not dark.bridges and len(bright.bridges) == 1


def test_without_a_root_nothing_is_compared() -> None:
    tree = measure_tree(ARTERY, SPACING)
    lumen = Lumen.of(scan((ARTERY, BLOOD)), ARTERY, SPACING)
    assert lumen is not None
    assert contrast_of_components(tree, np.zeros(len(tree), bool), lumen).tolist() == [1.0]


def test_a_branch_and_the_end_of_a_vessel_that_the_label_lacks_are_found() -> None:
    branch, end = rising((11, 36), 30), rod((40, 55), 10)
    label = ARTERY & ~end
    image = scan((ARTERY | branch, BLOOD), (AORTA, BLOOD))
    assert repaired(label, image).branches is None  # off by default
    found = repaired(label, image, missing_branches=True)
    assert found.branches is not None and len(found.branches.parts) == 2
    lengths = sorted(part.length_mm for part in found.branches.parts)
    assert 11 < lengths[0] < 16 and 20 < lengths[1] < 26
    missed = (branch | end) & ~label
    assert (found.branches.mask & missed).sum() > 0.6 * missed.sum()
    assert (found.branches.mask & ~branch & ~end).sum() < 0.3 * missed.sum()


def test_a_wide_a_dark_a_parallel_and_a_far_vessel_are_no_branches() -> None:
    for other, level in (
        (rising((11, 36), 30, 3.5), BLOOD),
        (rising((11, 36), 30), VENOUS),
        (rod((10, 50), 14.5), BLOOD),
        (rising((22, 38), 30), BLOOD),
    ):
        found = repaired(ARTERY, scan((other, level), (ARTERY, BLOOD), (AORTA, BLOOD)), missing_branches=True)
        assert found.branches is not None and not found.branches.parts
