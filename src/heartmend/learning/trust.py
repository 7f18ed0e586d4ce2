"""Whom to believe where a label and a shape disagree: measured for each case and structure, without the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from heartmend.learning.targets import signed_distance_mm
from heartmend.types import Mask

Field = npt.NDArray[np.float32]

FINE_MM = 1.5
"""Over this length, or 1.7 voxels, a surface's own course is smooth, and what a label wavers by is its noise."""
WIDE_MM = 4.0
"""A difference between shape and label that is smooth over this length, or 4.5 voxels, is the shape's misfit."""
NOISE_OF_ROUGHNESS = 6.0
"""Variance of a label's noise, for each mm² by which it is rougher than the shape drawn on the same voxels. Noise that
is correlated over a few mm shows mostly beyond `FINE_MM`."""
NOISE_OF_STAIRS = 0.16
"""What interpolating between thick slices leaves (standard deviation), as a share of their thickness."""
HOPELESS = 5.0
"""A shape whose misfit is so many times the label's noise (as variances) has nothing to say."""
FAR_MM = 1.0
"""... nor has one that lies so far from half of the label's surface."""


def label_vote_mm(
    label: Mask, shape_mm: Field, spacing_mm: Sequence[float], stairs_mm: float = 0.0, weight: float = 0.3
) -> float:
    """How deep (mm) in the shape a voxel must lie to be taken against its label; infinite where only the label counts.

    label, shape_mm: (x, y, z), the shape's signed distance positive inside; stairs_mm: thickness of the slices that
    the label was drawn on, if they were thick.

    Both are guesses at one surface: the label with noise of variance n², which shows as roughness beyond what the
    voxels make of any surface, the shape with a misfit of variance m², the rest of their difference. Of two Gaussian
    guesses the one that is right to m / n deserves its say in that proportion: the vote is `weight` m²/n². A clean
    label thus stays as it is however the shape lies, and a ragged one gives way.
    """
    if not label.any():
        return float("inf")
    voxel = min(spacing_mm)
    fine_mm, wide_mm = max(FINE_MM, 1.7 * voxel), max(WIDE_MM, 4.5 * voxel)
    box = _box(label, spacing_mm, wide_mm)
    label_mm = signed_distance_mm(label[box], spacing_mm)
    shape_mm = np.clip(shape_mm[box], -2 * wide_mm, 2 * wide_mm)
    # Either surface: a branch that only one of the two has is as wrong as one that both have in two places.
    on_surface = (np.abs(label_mm) < 0.9 * voxel) | (np.abs(shape_mm) < 0.9 * voxel)
    difference = label_mm - shape_mm
    if float(np.median(np.abs(difference[on_surface]))) > FAR_MM:
        return float("inf")
    difference = np.clip(difference, -2.0, 2.0)
    drawn = signed_distance_mm(shape_mm > 0, spacing_mm)
    excess = _roughness(label_mm, fine_mm, spacing_mm) - _roughness(drawn, fine_mm, spacing_mm)
    voxels = voxel**2 / 27
    smooth = _smoothed(difference, np.exp(-0.5 * (label_mm / fine_mm) ** 2), wide_mm, spacing_mm)[on_surface]
    total = float(np.square(difference[on_surface]).mean())
    noise = NOISE_OF_ROUGHNESS * max(excess, 0.0) + (NOISE_OF_STAIRS * stairs_mm) ** 2
    noise = min(noise, total) + voxels
    misfit = max(total - 0.5 * noise, 1.7 * voxels) + float(np.square(smooth).mean())
    ratio = misfit / noise
    return weight * ratio if ratio < HOPELESS else float("inf")


def _roughness(distance_mm: Field, fine_mm: float, spacing_mm: Sequence[float]) -> float:
    """Variance (mm²) of a surface about itself smoothed."""
    near = np.abs(distance_mm) < 0.9 * min(spacing_mm)
    if not near.any():
        return 0.0
    smooth = gaussian_filter(distance_mm, [fine_mm / s for s in spacing_mm], truncate=2.5)
    return float((distance_mm - smooth)[near].var())


def _smoothed(values: Field, weight: Field, wide_mm: float, spacing_mm: Sequence[float]) -> Field:
    sigma = [wide_mm / s for s in spacing_mm]
    total = gaussian_filter(weight, sigma, truncate=2.5) + 1e-3
    out: Field = gaussian_filter(weight * values, sigma, truncate=2.5) / total
    return out


def _box(mask: Mask, spacing_mm: Sequence[float], margin_mm: float) -> tuple[slice, slice, slice]:
    """The mask's box with a margin."""
    parts = []
    for axis, step in enumerate(spacing_mm):
        hit = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        margin = int(np.ceil(margin_mm / step))
        parts.append(slice(max(int(hit[0]) - margin, 0), int(hit[-1]) + 1 + margin))
    x, y, z = parts
    return x, y, z
