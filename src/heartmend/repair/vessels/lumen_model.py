"""Model of the CT about a vessel, and the surface of the lumen that explains the CT best.

A voxel of the CT is the blurred mixture of lumen and surroundings, each with its level:

    CT = surroundings + blur((level - surroundings) * share of lumen)

The share of lumen follows from the distance to a surface, which is that of the label moved along its normal. Unknown
are the movement, the level, the surroundings beneath the vessel and the blur. Each is a normally distributed field
with a standard deviation and a length that are known (`LumenPriors`), so that all of them can be estimated together: by
Gauss-Newton steps, each solved by conjugate gradients. Where the CT has no evidence, a field keeps its expectation, and
the surface keeps the movement of the whole tree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from heartmend.geometry.centrelines.tree import IntArray, Spacing
from heartmend.geometry.voxel_band import BandFilter, Values, VoxelBand
from heartmend.types import FloatArray, Mask

BAND_MM = 2.5
"""The CT is explained as far outside the label."""
MOVABLE_MM = 1.8
"""A surface moves by less than this."""
BARE_MM = 1.0
"""Voxels farther outside the lumen show the surroundings alone."""
SURROUNDINGS_MM = 1.5
"""Standard deviation of the average by which the surroundings are continued beneath the vessel."""
FAR_MM, FAR_WEIGHT = 4.0, 1e-3
"""The same where none are near, and its weight."""
LOWEST_HU, CALCIUM_HU, UNCLEAR_MM = -250.0, 130.0, 1.0
"""Lung is darker than the first, calcium brighter than the lumen by the second. What is so near to either is no
evidence: a little of it in a voxel outweighs everything else."""
NOISE_VOXELS = 0.7
"""Standard deviation of a Gaussian against single voxels that are bright by noise."""
BLURS_MM, BLUR_STEP_MM = (0.35, 1.2), 0.05
NOISE_HU, LEAST_NOISE_HU = 30.0, 8.0
NOISE_FACTOR = 2.0
"""The noise of neighbouring voxels is alike: an average of them is noisier than that of independent ones."""
OUTLIER = 20.0
"""A residual of so many standard deviations has half the weight."""
STEPS, SOLVER_STEPS = 4, 15


@dataclass(frozen=True)
class LumenPriors:
    """Expected deviations (standard deviation, and length in mm where it varies over the tree).

    Attributes:
        tree_mm: movement of the surface of the whole tree.
        section_mm: that of all cross-sections of a stretch, beside it.
        section_length_mm: length of a stretch.
        local_mm: that of a part of the surface, beside both.
        local_length_mm: extent of such a part.
        tree_level: level of the lumen, as a share of the one that was measured.
        level: the same of a stretch, beside it.
        level_length_mm: length of a stretch of the same level.
        surroundings_hu: surroundings beneath the vessel beside the average of those around it.
        surroundings_length_mm: extent of such a difference.
        blur_mm: blur, beside the one that was measured.
    """

    tree_mm: float = 0.5
    section_mm: float = 0.3
    section_length_mm: float = 2.0
    local_mm: float = 0.3
    local_length_mm: float = 0.7
    tree_level: float = 0.2
    level: float = 0.08
    level_length_mm: float = 8.0
    surroundings_hu: float = 60.0
    surroundings_length_mm: float = 1.0
    blur_mm: float = 0.3


@dataclass(frozen=True, eq=False)
class FittedLumen:
    """The surface of the lumen.

    Attributes:
        movement_mm: (x, y, z) float32, by how much the surface of the label moves outwards at each voxel.
        stretch: (k,) number of the stretch of vessel of each point of the centreline.
        offset_mm: (stretches,) by how much the cross-sections of a stretch are wider, as a radius.
        offset_sd_mm: (stretches,) standard deviation of that; large where the CT has no evidence.
        level_hu: (x, y, z) float32, level of the lumen; 0 far from the vessel.
        surroundings_hu: (x, y, z) float32, the surroundings, also beneath the vessel.
        blur_mm: standard deviation of the blur.
        noise_hu: that of the difference between CT and model.
    """

    movement_mm: Values
    stretch: IntArray
    offset_mm: FloatArray
    offset_sd_mm: FloatArray
    level_hu: Values
    surroundings_hu: Values
    blur_mm: float
    noise_hu: float


def fit_lumen(
    distance_mm: npt.NDArray[np.float32],
    image: npt.NDArray[np.generic],
    centreline_mm: FloatArray,
    start: tuple[float, float, float],
    spacing_mm: Spacing,
    priors: LumenPriors | None = None,
) -> FittedLumen:
    """Fit the surface of the lumen to a CT.

    Args:
        distance_mm: (x, y, z) float32, smooth signed distance to the surface of the label, positive inside.
        image: (x, y, z) CT in HU.
        centreline_mm: (k, 3) points of the centreline.
        start: first estimate of movement, level and blur: in mm, HU, mm.
        spacing_mm: voxel spacing.
        priors: the expected deviations.

    Returns:
        The surface.
    """
    model = _Model(distance_mm, image, centreline_mm, start, spacing_mm, priors or LumenPriors())
    unknown = np.zeros(model.size, np.float32)
    for step in range(STEPS):
        unknown = model.improved(unknown, first=step == 0)
    return model.result(unknown)


class _Model:
    """Parameters are in units of their standard deviation: all have the same prior."""

    def __init__(
        self,
        distance_mm: npt.NDArray[np.float32],
        image: npt.NDArray[np.generic],
        centreline_mm: FloatArray,
        start: tuple[float, float, float],
        spacing_mm: Spacing,
        priors: LumenPriors,
    ) -> None:
        offset_mm, level_hu, self.first_blur_mm = start
        self.priors, self.level_hu, self.voxel_mm = priors, np.float32(level_hu), min(spacing_mm)
        self.band = band = VoxelBand(distance_mm > -BAND_MM, spacing_mm)
        hu = np.asarray(image, np.float32)
        smooth = gaussian_filter(hu, NOISE_VOXELS)
        is_clear = (smooth > LOWEST_HU) & (smooth < level_hu + CALCIUM_HU)
        is_bare = distance_mm < -(BARE_MM + max(offset_mm, 0.0))
        self.around_hu = _surroundings(hu, is_bare & is_clear, spacing_mm)
        self.distance_mm, self.hu, self.around = (band.values(one) for one in (distance_mm, hu, self.around_hu))
        self.movable = (np.abs(self.distance_mm) < MOVABLE_MM).astype(np.float32)
        reach = max(round(UNCLEAR_MM / self.voxel_mm), 1)
        self.is_used = band.values(~binary_dilation(~is_clear & band.mask, iterations=reach)) > 0
        self.local, self.beneath = (
            band.gaussian(length) for length in (priors.local_length_mm, priors.surroundings_length_mm)
        )
        points = band.points_mm
        self.stretch, middles = _stretches(centreline_mm, priors.section_length_mm)
        self.sections = _weights(middles, points, priors.section_length_mm)
        self.levels = _weights(_stretches(centreline_mm, priors.level_length_mm)[1], points, priors.level_length_mm)
        sizes = (1, len(band), self.sections.shape[1], len(band), self.levels.shape[1], 1, 1)
        ends = np.cumsum((0, *sizes))
        self.size, self.parts = int(ends[-1]), [slice(a, b) for a, b in pairwise(ends.tolist())]
        self.noise_hu = NOISE_HU
        self.sections_t, self.levels_t = self.sections.T.tocsr(), self.levels.T.tocsr()

    def fields(self, unknown: Values) -> tuple[Values, Values, Values, float]:
        """Movement, and what is beside the first estimate of surroundings, level and blur."""
        tree, local, sections, beneath, levels, level, blur = (unknown[part] for part in self.parts)
        p = self.priors
        movement = p.tree_mm * tree + p.local_mm / self.local.gain * self.local.apply(local)
        movement = (movement + p.section_mm * (self.sections @ sections)) * self.movable
        around = p.surroundings_hu / self.beneath.gain * self.beneath.apply(beneath)
        share = p.tree_level * level + p.level * (self.levels @ levels)
        return movement, around, self.level_hu * share, p.blur_mm * float(blur[0])

    def gradient(self, movement: Values, around: Values, level: Values, blur: float) -> Values:
        """The transposed of `fields`."""
        p, level, movement = self.priors, self.level_hu * level, movement * self.movable
        return np.concatenate([
            [p.tree_mm * movement.sum()],
            p.local_mm * self.local.adjoint(movement / self.local.gain),
            p.section_mm * (self.sections_t @ movement),
            p.surroundings_hu * self.beneath.adjoint(around / self.beneath.gain),
            p.level * (self.levels_t @ level),
            [p.tree_level * level.sum()],
            [p.blur_mm * blur],
        ]).astype(np.float32)  # fmt: skip

    def improved(self, unknown: Values, first: bool) -> Values:
        """One Gauss-Newton step."""
        state = _State.of(self, unknown)
        rest = self.hu - state.predicted
        if not first:
            self.noise_hu = max(1.4826 * float(np.median(np.abs(rest[self.is_used]))), LEAST_NOISE_HU)
        weight = self.is_used / np.float32(NOISE_FACTOR * self.noise_hu) ** 2
        weight = (weight / (1 + np.square(rest / (OUTLIER * self.noise_hu)))).astype(np.float32)

        def normal(vector: Values) -> Values:
            return vector + state.transposed(self, weight * state.derivative(self, vector))

        wanted = state.transposed(self, weight * (rest + state.derivative(self, unknown)))
        return _solved(normal, wanted, unknown)

    def result(self, unknown: Values) -> FittedLumen:
        """The fields as volumes."""
        state = _State.of(self, unknown)
        movement, around, level, _ = self.fields(unknown)
        # The change of the CT where all of the surface moves; what a stretch of it is known by is around it.
        edge = state.blur.apply(state.contrast * state.slope)
        information = np.square(edge / (NOISE_FACTOR * self.noise_hu)) * self.is_used
        variance = 1 / (self.sections_t @ information + 1 / (self.priors.section_mm**2 + self.priors.local_mm**2))
        surface = np.maximum(self.sections_t @ state.slope, 1e-9)
        offset_mm = self.sections_t @ (state.slope * movement) / surface
        volume = self.band.volume
        beneath = np.where(self.band.mask, volume(self.around + around), self.around_hu)
        return FittedLumen(
            volume(movement), self.stretch, offset_mm.astype(float), np.sqrt(variance).astype(float),
            volume(self.level_hu + level), beneath, state.blur_mm, self.noise_hu,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _State:
    """The model and its derivatives at an estimate. `slope` is the derivative of the share by the movement."""

    blur_mm: float
    blur: BandFilter
    share: Values
    slope: Values
    contrast: Values
    predicted: Values
    by_blur: Values

    @classmethod
    def of(cls, model: _Model, unknown: Values) -> _State:
        movement, around, level, blur = model.fields(unknown)
        blur_mm = float(np.clip(model.first_blur_mm + blur, *BLURS_MM))
        kernel, wider = model.band.gaussian(blur_mm), model.band.gaussian(blur_mm + BLUR_STEP_MM)
        steep = np.float32(4 / model.voxel_mm)
        share = 1 / (1 + np.exp(np.clip(-steep * (model.distance_mm + movement), -50, 50)))
        contrast = np.maximum(model.level_hu + level - model.around - around, 0)
        lumen = kernel.apply(contrast * share)
        by_blur = (wider.apply(contrast * share) - lumen) / np.float32(BLUR_STEP_MM)
        slope = steep * share * (1 - share)
        return cls(blur_mm, kernel, share, slope, contrast, model.around + around + lumen, by_blur)

    def derivative(self, model: _Model, unknown: Values) -> Values:
        movement, around, level, blur = model.fields(unknown)
        moved = self.contrast * self.slope * movement + self.share * (level - around)
        return around + self.blur.apply(moved) + np.float32(blur) * self.by_blur

    def transposed(self, model: _Model, hu: Values) -> Values:
        back = self.blur.adjoint(hu)
        return model.gradient(
            self.contrast * self.slope * back, hu - self.share * back, self.share * back, float(self.by_blur @ hu)
        )


def _solved(normal: Callable[[Values], Values], wanted: Values, start: Values) -> Values:
    """A few steps of the method of conjugate gradients."""
    found = start.copy()
    rest = wanted - normal(found)
    along, square = rest.copy(), float(rest @ rest)
    for _ in range(SOLVER_STEPS):
        if square <= 0:
            break
        image = normal(along)
        length = np.float32(square / float(along @ image))
        found += length * along
        rest -= length * image
        before, square = square, float(rest @ rest)
        along = rest + np.float32(square / before) * along
    return found


def _surroundings(hu: Values, is_bare: Mask, spacing_mm: Spacing) -> Values:
    """The CT about the vessel, continued beneath it."""
    total, weight = np.zeros_like(hu), np.full_like(hu, 1e-9)
    bare = is_bare.astype(np.float32)
    for width_mm, share in ((SURROUNDINGS_MM, 1.0), (FAR_MM, FAR_WEIGHT)):
        sigma = np.divide(width_mm, spacing_mm)
        total += np.float32(share) * gaussian_filter(hu * bare, sigma)
        weight += np.float32(share) * gaussian_filter(bare, sigma)
    return np.asarray(total / weight)


def _stretches(centreline_mm: FloatArray, length_mm: float) -> tuple[IntArray, FloatArray]:
    """Divide a centreline into stretches: the number of that of each point, and their middles (k, 3)."""
    cell = np.unique(np.floor(centreline_mm / length_mm).astype(np.intp), axis=0, return_inverse=True)[1].ravel()
    sums = [np.bincount(cell, centreline_mm[:, axis]) for axis in range(3)]
    return cell.astype(np.intp), np.stack(sums, axis=1) / np.bincount(cell)[:, None]


def _weights(middles_mm: FloatArray, points_mm: FloatArray, length_mm: float) -> csr_matrix:
    """Weights (point, stretch) with which a point belongs to the nearest stretches."""
    near = min(4, len(middles_mm))
    apart, stretch = (one.reshape(-1, near) for one in cKDTree(middles_mm).query(points_mm, k=near))
    weight = np.exp(-0.5 * (apart**2 - apart[:, :1] ** 2) / (0.6 * length_mm) ** 2)
    weight /= weight.sum(axis=1, keepdims=True)
    row = np.repeat(np.arange(len(points_mm)), near)
    return csr_matrix((weight.ravel().astype(np.float32), (row, stretch.ravel())), (len(points_mm), len(middles_mm)))
