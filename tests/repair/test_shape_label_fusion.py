"""Weight of a label beside its fitted shape: low for a rough label, high for a clean one or a shape that misfits."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from heartmend.geometry.surface_noise import lowest_surface_noise_mm2, surface_noise_mm2
from heartmend.repair.shape_label_fusion import PRIOR_LOCAL_MISFIT, ShapeLabelFusion, fuse_shape_and_label

SHAPE, SPACING = (56, 56, 56), (1.0, 1.0, 1.0)
CENTRE = (27.3, 28.1, 27.8)


def ball(radius: float, centre: tuple[float, float, float] = CENTRE) -> np.ndarray:
    """Signed distance to a ball, positive inside."""
    at = np.moveaxis(np.indices(SHAPE), 0, -1)
    return (radius - np.linalg.norm(at - np.array(centre), axis=-1)).astype(np.float32)


def rough(sd_mm: float) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(1).standard_normal(SHAPE), 1.5)
    return np.asarray(ball(18) + sd_mm * noise / noise.std() > 0)


def fused(fusion: ShapeLabelFusion, kept: np.ndarray | None = None) -> np.ndarray:
    """Mask of the fused structure on the whole volume."""
    mask = np.zeros(SHAPE, bool)
    mask[fusion.box] = fusion.fused_mm(None if kept is None else kept[fusion.box]) > 0
    return mask


def registered(fusion: ShapeLabelFusion) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[fusion.box] = fusion.shape_mm > 0
    return mask


def margin_mm(label: np.ndarray, shape_mm: np.ndarray, **more: float) -> float:
    return fuse_shape_and_label(label, shape_mm, SPACING, **more).label_margin_mm


def test_a_rough_label_follows_a_shape_that_fits() -> None:
    assert margin_mm(rough(1.2), ball(18)) < 0.4  # less than half a voxel, the uncertainty of any label


def test_the_margin_falls_with_roughness() -> None:
    margins = [margin_mm(rough(sd), ball(18)) for sd in (0.2, 0.4, 0.8)]
    assert margins == sorted(margins, reverse=True)


@pytest.mark.parametrize("radius", [18, 17.4, 16])
def test_a_clean_label_hardly_changes(radius: float) -> None:
    label = ball(18) > 0
    fusion = fuse_shape_and_label(label, ball(radius), SPACING)
    changed = 0 if np.isinf(fusion.label_margin_mm) else (fused(fusion) != label).sum()
    assert changed < 0.002 * label.sum()


def test_a_shape_far_from_its_label_is_not_used() -> None:
    assert margin_mm(rough(1.2), np.full(SHAPE, -8, np.float32)) == float("inf")
    assert margin_mm(rough(0.4), ball(8, (45, 12, 12))) == float("inf")


def test_a_misplaced_shape_is_registered_to_its_label() -> None:
    """A misfit that the whole surface shares is removed; the roughness of the label is not copied."""
    true, label, shape_mm = ball(18) > 0, rough(1.0), ball(17.5, (27.6, 28.1, 27.8))
    fusion = fuse_shape_and_label(label, shape_mm, SPACING)
    assert (registered(fusion) != true).sum() < 0.5 * ((shape_mm > 0) != true).sum()
    assert (fused(fusion) != true).sum() < 0.5 * (label != true).sum()


def test_an_error_in_a_patch_is_not_copied_by_the_registration() -> None:
    """A dent of a few millimetres differs from the rest of the surface, so the shape fills it."""
    label = rough(0.5)
    dent = ball(5, (27.3, 28.1, 45)) > 0
    label &= ~dent
    fusion = fuse_shape_and_label(label, ball(18), SPACING)
    lost = dent & (ball(18) > 0)
    assert fused(fusion)[lost].mean() > 0.9


def test_a_missing_branch_of_the_label_does_not_change_the_margin() -> None:
    """A branch that the label lacks is no misfit of the shape elsewhere."""
    branched = np.maximum(ball(18), ball(6, (27.3, 28.1, 49)))
    assert margin_mm(rough(1.0), branched) == pytest.approx(margin_mm(rough(1.0), ball(18)), rel=0.35)


def test_thick_slices_lower_the_weight_of_a_label() -> None:
    clean, shape = ball(18) > 0, ball(17.8)
    assert margin_mm(clean, shape) == float("inf")
    assert margin_mm(clean, shape, slice_staircase_mm=4.0) < 0.3


def test_the_cleanest_labels_of_the_cohort_give_the_lowest_possible_noise() -> None:
    """A shape as rough as its label gives no estimate of the label's noise; smoother labels of other cases do."""
    label = rough(1.0)
    shape = np.where(label, 1.0, -1.0).astype(np.float32) * np.abs(ball(18))
    unknown, known = (margin_mm(label, shape, lowest_surface_noise_mm2=noise) for noise in (np.inf, 0.06))
    assert known < 0.5 * unknown


def vein(spacing: tuple[float, float, float], radius: float = 4.0) -> np.ndarray:
    """Signed distance to a tube of 48 mm along the diagonal of a volume of 60 mm, positive inside."""
    at = np.moveaxis(np.indices([int(60 / side) for side in spacing]), 0, -1) * np.array(spacing) - 29.7
    along = at @ (np.ones(3) / np.sqrt(3))
    across = np.linalg.norm(at - along[..., None] / np.sqrt(3), axis=-1)
    return np.asarray(np.minimum(radius - across, 24 - np.abs(along)), dtype=np.float32)


def test_a_clean_vein_on_coarse_voxels_has_no_noise_beside_clean_ones_on_fine_voxels() -> None:
    fine, coarse = (0.8, 0.8, 0.8), (1.2, 1.2, 1.5)
    noise_mm2 = surface_noise_mm2(vein(fine) > 0, fine)
    lowest_mm2 = lowest_surface_noise_mm2([noise_mm2] * 5, [0.8] * 5)
    label, shape = vein(coarse) > 0, vein(coarse, 4.7)
    converted, sound = (
        fuse_shape_and_label(label, shape, coarse, 0.0, lowest).label_margin_mm
        for lowest in (lowest_mm2, surface_noise_mm2(label, coarse))
    )
    assert converted == pytest.approx(sound, rel=0.1)
    rough = label & ~((np.random.default_rng(0).random(label.shape) < 0.25) & (vein(coarse) < 1.3))
    assert fuse_shape_and_label(rough, shape, coarse, 0.0, lowest_mm2).label_margin_mm < 0.5 * converted


def test_the_margin_is_proportional_to_the_weight() -> None:
    one, two = (margin_mm(rough(0.8), ball(18), weight=w) for w in (0.2, 0.4))
    assert two == pytest.approx(2 * one)


def test_an_absent_structure_stays_absent() -> None:
    assert margin_mm(np.zeros(SHAPE, bool), ball(18)) == float("inf")


def test_the_label_stays_where_it_is_kept_and_where_the_margin_is_infinite() -> None:
    label, kept = rough(1.0), np.zeros(SHAPE, bool)
    kept[:28] = True
    fusion = fuse_shape_and_label(label, ball(18), SPACING)
    repaired = fused(fusion, kept)
    assert (repaired[:28] == label[:28]).all()
    assert (repaired[28:] == fused(fusion)[28:]).all() and (repaired[28:] != label[28:]).any()
    far = fuse_shape_and_label(label, ball(8, (45, 12, 12)), SPACING)
    assert np.isinf(far.label_margin_mm) and (fused(far) == label).all()


@pytest.mark.parametrize("local_misfit", [0.0, 1.0])
def test_the_volume_about_label_and_shape_makes_no_difference(local_misfit: float) -> None:
    """So a case is refined on boxes of its ROI."""
    label, shape = rough(0.8), ball(17.5)
    found = fuse_shape_and_label(label, shape, SPACING, local_misfit=local_misfit)
    padded = fuse_shape_and_label(
        np.pad(label, 9), np.pad(shape, 9, constant_values=-8), SPACING, local_misfit=local_misfit
    )
    assert padded.box == tuple(slice(s.start + 9, s.stop + 9) for s in found.box)
    assert found.shape_mm.size < 0.9 * label.size
    assert np.array_equal(padded.fused_mm(), found.fused_mm())


def half_wrong() -> np.ndarray:
    """Shape of another heart: right on one side, 1 mm too large on the other, with a smooth change between."""
    x = np.indices(SHAPE)[0] - CENTRE[0]
    return ball(18) + (1 / (1 + np.exp(-x / 3))).astype(np.float32)


def test_a_local_margin_lets_the_label_count_where_the_shape_of_another_heart_does_not_fit() -> None:
    true, label = ball(18) > 0, rough(0.8)
    fusion = fuse_shape_and_label(label, half_wrong(), SPACING, local_misfit=PRIOR_LOCAL_MISFIT)
    margin = np.full(SHAPE, np.nan)
    margin[fusion.box] = fusion.local_margin_mm
    left, right = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    left[:20], right[36:] = True, True
    surface = np.abs(ball(18)) < 1
    assert np.median(margin[surface & left]) < 0.5 * np.median(margin[surface & right])
    repaired = fused(fusion)
    wrong = [int(((mask != true) & side).sum()) for side in (left, right) for mask in (label, repaired)]
    assert wrong[1] < 0.9 * wrong[0], "where the shape fits, the label's noise is removed"
    assert wrong[3] <= 1.05 * wrong[2], "where it does not, nothing is made worse"


def test_a_local_margin_of_a_shape_that_fits_is_below_half_a_voxel() -> None:
    label = rough(1.0)
    local, whole = (
        fuse_shape_and_label(label, ball(18), SPACING, local_misfit=weight) for weight in (PRIOR_LOCAL_MISFIT, 0)
    )
    assert whole.local_margin_mm is None and np.isfinite(whole.label_margin_mm)
    assert whole.label_margin_mm <= local.label_margin_mm < 0.5
