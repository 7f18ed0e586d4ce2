"""Edge in the mean image profile across a surface: its offset from the surface, independent of where that surface lies.

The edge is the step of the intensity that is nearest to the surface. Behind it another step may follow, such as that
from a thin wall to fat, which the blur of the scanner merges with the first one; so both are fitted together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.special import ndtr

from heartmend.repair.shared_errors.measurement import DEPTHS_MM, REACH_MM, STEP_MM

Floats = npt.NDArray[np.float64]

MAX_OFFSET_MM = 3.5
"""Largest offset of an edge from the surface."""
NEARNESS_MM = 2.0
"""Of several steps the nearest counts: standard deviation of the weight of a step by its offset."""
STEP_REACH_MM = 1.2
"""The height of a step is the difference of the intensities this far before and behind it."""
MIN_STEP_HU = 40.0
"""A lower step is no edge."""
FINE_MM = 0.1
WINDOW = np.arange(-3.0, 3.51, 0.25)
"""Places about a step at which the steps are fitted, in mm."""
WINDOW_MM = 2.0
"""Standard deviation of the weight of these places."""
SHIFTS_MM = np.arange(-1.5, 1.51, 0.1)
SECOND_STEPS_MM = (1.0, 1.4, 1.8, 2.3, 3.0)
"""Distances of the second step from the first."""
MIN_FIRST_STEP = 0.25
"""Least height of the first step, as a share of the second."""
BLURS_MM = np.arange(0.4, 1.55, 0.05)
INNER_LIMITS_MM = (-1.0, -1.5, -2.0, -2.5, -3.0)
"""Inside a thin structure the window begins at its middle."""
STEEP_SHARE = 0.25
"""This share of the profiles belongs to the borders with the steepest edges, which give the blur."""
MIN_GAIN = 0.3
"""A second step is used if it explains at least this share of what one step does not explain."""


@dataclass(frozen=True, eq=False)
class Steps:
    """Steps of profiles.

    Attributes:
        offsets_mm: (m,) float64, offset of the step outside the surface; NaN where there is none.
        heights_hu: (m,) float64, height of the step, positive where the outside is brighter.
    """

    offsets_mm: Floats
    heights_hu: Floats


def nearest_steps(intensities: npt.NDArray[np.float32], signs: npt.NDArray[np.int8]) -> Steps:
    """Find the nearest step of each profile.

    Args:
        intensities: (m, depth) float32, profiles at `DEPTHS_MM`, in HU.
        signs: (m,) int8, sign of the height that a step must have; 0: either.

    Returns:
        The steps.
    """
    fine = np.arange(-REACH_MM, REACH_MM + FINE_MM / 2, FINE_MM)
    smooth = gaussian_filter1d(intensities.astype(np.float64), 0.4 / STEP_MM, axis=1, mode="nearest")
    values = _interpolate(smooth, fine)
    slope = np.gradient(values, FINE_MM, axis=1)
    size = np.abs(slope)
    peak = np.zeros(values.shape, bool)
    peak[:, 1:-1] = (size[:, 1:-1] >= size[:, :-2]) & (size[:, 1:-1] > size[:, 2:])
    away = round(STEP_REACH_MM / FINE_MM)
    height = np.zeros_like(values)
    height[:, away:-away] = values[:, 2 * away :] - values[:, : -2 * away]
    allowed = peak & (np.abs(fine) <= MAX_OFFSET_MM) & (np.abs(height) >= MIN_STEP_HU)
    allowed &= (signs[:, None] == 0) | (np.sign(height) == signs[:, None])
    score = np.where(allowed, np.abs(height) * np.exp(-0.5 * (fine / NEARNESS_MM) ** 2), 0.0)
    best = score.argmax(axis=1)
    rows = np.arange(len(values))
    found = score[rows, best] > 0
    return Steps(np.where(found, fine[best], np.nan), np.where(found, height[rows, best], 0.0))


def fit_blur_mm(intensities: npt.NDArray[np.float32], steps: Steps, borders: npt.NDArray[np.integer]) -> float:
    """Estimate the blur of the edges: scanner, voxels, and the unevenness of the surfaces within a patch.

    A thin wall behind an edge widens it and never makes it steeper; so the steepest kind of border counts.

    Args:
        intensities: (m, depth) float32, profiles at `DEPTHS_MM`, in HU.
        steps: their nearest steps.
        borders: (m,) number of the border that each profile belongs to.

    Returns:
        Standard deviation of the blur in mm.
    """
    found = np.isfinite(steps.offsets_mm)
    if not found.any():
        return float(BLURS_MM[0])
    about = _about(intensities[found], steps.offsets_mm[found])
    misfits = np.stack([_fit(about, blur, second=False, low=WINDOW[0])[1] for blur in BLURS_MM])
    best = BLURS_MM[misfits.argmin(axis=0)]
    kinds, counts = np.unique(borders[found], return_counts=True)
    medians = np.array([np.median(best[borders[found] == kind]) for kind in kinds])
    order = np.argsort(medians)
    reached = np.cumsum(counts[order]) >= STEEP_SHARE * counts.sum()
    return float(medians[order][reached.argmax()])


def refine_offsets_mm(
    intensities: npt.NDArray[np.float32], steps: Steps, thickness_mm: npt.NDArray[np.float32], blur_mm: float
) -> Floats:
    """Compute the offset of the edge in each profile, with a second step behind it where there is one.

    Args:
        intensities: (m, depth) float32, profiles at `DEPTHS_MM`, in HU.
        steps: their nearest steps.
        thickness_mm: (m,) depth of the middle of the structure.
        blur_mm: standard deviation of the blur.

    Returns:
        (m,) offsets outside the surface, in mm; NaN where there is no step.
    """
    offsets = steps.offsets_mm.copy()
    about = _about(intensities, offsets)
    # The middle lies at minus the thickness in the profile, and closer to a step that lies deeper.
    limits = np.asarray(INNER_LIMITS_MM)
    depth = np.clip(-np.asarray(thickness_mm, np.float64) - np.nan_to_num(offsets), limits[-1], limits[0])
    group = np.abs(limits[None] - depth[:, None]).argmin(axis=1)
    for at, low in enumerate(INNER_LIMITS_MM):
        rows = np.flatnonzero((group == at) & np.isfinite(offsets))
        if len(rows):
            one, misfit = _fit(about[rows], blur_mm, second=False, low=low)
            two, rest = _fit(about[rows], blur_mm, second=True, low=low)
            offsets[rows] += np.where(misfit - rest > MIN_GAIN * misfit, two, one)
    return np.where(np.abs(offsets) <= MAX_OFFSET_MM, offsets, np.nan)


def _interpolate(values: Floats, places_mm: Floats) -> Floats:
    """Interpolate profiles (m, depth) linearly at places (p,) or (m, p)."""
    at = np.clip((places_mm - DEPTHS_MM[0]) / STEP_MM, 0, len(DEPTHS_MM) - 1.001)
    low = at.astype(np.intp)
    share = at - low
    if places_mm.ndim == 1:
        return values[:, low] * (1 - share) + values[:, low + 1] * share
    rows = np.arange(len(values))[:, None]
    result: Floats = values[rows, low] * (1 - share) + values[rows, low + 1] * share
    return result


def _about(intensities: npt.NDArray[np.float32], offsets_mm: Floats) -> Floats:
    """Profiles (m, window) about their steps."""
    return _interpolate(intensities.astype(np.float64), WINDOW + np.nan_to_num(offsets_mm)[:, None])


def _fit(about: Floats, blur_mm: float, second: bool, low: float) -> tuple[Floats, Floats]:
    """Least-squares fit of one or two blurred steps; returns the shift of the first and the mean squared misfit."""
    weight = np.exp(-0.5 * (WINDOW / WINDOW_MM) ** 2) * (low <= WINDOW)
    root = np.sqrt(weight / weight.sum())
    values = about * root
    misfit = np.full(len(about), np.inf)
    shift = np.zeros(len(about))
    seconds = SECOND_STEPS_MM if second else (np.inf,)
    for first, further in product(SHIFTS_MM, seconds):
        columns = [np.ones_like(WINDOW), ndtr((WINDOW - first) / blur_mm)]
        if second:
            columns.append(ndtr((WINDOW - first - further) / blur_mm))
        design = np.stack(columns, axis=1) * root[:, None]
        heights = values @ np.linalg.pinv(design).T
        rest = ((values - heights @ design.T) ** 2).sum(axis=1)
        better = rest < misfit
        if second:
            better &= np.abs(heights[:, 1]) > MIN_FIRST_STEP * np.abs(heights[:, 2])
        misfit[better], shift[better] = rest[better], first
    return shift, misfit
