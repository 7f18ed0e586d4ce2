"""Whom to believe where a label and a shape disagree: measured for each case and structure, without the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from heartmend.geometry.boxes import bounding_box_mm
from heartmend.geometry.distance import signed_distance_mm
from heartmend.geometry.surface_noise import BAND_VOXELS, residual_variance_mm2
from heartmend.types import Mask

Field = npt.NDArray[np.float32]

WIDE_MM = 3.0
"""A difference between shape and label that most of a surface shares over this length, or 3.3 voxels, is the shape's
misfit; patches that stand out from it are the label's noise."""
LEAST_SCALE_MM, SCALE_OF_DIFFERENCE = 0.35, 1.4
"""What stands out: a difference beyond this, or beyond so many times the difference of half of the surface."""
ROUNDS = 3
NOISE_OF_ROUGHNESS = 6.0
"""Variance of a label's noise, for each mm² by which it is rougher than it need be. Noise that is correlated over a
few mm shows mostly beyond `SMOOTHING_MM`."""
NOISE_OF_STAIRCASE = 0.16
"""What interpolating between thick slices leaves (standard deviation), as a share of their thickness."""
FAR_MM = 1.0
"""A shape that lies so far from half of the label's surface has nothing to say; nor has one that must be so deep."""
REACH_MM = 4.0


@dataclass(frozen=True, eq=False)
class ShapeLabelFusion:
    """What a shape says once it is drawn to its label, and how much the label counts beside it.

    shape_mm: (x, y, z) signed distance, positive inside; label_margin_mm: how deep in the shape a voxel must lie to be taken
    against its label, infinite where only the label counts.
    """

    shape_mm: Field
    label_margin_mm: float

    def decided_mm(self, label: Mask) -> Field:
        """The mended structure as signed distances: the shape, moved by the vote towards where its label has each
        voxel."""
        return self.shape_mm + np.where(label, self.label_margin_mm, -self.label_margin_mm).astype(np.float32)


def fuse_shape_and_label(
    label: Mask,
    shape_mm: Field,
    spacing_mm: Sequence[float],
    slice_staircase_mm: float = 0.0,
    lowest_surface_noise_mm2: float = np.inf,
    weight: float = 0.5,
) -> ShapeLabelFusion:
    """Draw a shape to its label and tell how much each of the two counts.

    label, shape_mm: (x, y, z), the shape's signed distance positive inside; slice_staircase_mm: thickness of the slices that
    the label was drawn on, if they were thick; lowest_surface_noise_mm2: how rough the cleanest labels of this structure
    are in the cohort.

    Both are guesses at one surface. The shape's misfit is smooth, because what a smooth field cannot reach is smooth;
    the label's noise comes in patches. So the shape is moved by what most of the surface about a place agrees on (a
    mean with Geman-McClure weights, which patches do not pull). Of the two guesses that remain, with errors of the
    variances n² (the label: its roughness beyond what it need have) and m² (the shape: what is left of the difference),
    the vote is `weight` m²/n². A clean label thus stays as it is, and a ragged one gives way.
    """
    nothing = ShapeLabelFusion(shape_mm, float("inf"))
    if not label.any():
        return nothing
    voxel = min(spacing_mm)
    box = bounding_box_mm(label | (shape_mm > 0), 2 * max(WIDE_MM, 3.3 * voxel), spacing_mm)
    label_mm = signed_distance_mm(label[box], spacing_mm)
    either = np.minimum(np.abs(label_mm), np.abs(shape_mm[box])) < BAND_VOXELS * voxel
    if float(np.median(np.abs(label_mm - shape_mm[box])[either])) > FAR_MM:
        return nothing
    drawn_in = shape_mm.copy()
    drawn_in[box] += _shared_difference(label_mm, shape_mm[box], spacing_mm)
    on_label = np.abs(label_mm) < BAND_VOXELS * voxel
    misfit_mm = float(np.median(np.abs(label_mm - drawn_in[box])[on_label]))
    if misfit_mm > FAR_MM:
        return nothing
    least = min(
        lowest_surface_noise_mm2, residual_variance_mm2(signed_distance_mm(drawn_in[box] > 0, spacing_mm), spacing_mm)
    )
    excess = max(residual_variance_mm2(label_mm, spacing_mm) - least, 0.0)
    noise = NOISE_OF_ROUGHNESS * excess + (NOISE_OF_STAIRCASE * slice_staircase_mm) ** 2 + voxel**2 / 80
    label_margin_mm = weight * misfit_mm**2 / noise
    return ShapeLabelFusion(drawn_in, label_margin_mm) if label_margin_mm < FAR_MM else nothing


def _shared_difference(label_mm: Field, shape_mm: Field, spacing_mm: Sequence[float]) -> Field:
    """What a label's distances and a shape's differ by, as most of the surface about each place has it."""
    voxel = min(spacing_mm)
    sigma = [max(WIDE_MM, 3.3 * voxel) / step for step in spacing_mm]
    near = np.minimum(np.abs(label_mm), np.abs(shape_mm)) < BAND_VOXELS
    difference = np.clip(label_mm - shape_mm, -REACH_MM, REACH_MM)
    if not near.any():
        return np.zeros_like(difference)
    scale = max(LEAST_SCALE_MM, 0.4 * voxel, SCALE_OF_DIFFERENCE * float(np.median(np.abs(difference[near]))))
    shared = np.zeros_like(difference)
    for _ in range(ROUNDS):
        weight = near / (1 + np.square((difference - shared) / scale)) ** 2
        total = gaussian_filter(weight, sigma, truncate=2.5) + 1e-3
        shared = gaussian_filter(weight * difference, sigma, truncate=2.5) / total
    return shared
