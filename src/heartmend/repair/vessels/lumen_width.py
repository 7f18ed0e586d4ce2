"""Width of a vessel label against the lumen in the CT, one number for a whole tree.

A coronary artery is hardly wider than the blur of the scanner, so its edge is not where the intensity is steepest. The
image of a blurred disc is known, however: along each ray from the centreline the intensity is a mixture of the level of
the lumen and that of the surroundings on this side. The radius that all cross-sections have in addition to that of the
label, the level of the lumen and the blur are fitted to all rays together. The wide and the thin vessels of a tree are
needed for it: a tube of constant width would look the same if it were wider and darker.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.centrelines.measurement import measure_tree
from heartmend.geometry.centrelines.tree import CentreTree, Spacing
from heartmend.geometry.distance import signed_distance_mm
from heartmend.types import BACKGROUND, FloatArray, Labels, Mask

RAY_STEP_MM, RAY_MM = 0.25, 5.0
DISTANCES_MM = np.arange(0.0, RAY_MM + RAY_STEP_MM / 2, RAY_STEP_MM)
"""Distances from the centreline at which a ray is sampled."""
N_RAYS = 12
"""Rays of each cross-section."""
OUTSIDE_MM = 2.0
"""A ray has to leave the label by at least this much before it meets another structure."""
FIT_OUTSIDE_MM = 3.0
"""The fit ends this far outside the label."""
TANGENT_STEPS = 3
"""Points of the centreline on each side from which its direction is computed."""
MIN_COMPONENT_MM = 15.0
"""Shorter pieces are not measured."""
BLURS_MM = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2)
OFFSETS_MM = np.arange(-20, 21) * 0.1
RADII_MM = np.arange(0.2, 4.05, 0.1)
MIN_RAYS = 200
MIN_CONTRAST_HU = 80.0
LOWEST_HU = -300.0
"""Lung beside a vessel has no level of its own."""
LUMEN_PERCENTILE, CALCIUM_HU = 90, 130.0
"""Intensities are clipped this far above this percentile within the label: calcium is no lumen."""


@dataclass(frozen=True)
class LumenWidth:
    """Width of the lumen of a tree.

    Attributes:
        offset_mm: by how much its radius is larger than that of the label.
        level_hu: intensity of the lumen.
        blur_mm: standard deviation of the blur.
        n_rays: number of rays that were fitted.
        volume_ratio: volume of the lumen as a multiple of that of the label.
    """

    offset_mm: float
    level_hu: float
    blur_mm: float
    n_rays: int
    volume_ratio: float


@dataclass(frozen=True, eq=False)
class _Rays:
    """Rays across the cross-sections of a tree: (section, ray, place) intensities and weights, (section,) radii."""

    intensity_hu: FloatArray
    weight: FloatArray
    radius_mm: FloatArray

    @property
    def outermost_hu(self) -> FloatArray:
        """(section, ray) intensity at the outermost place that is used."""
        last = self.weight.shape[2] - 1 - (self.weight[..., ::-1] > 0).argmax(axis=2)
        return np.take_along_axis(self.intensity_hu, last[..., None], axis=2)[..., 0]

    def fit(self) -> tuple[float, float, float]:
        """Blur, offset of the radius, and level of the lumen with the least squared misfit."""
        best = (np.inf, 0.0, 0.0, 0.0)
        for blur_mm in BLURS_MM:
            for offset_mm in OFFSETS_MM:
                misfit, level_hu = self._misfit(blur_mm, float(offset_mm))
                best = min(best, (misfit, blur_mm, round(float(offset_mm), 1), level_hu))
        return best[1:]

    def _misfit(self, blur_mm: float, offset_mm: float) -> tuple[float, float]:
        """Misfit and level of the lumen. The level of the surroundings of each ray is free, and eliminated."""
        at = (np.clip(self.radius_mm + offset_mm, RADII_MM[0], RADII_MM[-1]) - RADII_MM[0]) / 0.1
        low = np.minimum(at.astype(np.intp), len(RADII_MM) - 2)
        share, discs = (at - low)[:, None], _blurred_discs(blur_mm)
        inside = (discs[low] * (1 - share) + discs[low + 1] * share)[:, None, :]
        outside, weight = 1 - inside, self.weight
        oo = np.maximum((weight * outside**2).sum(axis=2), 1e-6)
        oi = (weight * outside * inside).sum(axis=2)
        ov = (weight * outside * self.intensity_hu).sum(axis=2)
        ii = ((weight * inside**2).sum(axis=2) - oi**2 / oo).sum()
        iv = ((weight * inside * self.intensity_hu).sum(axis=2) - oi * ov / oo).sum()
        vv = ((weight * self.intensity_hu**2).sum(axis=2) - ov**2 / oo).sum()
        level_hu = float(iv / max(ii, 1e-6))
        return float(vv - level_hu * iv), level_hu


def measure_lumen(
    label: Mask, labels: Labels, image: npt.NDArray[np.generic], spacing_mm: Spacing
) -> LumenWidth | None:
    """Measure by how much the lumen of a tree is wider or thinner than its label.

    Args:
        label: (x, y, z) bool, label of the tree.
        labels: (x, y, z) uint8, label map of all structures: a ray ends where another one begins.
        image: (x, y, z) CT in HU on the same voxels.
        spacing_mm: voxel spacing.

    Returns:
        The width; None where the tree is too short, borders on other structures everywhere, or has no contrast.
    """
    box = bounding_box(label, [int(np.ceil((RAY_MM + 1) / step)) for step in spacing_mm])
    if box is None:
        return None
    tree = measure_tree(label[box], spacing_mm)
    rays = _rays(tree, label[box], labels[box], np.asarray(image[box], np.float32), spacing_mm)
    if rays is None:
        return None
    used = rays.weight.any(axis=2)
    if (n_rays := int(np.count_nonzero(used))) < MIN_RAYS:
        return None
    blur_mm, offset_mm, level_hu = rays.fit()
    contrast_hu = level_hu - float(np.median(rays.outermost_hu[used]))
    # A minimum at the end of the range is none.
    if contrast_hu < MIN_CONTRAST_HU or abs(offset_mm) > OFFSETS_MM[-2]:
        return None
    own, lumen = (float(np.square(np.maximum(tree.radius_mm + more, 0)) @ tree.share_mm) for more in (0.0, offset_mm))
    return LumenWidth(offset_mm, level_hu, blur_mm, n_rays, lumen / max(own, 1e-9))


def lumen_shift_mm(label: Mask, labels: Labels, image: npt.NDArray[np.generic], spacing_mm: Spacing) -> float | None:
    """Compute by how much the surface of a vessel label has to move outwards to have the volume of the lumen.

    Args:
        label: (x, y, z) bool, label of the tree.
        labels: (x, y, z) uint8, label map of all structures.
        image: (x, y, z) CT in HU on the same voxels.
        spacing_mm: voxel spacing.

    Returns:
        The movement in mm; None where the lumen is not measured (`measure_lumen`).
    """
    width = measure_lumen(label, labels, image, spacing_mm)
    if width is None:
        return None
    if width.offset_mm == 0:
        return 0.0
    wanted = np.count_nonzero(label) * width.volume_ratio
    box = bounding_box(label, [int(np.ceil(-2 * OFFSETS_MM[0] / step)) for step in spacing_mm])
    assert box is not None
    distance_mm = signed_distance_mm(label[box], spacing_mm)
    volumes = np.array([np.count_nonzero(distance_mm + shift > 0) for shift in OFFSETS_MM])
    best = OFFSETS_MM[np.abs(volumes - wanted) <= np.abs(volumes - wanted).min()]
    return round(float(best.mean()), 2)


def _rays(
    tree: CentreTree, label: Mask, labels: Labels, image: npt.NDArray[np.float32], spacing_mm: Spacing
) -> _Rays | None:
    """Sample the rays of all cross-sections between two branchings or ends."""
    sections = np.flatnonzero((tree.degree == 2) & (tree.component_mm[tree.component] >= MIN_COMPONENT_MM))
    if not len(sections):
        return None
    directions = _directions(tree, sections)
    places = tree.points_mm[sections][:, None, None] + DISTANCES_MM[:, None] * directions[:, :, None]
    voxels = (places / np.asarray(spacing_mm)).reshape(-1, 3).T
    shape = places.shape[:-1]
    found = map_coordinates(np.where(label, 2, labels != BACKGROUND).astype(np.uint8), voxels, order=0, mode="nearest")
    found = found.reshape(shape)
    ceiling = float(np.percentile(image[label], LUMEN_PERCENTILE)) + CALCIUM_HU
    intensity = map_coordinates(np.clip(image, LOWEST_HU, ceiling), voxels, order=1, mode="nearest").reshape(shape)
    radius = tree.radius_mm[sections]
    is_free = np.cumsum(found == 1, axis=2) == 0
    is_long = is_free.sum(axis=2) * RAY_STEP_MM >= radius[:, None] + OUTSIDE_MM
    begins_again = ((np.cumsum(found != 2, axis=2) > 0) & (found == 2)).any(axis=2)
    is_used = is_free & (is_long & ~begins_again)[..., None]
    is_used &= radius[:, None, None] + FIT_OUTSIDE_MM >= DISTANCES_MM
    # Each place stands for its part of the area of the cross-section.
    weight = is_used * np.maximum(DISTANCES_MM, RAY_STEP_MM / 2)
    return _Rays(intensity.astype(np.float64), weight, radius)


def _directions(tree: CentreTree, sections: npt.NDArray[np.intp]) -> FloatArray:
    """Unit vectors (section, ray, 3) normal to the centreline."""
    start, neighbour = tree.matrix.indptr, tree.matrix.indices
    ends = np.empty((len(sections), 2), np.intp)
    for row, section in enumerate(sections):
        for side, first in enumerate(neighbour[start[section] : start[section + 1]]):
            before, current = int(section), int(first)
            for _ in range(TANGENT_STEPS - 1):
                if tree.degree[current] != 2:
                    break
                a, b = neighbour[start[current] : start[current + 1]]
                before, current = current, int(b if a == before else a)
            ends[row, side] = current
    tangent = tree.points_mm[ends[:, 1]] - tree.points_mm[ends[:, 0]]
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    across = np.eye(3)[np.abs(tangent).argmin(axis=1)]
    first = np.cross(tangent, across)
    first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-9)
    second = np.cross(tangent, first)
    angles = 2 * np.pi * np.arange(N_RAYS) / N_RAYS
    return np.cos(angles)[:, None] * first[:, None] + np.sin(angles)[:, None] * second[:, None]


@cache
def _blurred_discs(blur_mm: float) -> FloatArray:
    """Radial profiles (radius, place) at `DISTANCES_MM` of discs with the radii `RADII_MM`, blurred."""
    step_mm, half = 0.1, 100
    axis = np.arange(-half, half + 1) * step_mm
    distance = np.hypot(*np.meshgrid(axis, axis))
    profiles = []
    for radius_mm in RADII_MM:
        disc = np.clip((radius_mm - distance) / step_mm + 0.5, 0, 1)
        profiles.append(np.interp(DISTANCES_MM, axis[half:], gaussian_filter(disc, blur_mm / step_mm)[half, half:]))
    return np.array(profiles)
