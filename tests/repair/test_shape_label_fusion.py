"""How much a label counts beside a shape: little where it is ragged, all where it is clean or the shape is lost."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from heartmend.geometry.surface_noise import lowest_surface_noise_mm2, surface_noise_mm2
from heartmend.repair.shape_label_fusion import fuse_shape_and_label

SHAPE, SPACING = (56, 56, 56), (1.0, 1.0, 1.0)
MIDDLE = (27.3, 28.1, 27.8)


def ball(radius: float, centre: tuple[float, float, float] = MIDDLE) -> np.ndarray:
    """Signed distance to a ball, positive inside."""
    at = np.moveaxis(np.indices(SHAPE), 0, -1)
    return (radius - np.linalg.norm(at - np.array(centre), axis=-1)).astype(np.float32)


def ragged(sd_mm: float, surface: np.ndarray | None = None) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(1).standard_normal(SHAPE), 1.5)
    return np.asarray((ball(18) if surface is None else surface) + sd_mm * noise / noise.std() > 0)


def label_margin_mm(label: np.ndarray, shape_mm: np.ndarray, **more: float) -> float:
    return fuse_shape_and_label(label, shape_mm, SPACING, **more).label_margin_mm


def test_a_ragged_label_gives_way_to_a_shape_that_fits() -> None:
    assert label_margin_mm(ragged(1.2), ball(18)) < 0.4  # less than half a voxel, which is how well a label knows


def test_the_more_ragged_the_less_it_counts() -> None:
    votes = [label_margin_mm(ragged(sd), ball(18)) for sd in (0.2, 0.4, 0.8)]
    assert votes == sorted(votes, reverse=True)


def test_a_clean_label_stays_as_it_is() -> None:
    for radius in (18, 17.4, 16):
        trust = fuse_shape_and_label(ball(18) > 0, ball(radius), SPACING)
        changed = (
            0 if np.isinf(trust.label_margin_mm) else ((trust.decided_mm(ball(18) > 0) > 0) != (ball(18) > 0)).sum()
        )
        assert changed < 0.002 * (ball(18) > 0).sum()


def test_a_shape_that_is_lost_has_nothing_to_say() -> None:
    assert label_margin_mm(ragged(1.2), np.full(SHAPE, -8, np.float32)) == float("inf")
    assert label_margin_mm(ragged(0.4), ball(8, (45, 12, 12))) == float("inf")


def test_a_shape_that_lies_beside_its_label_is_drawn_to_it() -> None:
    """A misfit that all of a surface shares goes; what is mended is the label's raggedness alone."""
    true, label = ball(18) > 0, ragged(1.0)
    trust = fuse_shape_and_label(label, ball(17.5, (27.6, 28.1, 27.8)), SPACING)
    assert ((trust.shape_mm > 0) != true).sum() < 0.5 * ((ball(17.5, (27.6, 28.1, 27.8)) > 0) != true).sum()
    assert ((trust.decided_mm(label) > 0) != true).sum() < 0.5 * (label != true).sum()


def test_a_patch_does_not_draw_the_shape() -> None:
    """A bite of a few millimetres stands out from the rest of the surface, so the shape fills it."""
    label = ragged(0.5)
    bite = ball(5, (27.3, 28.1, 45)) > 0
    label &= ~bite
    trust = fuse_shape_and_label(label, ball(18), SPACING)
    lost = bite & (ball(18) > 0)
    assert (trust.decided_mm(label)[lost] > 0).mean() > 0.9


def test_a_part_that_only_the_shape_has_does_not_spoil_the_rest() -> None:
    """A branch that was cut from the label is no misfit of the shape elsewhere."""
    branch = np.maximum(ball(18), ball(6, (27.3, 28.1, 49)))
    assert label_margin_mm(ragged(1.0), branch) == pytest.approx(label_margin_mm(ragged(1.0), ball(18)), rel=0.35)


def test_thick_slices_take_from_the_labels_word() -> None:
    clean, shape = ball(18) > 0, ball(17.8)
    assert label_margin_mm(clean, shape) == float("inf")
    assert label_margin_mm(clean, shape, slice_staircase_mm=4.0) < 0.3


def test_the_cleanest_of_the_cohort_tell_how_smooth_a_structure_can_be() -> None:
    """A shape as rough as its label says nothing of the label's noise; smoother labels of other cases do."""
    rough = ragged(1.0)
    shape = np.where(rough, 1.0, -1.0).astype(np.float32) * np.abs(ball(18))
    alone, beside = (label_margin_mm(rough, shape, lowest_surface_noise_mm2=least) for least in (np.inf, 0.06))
    assert beside < 0.5 * alone


def test_roughness() -> None:
    assert surface_noise_mm2(np.zeros(SHAPE, bool), SPACING) == 0
    values = [surface_noise_mm2(mask, SPACING) for mask in (ball(18) > 0, ragged(0.5), ragged(1.0))]
    assert values == sorted(values) and values[2] > 1.5 * values[0]
    assert lowest_surface_noise_mm2([0.2, 0.1, 0.3]) == float("inf")  # too few to know
    assert lowest_surface_noise_mm2([0.1 * n for n in range(1, 22)]) == pytest.approx(0.2)


def test_the_vote_is_in_proportion_to_the_weight() -> None:
    one, two = (label_margin_mm(ragged(0.8), ball(18), weight=w) for w in (0.2, 0.4))
    assert two == pytest.approx(2 * one)


def test_an_absent_structure_has_no_vote() -> None:
    assert label_margin_mm(np.zeros(SHAPE, bool), ball(18)) == float("inf")
