"""Fusion of a label with the fitted shape of its structure, weighted by errors that are estimated without a truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from heartmend.geometry.boxes import Box, bounding_box_mm, full_box
from heartmend.geometry.distance import CLIP_MM, signed_distance_mm
from heartmend.geometry.interpolation import block_means, interpolate_along
from heartmend.geometry.surface_noise import (
    BAND_VOXELS,
    REFERENCE_VOXEL_MM,
    noise_on_voxels_mm2,
    residual_variance_mm2,
)
from heartmend.types import DistanceField, Mask

REGISTRATION_MM = 3.0
"""Standard deviation of the local mean, or 3.3 voxels if that is more. A difference between shape and label that most
of the surface shares over this length is the shape's misfit; patches that differ from it are noise of the label."""
MIN_SCALE_MM, SCALE_OF_DIFFERENCE = 0.35, 1.4
"""Scale of the robust weights: at least this, or this multiple of the median difference."""
ROUNDS = 3
"""Rounds of the robust local mean."""
MIN_SIGMA_VOXELS = 1.6
"""Smallest standard deviation of the local mean in the first rounds, in the voxels that are used there."""
NOISE_OF_ROUGHNESS = 6.0
"""Variance of a label's noise for each mm² of its excess surface noise, which contains fine noise only."""
NOISE_OF_STAIRCASE = 0.16
"""Standard deviation that interpolation between thick slices leaves, as a share of the slices' thickness."""
MAX_MISFIT_MM = 1.0
"""A shape with a larger median difference from the label is not used; nor is one with a larger margin."""
MAX_DIFFERENCE_MM = 4.0
"""Differences between label and shape are clipped here."""
LOCAL_MM = 6.0
"""Standard deviation of the local means that a local margin is estimated from."""
MISFIT_OF_REGISTRATION, MISFIT_OF_DIFFERENCE = 1.0, 0.1
"""Variance of the misfit that remains, for each mm² that the registration moved the shape by, and for each mm² of the
local mean of the difference before it; both times the weight of the local misfit."""
PRIOR_LOCAL_MISFIT = 6.0
"""Weight of the local misfit of a shape that other people's hearts gave; 1 for that of the data set itself."""


@dataclass(frozen=True, eq=False)
class ShapeLabelFusion:
    """Fitted shape after smooth local registration to its label, with the weight of the label.

    Attributes:
        box: the part of the volume that has label or shape, with a margin (`fusion_margin_mm`). All fields are on it.
        shape_mm: (x, y, z) float32, signed distance of the registered shape, positive inside.
        label_mm: (x, y, z) float32, signed distance of the label, positive inside.
        label_margin_mm: a voxel keeps its label unless it lies on the other side of the registered shape's surface by
            more than this; infinite where the label alone is used.
        local_margin_mm: (x, y, z) float32, the margin at each voxel, of which `label_margin_mm` is the median at the
            label's surface; None where it is the same everywhere.
        misfit_mm: median distance between label and shape before the registration; 0 for an empty label.
    """

    box: Box
    shape_mm: DistanceField
    label_mm: DistanceField
    label_margin_mm: float
    local_margin_mm: DistanceField | None = None
    misfit_mm: float = 0.0

    def fused_mm(self, kept: Mask | None = None) -> DistanceField:
        """Compute the fused structure.

        Args:
            kept: (x, y, z) bool on the voxels of `box`, where the label stays as it is; None: nowhere.

        Returns:
            (x, y, z) float32 on the voxels of `box`: the shape's signed distance, raised by the margin inside the label
            and lowered by it outside; that of the label where it is kept and where the margin is infinite.

        Example:
            >>> shape, label = (np.array([[[a, b, c]]]) for a, b, c in ((-0.2, -0.2, 0.8), (0.5, -0.5, -1.5)))
            >>> (ShapeLabelFusion(full_box((1, 1, 3)), shape, label, 0.5).fused_mm() > 0).tolist()
            [[[True, False, True]]]
        """
        margin_mm = np.float32(self.label_margin_mm) if self.local_margin_mm is None else self.local_margin_mm
        fused: DistanceField = self.shape_mm + np.where(self.label_mm > 0, margin_mm, -margin_mm)
        by_label = ~np.isfinite(margin_mm) if kept is None else kept | ~np.isfinite(margin_mm)
        np.copyto(fused, self.label_mm, where=by_label)
        return fused


def fusion_margin_mm(spacing_mm: Sequence[float]) -> float:
    """Compute the margin about label and shape that their fusion depends on.

    Args:
        spacing_mm: voxel spacing.

    Returns:
        The margin in mm: the reach of the local means.
    """
    return 2 * max(REGISTRATION_MM, 3.3 * min(spacing_mm))


def fuse_shape_and_label(
    label: Mask,
    shape_mm: DistanceField,
    spacing_mm: Sequence[float],
    slice_staircase_mm: float = 0.0,
    lowest_surface_noise_mm2: float = np.inf,
    weight: float = 0.5,
    local_misfit: float = 0.0,
) -> ShapeLabelFusion:
    """Register a fitted shape to its label and weight the two.

    Shape and label are two estimates of one surface. The misfit of the shape is smooth, because the smooth deformation
    of the template cannot follow details; the noise of the label is correlated in patches. So the shape is moved by a
    robust local mean of the difference (Geman-McClure weights), which down-weights patches. Of the remaining errors, m²
    is the variance of the shape and n² that of the label, estimated from its surface noise beyond the lowest possible.
    The margin is `weight` m²/n²: a clean label hardly changes, a rough one follows the shape.

    Where a heart differs from the template, the registration has moved the shape most, and there its details fit
    least. So a local part is added to m², which grows with the distance that the shape was moved by: there the label
    counts.

    Args:
        label: (x, y, z) bool.
        shape_mm: (x, y, z) float32, signed distance of the fitted shape, positive inside; clipped at `CLIP_MM`.
        spacing_mm: voxel spacing.
        slice_staircase_mm: thickness of the slices that the label was drawn on; 0 for thin slices.
        lowest_surface_noise_mm2: surface noise of the cohort's cleanest labels of this structure, as on voxels of
            `REFERENCE_VOXEL_MM`; infinite if unknown. It is converted to larger voxels by what these add to the noise
            of the shape.
        weight: weight of the label.
        local_misfit: weight of the local part of the misfit; 0: the margin is the same everywhere.

    Returns:
        The registered shape and the margin, on the box of both. The margin is infinite, and the shape unchanged, for
        an empty label, a shape that does not fit, or a margin of more than `MAX_MISFIT_MM`. A local margin is infinite
        where it is more.
    """
    if not label.any():
        return ShapeLabelFusion(full_box(label.shape), shape_mm, np.full_like(shape_mm, -CLIP_MM), float("inf"))
    box = bounding_box_mm(label | (shape_mm > 0), fusion_margin_mm(spacing_mm), spacing_mm)
    shape_mm, label_mm = np.clip(shape_mm[box], -CLIP_MM, CLIP_MM), signed_distance_mm(label[box], spacing_mm)
    voxel = min(spacing_mm)
    on_either = np.minimum(np.abs(label_mm), np.abs(shape_mm)) < BAND_VOXELS * voxel
    before_mm = float(np.median(np.abs(label_mm - shape_mm)[on_either]))
    label_only = ShapeLabelFusion(box, shape_mm, label_mm, float("inf"), misfit_mm=before_mm)
    if before_mm > MAX_MISFIT_MM:
        return label_only
    registered = shape_mm + _local_misfit_mm(label_mm, shape_mm, spacing_mm)
    on_label = np.abs(label_mm) < BAND_VOXELS * voxel
    misfit_mm = float(np.median(np.abs(label_mm - registered)[on_label]))
    if misfit_mm > MAX_MISFIT_MM:
        return label_only
    shape_noise = residual_variance_mm2(signed_distance_mm(registered > 0, spacing_mm), spacing_mm)
    lowest_noise = noise_on_voxels_mm2(lowest_surface_noise_mm2, voxel)
    if np.prod(spacing_mm) > REFERENCE_VOXEL_MM**3:
        # Coarse voxels add more noise to a thin structure than to a large one: as much as to the shape.
        added_mm2 = shape_noise - _noise_on_reference_mm2(registered, spacing_mm)
        lowest_noise = max(lowest_noise, lowest_surface_noise_mm2 + added_mm2)
    excess = max(residual_variance_mm2(label_mm, spacing_mm) - min(lowest_noise, shape_noise), 0.0)
    noise = NOISE_OF_ROUGHNESS * excess + (NOISE_OF_STAIRCASE * slice_staircase_mm) ** 2 + voxel**2 / 80
    if local_misfit:
        change_mm2 = local_misfit * _local_change_mm2(label_mm, shape_mm, registered, spacing_mm)
        margin_mm = weight * (misfit_mm**2 + change_mm2) / noise
        margin_mm[margin_mm >= MAX_MISFIT_MM] = np.inf
        return ShapeLabelFusion(box, registered, label_mm, float(np.median(margin_mm[on_label])), margin_mm, before_mm)
    label_margin_mm = weight * misfit_mm**2 / noise
    fits = label_margin_mm < MAX_MISFIT_MM
    return ShapeLabelFusion(box, registered, label_mm, label_margin_mm, misfit_mm=before_mm) if fits else label_only


def _noise_on_reference_mm2(shape_mm: DistanceField, spacing_mm: Sequence[float]) -> float:
    """Surface noise that a shape has on voxels of `REFERENCE_VOXEL_MM`."""
    sides, fine = (REFERENCE_VOXEL_MM,) * 3, shape_mm
    for axis, (side, count) in enumerate(zip(spacing_mm, shape_mm.shape, strict=True)):
        fine = interpolate_along(fine, np.arange(0, count - 1, REFERENCE_VOXEL_MM / side), axis)
    return residual_variance_mm2(signed_distance_mm(fine > 0, sides), sides)


def _local_misfit_mm(label_mm: DistanceField, shape_mm: DistanceField, spacing_mm: Sequence[float]) -> DistanceField:
    """Robust local mean of the difference between the distances of a label and a shape."""
    voxel = min(spacing_mm)
    sigma, strides, widths = _filter_of(REGISTRATION_MM, spacing_mm)
    near = np.minimum(np.abs(label_mm), np.abs(shape_mm)) < BAND_VOXELS
    difference = np.clip(label_mm - shape_mm, -MAX_DIFFERENCE_MM, MAX_DIFFERENCE_MM)
    if not near.any():
        return np.zeros_like(difference)
    scale = max(MIN_SCALE_MM, 0.4 * voxel, SCALE_OF_DIFFERENCE * float(np.median(np.abs(difference[near]))))
    # The mean is smooth, so every second voxel or so is enough for all rounds but the last one.
    coarse = tuple(slice(None, None, stride) for stride in strides)
    mean = np.zeros_like(difference[coarse])
    for _ in range(ROUNDS - 1):
        mean = _robust_mean_mm(difference[coarse], near[coarse], mean, scale, widths)
    for axis, (stride, count) in enumerate(zip(strides, difference.shape, strict=True)):
        mean = interpolate_along(mean, np.arange(count) / stride, axis)
    return _robust_mean_mm(difference, near, mean, scale, sigma)


def _filter_of(sigma_mm: float, spacing_mm: Sequence[float]) -> tuple[list[float], list[int], list[float]]:
    """By axis: standard deviation of a local mean in voxels, blocks that are small enough for it, and it in blocks."""
    sigma = [max(sigma_mm, 3.3 * min(spacing_mm)) / step for step in spacing_mm]
    strides = [max(int(width / MIN_SIGMA_VOXELS), 1) for width in sigma]
    return sigma, strides, [width / stride for width, stride in zip(sigma, strides, strict=True)]


def _robust_mean_mm(
    difference_mm: DistanceField, near: Mask, mean_mm: DistanceField, scale_mm: float, sigma: Sequence[float]
) -> DistanceField:
    """Local mean with Geman-McClure weights by the distance from the mean of the round before."""
    weight = near / (1 + np.square((difference_mm - mean_mm) / scale_mm)) ** 2
    total = gaussian_filter(weight, sigma, truncate=2.5) + 1e-3
    mean: DistanceField = gaussian_filter(weight * difference_mm, sigma, truncate=2.5) / total
    return mean


def _local_change_mm2(
    label_mm: DistanceField, shape_mm: DistanceField, registered_mm: DistanceField, spacing_mm: Sequence[float]
) -> DistanceField:
    """Local part of the variance of the misfit that a shape has left after its registration."""
    voxel = min(spacing_mm)
    near = (np.minimum(np.abs(label_mm), np.abs(shape_mm)) < 1.5 * voxel).astype(np.float32)
    # The means are smooth, so blocks of voxels are enough.
    _, strides, widths = _filter_of(LOCAL_MM, spacing_mm)

    def smooth(blocks: DistanceField) -> DistanceField:
        return np.asarray(gaussian_filter(blocks, widths, truncate=2.5), dtype=np.float32)

    count = block_means(near, strides)
    total = smooth(count) + np.float32(1e-3)
    difference = np.clip(label_mm - shape_mm, -MAX_DIFFERENCE_MM, MAX_DIFFERENCE_MM)
    # A plain mean: what all of a surface shares is no noise, however large it is.
    shared = smooth(block_means(near * difference, strides)) / total
    moved = smooth(block_means(near * np.square(registered_mm - shape_mm), strides)) / total
    of_difference = smooth(count * np.square(shared)) / total
    change = np.asarray(MISFIT_OF_REGISTRATION * moved + MISFIT_OF_DIFFERENCE * of_difference, dtype=np.float32)
    for axis, (stride, voxels) in enumerate(zip(strides, label_mm.shape, strict=True)):
        # The first block's centre is in its middle; before it the mean continues.
        change = interpolate_along(change, np.maximum((np.arange(voxels) - (stride - 1) / 2) / stride, 0), axis)
    return change
