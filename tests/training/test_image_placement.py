"""Placement of a template in a CT: a heart of three balls that the label map has in another place, or mirrored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heartmend.metrics.overlap import dice
from heartmend.models.template import TemplateShape
from heartmend.repair.placed_shape import labels_of
from heartmend.training.image_placement import (
    UNKNOWN_SHARE,
    ImagePhase,
    place_from_starts,
    place_in_image,
    sample_image,
    turned_starts,
)
from support.ball_heart import HEADS, ROI, ct, heart

pytestmark = pytest.mark.usefixtures("few_image_points")


def test_a_template_moves_to_where_the_ct_has_the_heart(template: TemplateShape) -> None:
    labels, truth = heart(), heart((3, -4, 2))
    voxels = sample_image(labels, ct(truth), ROI, HEADS)
    placed = labels_of(template, place_in_image(template, voxels, template.new_codes(1)).code, ROI, HEADS)
    for id in HEADS.values():
        assert dice(labels == id, truth == id) < 0.85
        assert dice(placed == id, truth == id) > 0.94, id


def test_a_blurred_surface_stays_in_the_middle_of_its_slope(template: TemplateShape) -> None:
    truth = heart()
    voxels = sample_image(truth, ct(truth, blur_mm=1.2), ROI, HEADS)
    placed = labels_of(template, place_in_image(template, voxels, template.new_codes(1)).code, ROI, HEADS)
    for id in (HEADS["LA"], HEADS["LV"]):
        # A shell of half a voxel is 12 % of the ventricle and 17 % of the atrium.
        assert np.count_nonzero(placed == id) == pytest.approx(np.count_nonzero(truth == id), rel=0.1), id


def test_a_placement_that_explains_the_ct_is_more_likely(template: TemplateShape) -> None:
    voxels = sample_image(heart(), ct(heart()), ROI, HEADS)
    aside = template.new_codes(1)
    aside["affine"][0, 0, 3] = 1.0
    still = (ImagePhase(1, 12, 1e-6, 0.8),)
    near, far = (place_in_image(template, voxels, start, still) for start in (template.new_codes(1), aside))
    assert near.log_likelihood > far.log_likelihood + 1


def test_every_intensity_has_a_share_and_the_shares_add_up_to_one() -> None:
    voxels = sample_image(heart(), ct(heart()), ROI, HEADS)
    assert voxels.log_shares.shape == (len(voxels.points), 1 + len(HEADS))
    assert float(voxels.log_shares.exp().min()) >= UNKNOWN_SHARE / 51
    assert float(voxels.log_shares.max()) < 0


def test_blood_of_the_same_brightness_has_the_same_shares() -> None:
    labels = heart()
    voxels = sample_image(labels, ct(labels), ROI, HEADS)
    _, atrium, ventricle, muscle = voxels.log_shares.exp().T
    # Intensities of blood: likely in both chambers, and hardly in muscle.
    blood = atrium > 0.1
    assert blood.any() and torch.allclose(atrium[blood], ventricle[blood], atol=0.04)
    assert float(muscle[blood].max()) < 0.02


def test_eight_starts_turn_and_mirror_every_axis() -> None:
    affine = torch.tensor([[[1.0, 0.1, 0, 0.2], [0, 1, 0, 0], [0, 0, 1, -0.1]]])
    starts = [start["affine"][0] for start in turned_starts(affine)]
    assert torch.equal(starts[0], affine[0])
    assert len({tuple(one.flatten().tolist()) for one in starts}) == 8
    assert sorted(float(torch.linalg.det(one[:, :3]).sign()) for one in starts) == [-1] * 4 + [1] * 4
    assert all(torch.equal(one[:, 3], affine[0, :, 3]) for one in starts)


@pytest.mark.parametrize("axes", [(0,), (1, 2)], ids=["mirrored", "turned"])
def test_a_mirrored_or_turned_heart_is_found_from_the_turned_starts(
    template: TemplateShape, axes: tuple[int, ...]
) -> None:
    truth = np.flip(heart(), axes).copy()
    voxels, usual = sample_image(truth, ct(truth), ROI, HEADS), template.new_codes(1)
    found = labels_of(template, place_from_starts(template, voxels, turned_starts(usual["affine"])).code, ROI, HEADS)
    alone = labels_of(template, place_from_starts(template, voxels, [usual]).code, ROI, HEADS)
    assert min(dice(found == id, truth == id) for id in HEADS.values()) > 0.9
    assert min(dice(alone == id, truth == id) for id in HEADS.values()) < 0.5
