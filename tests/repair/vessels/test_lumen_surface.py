"""Surface of a vessel label, moved to the lumen in the CT."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from heartmend.geometry.centrelines.measurement import measure_tree
from heartmend.repair.vessels.lumen_surface import LumenSurface, move_to_lumen

SPACING_MM = (0.6, 0.6, 0.6)
SHAPE = (44, 44, 90)
MIDDLE = 45
"""Slice in the middle of the vessel."""


def centre_distance_mm() -> np.ndarray:
    """Distance of each voxel from a slightly bent line along z."""
    x, y, z = np.indices(SHAPE) * 0.6
    return np.hypot(x - 13 - 1.5 * np.sin(z / 12), y - 13)


def radius_mm(change_mm: float = 0.0) -> np.ndarray:
    """Radius at each voxel of a tapering vessel that is wider or narrower in the middle, over about 5 mm."""
    z = np.indices(SHAPE)[2] * 0.6
    return 2.1 - 0.6 * z / z.max() + change_mm * np.exp(-0.5 * ((z - MIDDLE * 0.6) / 2.5) ** 2)


def vessel(change_mm: float = 0.0, offset_mm: float = 0.0) -> np.ndarray:
    return centre_distance_mm() < radius_mm(change_mm) + offset_mm


def scan(change_mm: float = 0.0, noise_hu: float = 20.0, level_hu: float = 400.0) -> np.ndarray:
    """CT of the vessel, with fat on one side and muscle on the other, blur of 0.6 mm and noise."""
    hu = np.where(np.indices(SHAPE)[0] * 0.6 < 13, -90.0, 110.0)
    share = np.clip((radius_mm(change_mm) - centre_distance_mm()) / 0.6 + 0.5, 0, 1)
    hu = gaussian_filter(share * level_hu + (1 - share) * hu, 1.0)
    return hu + np.random.default_rng(3).normal(0, noise_hu, SHAPE)


def moved(label: np.ndarray, image: np.ndarray, keeps_width: bool = True) -> LumenSurface:
    tree = measure_tree(label, SPACING_MM)
    found = move_to_lumen(label, tree, np.zeros(SHAPE, bool), image, SPACING_MM, keeps_width=keeps_width)
    assert found is not None
    return found


def area(mask: np.ndarray, at: int = MIDDLE) -> float:
    """Area of the cross-sections about a slice, in voxels."""
    return float(np.count_nonzero(mask[..., at - 2 : at + 3])) / 5


@pytest.mark.parametrize("change_mm", [-0.9, 0.9])
def test_a_stenosis_or_ectasia_that_the_label_lacks_comes_back(change_mm: float) -> None:
    label, truth = vessel(), vessel(change_mm)
    found = moved(label, scan(change_mm))
    wrong, left = (abs(area(one) - area(truth)) for one in (label, found.mask))
    assert left < 0.35 * wrong
    far = np.s_[..., 10:25]
    assert np.count_nonzero((found.mask ^ label)[far]) < 0.03 * np.count_nonzero(label[far])


def test_the_offset_of_a_section_has_the_sign_and_place_of_the_stenosis() -> None:
    label = vessel()
    tree = measure_tree(label, SPACING_MM)
    found = moved(label, scan(-0.9))
    here = np.abs(tree.points_mm[:, 2] - MIDDLE * 0.6) < 1.5
    away = np.abs(tree.points_mm[:, 2] - MIDDLE * 0.6) > 10
    # Which of two neighbouring radii a section takes depends on the processor.
    assert found.offset_mm[here].mean() < -0.4
    assert abs(found.offset_mm[away].mean()) < 0.15
    assert found.offset_sd_mm.max() < 0.2


def test_a_sound_label_hardly_changes() -> None:
    label = vessel()
    found = moved(label, scan())
    assert np.count_nonzero(found.mask ^ label) < 0.01 * np.count_nonzero(label)
    assert abs(found.tree_mm) < 0.1


def test_the_width_of_a_convention_stays_unless_it_is_not_wanted() -> None:
    label, truth = vessel(offset_mm=0.5), vessel()
    kept, lumen = moved(label, scan()), moved(label, scan(), keeps_width=False)
    assert kept.tree_mm == pytest.approx(-0.5, abs=0.15)
    assert np.count_nonzero(kept.mask) == pytest.approx(np.count_nonzero(label), rel=0.05)
    assert np.count_nonzero(lumen.mask) == pytest.approx(np.count_nonzero(truth), rel=0.08)


def test_a_calcified_stretch_and_one_beside_lung_keep_the_label() -> None:
    label, image = vessel(), scan()
    image[..., 43:48][centre_distance_mm()[..., 43:48] < 2.5] = 1000
    image[..., 68:78] = np.where(centre_distance_mm()[..., 68:78] > 2.6, -830, image[..., 68:78])
    found = moved(label, image)
    for part in (np.s_[..., 43:48], np.s_[..., 70:76]):
        assert np.count_nonzero((found.mask ^ label)[part]) < 0.04 * np.count_nonzero(label[part])
    z = measure_tree(label, SPACING_MM).points_mm[:, 2] / 0.6
    clear = found.offset_sd_mm[(z > 10) & (z < 35)]
    assert found.offset_sd_mm[(z > 43) & (z < 47)].max() > 2 * clear.max()


def test_the_label_does_not_grow_into_other_structures() -> None:
    label, others = vessel(), np.zeros(SHAPE, bool)
    others[:, 26:] = True
    others &= ~label
    found = move_to_lumen(label, measure_tree(label, SPACING_MM), others, scan(0.9), SPACING_MM)
    assert found is not None and not (found.mask & others).any()


def test_a_displaced_ct_moves_nothing() -> None:
    label = vessel()
    image = np.roll(scan(), 3, axis=1)  # by 1.8 mm, about the radius
    assert move_to_lumen(label, measure_tree(label, SPACING_MM), np.zeros(SHAPE, bool), image, SPACING_MM) is None


def test_a_ct_that_does_not_show_the_vessel_moves_nothing() -> None:
    label = vessel()
    image = np.random.default_rng(0).normal(60, 20, SHAPE)
    tree, nothing = measure_tree(label, SPACING_MM), np.zeros(SHAPE, bool)
    assert move_to_lumen(label, tree, nothing, image, SPACING_MM) is None
    assert move_to_lumen(nothing, measure_tree(nothing, SPACING_MM), nothing, image, SPACING_MM) is None
