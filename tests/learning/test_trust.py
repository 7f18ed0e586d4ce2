"""How much a label counts beside a shape: little where it is ragged, all where it is clean or the shape is lost."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from heartmend.learning.trust import label_vote_mm

SHAPE, SPACING = (56, 56, 56), (1.0, 1.0, 1.0)


def ball(radius: float, centre: tuple[float, float, float] = (27.3, 28.1, 27.8)) -> np.ndarray:
    """Signed distance to a ball, positive inside."""
    at = np.moveaxis(np.indices(SHAPE), 0, -1)
    return (radius - np.linalg.norm(at - np.array(centre), axis=-1)).astype(np.float32)


def ragged(sd_mm: float) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(1).standard_normal(SHAPE), 1.5)
    return np.asarray(ball(18) + sd_mm * noise / noise.std() > 0)


def test_a_ragged_label_gives_way_to_a_shape_that_fits() -> None:
    assert label_vote_mm(ragged(1.2), ball(18), SPACING) < 0.5  # half a voxel: less than how well a label knows


def test_the_more_ragged_the_less_it_counts() -> None:
    votes = [label_vote_mm(ragged(sd), ball(17.7), SPACING) for sd in (0.4, 0.8, 1.2)]
    assert votes == sorted(votes, reverse=True)


def test_a_clean_label_stays_beside_a_shape_that_lies_elsewhere() -> None:
    assert label_vote_mm(ball(18) > 0, ball(18), SPACING) < 1
    assert label_vote_mm(ball(18) > 0, ball(17.4), SPACING) == float("inf")


def test_a_shape_that_is_lost_has_nothing_to_say() -> None:
    assert label_vote_mm(ragged(1.2), ball(18, (40, 30, 20)), SPACING) == float("inf")
    assert label_vote_mm(ragged(1.2), np.full(SHAPE, -8, np.float32), SPACING) == float("inf")


def test_thick_slices_take_from_the_labels_word() -> None:
    clean, shape = ball(18) > 0, ball(17.8)
    assert label_vote_mm(clean, shape, SPACING, stairs_mm=4.0) < 0.3 * label_vote_mm(clean, shape, SPACING)


def test_the_vote_is_in_proportion_to_the_weight() -> None:
    one, two = (label_vote_mm(ragged(0.8), ball(18), SPACING, weight=w) for w in (0.2, 0.4))
    assert two == pytest.approx(2 * one)


def test_an_absent_structure_has_no_vote() -> None:
    assert label_vote_mm(np.zeros(SHAPE, bool), ball(18), SPACING) == float("inf")
