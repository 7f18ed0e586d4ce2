"""Initialisation of a template: the medoid is the template, and the others are aligned to it."""

import numpy as np
import torch

from heartmend.geometry.distance import unit_frame_distance_mm
from heartmend.models.feature_table import cell_centres
from heartmend.training.initialise import initialise_template
from support.hearts import HEADS, on_roi, samples_of, small_heart


def test_shifted_hearts_are_aligned_to_the_medoid() -> None:
    heart = small_heart(1)
    hearts = [np.roll(heart, shift, axis=0) for shift in (3, 0, -3)]
    cases = [samples_of(str(n), heart, list(HEADS.values())) for n, heart in enumerate(hearts)]
    shape, codes = initialise_template(HEADS, cases, lambda id: on_roi(hearts[int(id)]), side=32, controls=6)
    assert shape.heads == ("LV", "RV")
    assert codes.ids == ("0", "1", "2")
    axis = cell_centres(32)
    for id, heart in zip(codes.ids, hearts, strict=True):
        with torch.no_grad():
            logits = shape.on_lattice((axis, axis, axis), codes.of([id]))
        for head, value in enumerate(HEADS.values()):
            assert ((logits[head].numpy() > 0) == (heart == value)).mean() > 0.99
            if id == "1":
                near = unit_frame_distance_mm(*on_roi(heart), 32, value)
                assert abs(logits[head].numpy() - near).max() < 0.1
