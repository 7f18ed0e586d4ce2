"""Noise of a vessel's surface, removed along the course of the vessel.

A coronary artery bends over centimetres, and its cross-section changes over several mm. A label whose cross-sections
move sideways within a few mm (`course_wiggle_mm`) does so by its noise. Such a label is averaged along the course of
the vessel, in cross-sections that follow it: any cross-section stays as it is if it is the same for a few mm. So is a
label with noise of single voxels, of which there are more to average along the vessel than across it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter, gaussian_filter1d, map_coordinates
from scipy.spatial import cKDTree

from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.centrelines.rooted_lines import RootedLines
from heartmend.geometry.centrelines.tree import CentreTree, IntArray, Spacing, voxel_points
from heartmend.geometry.curves import FramedCurve, frame_curve
from heartmend.types import FloatArray, Mask

STEP_MM = 0.5
"""Distance of two cross-sections."""
_SOUND_MM, _SOUND_VOXELS, _SOUND_RATIO = 0.05, 0.1, 1.4
"""Wiggle of a sound label by its anatomy and by its voxels, and how much more is noise. Phantom trees, whose
cross-sections vary like real ones, have 0.8 to 1.03 of the two together at 0.35 to 0.9 mm, true trees of two heart
cohorts 0.7 to 0.9."""
_BAND = 2
"""Voxels on each side of the surface that may change."""
_REACH = 2.5
"""Standard deviations up to which cross-sections are averaged."""
_COURSE_MM = 4.0
"""Standard deviation of the smoothing of a centreline that a wiggle is measured from."""
_SLOW_MM, _FAST_MM = 2.5, 0.75
"""A wiggle is what varies more slowly than the second and faster than the first standard deviation."""
_SHORTEST_MM, _END_MM = 10.0, 2.0
"""Shorter stretches, and the ends of longer ones, where other branches begin, have no wiggle."""


@dataclass(frozen=True)
class CourseFilter:
    """Average of a label along the course of its vessels.

    Attributes:
        along_mm: standard deviation along the vessel.
        across_voxels: standard deviation in the cross-section.
        curve_mm: standard deviation of the smoothing of the centrelines that the cross-sections follow.
        removal_margin: a voxel is removed if its average is below the level by more than this.
        addition_margin: a voxel is added if its average is above the level by more than this. It is less: a lost piece
            of a vessel costs more than one too much.
    """

    along_mm: float
    across_voxels: float
    curve_mm: float
    removal_margin: float
    addition_margin: float


FOR_WIGGLES = CourseFilter(1.5, 0.7, 5.0, removal_margin=0.1, addition_margin=0.02)
"""For smooth noise: the centrelines do not follow it."""
FOR_VOXELS = CourseFilter(1.0, 0.6, 3.0, removal_margin=0.06, addition_margin=0.0)
"""For independent voxels: nothing of the course is noise."""


def course_wiggle_mm(label: Mask, tree: CentreTree, spacing_mm: Spacing) -> float:
    """Measure by how much the cross-sections of a label move sideways within a few mm.

    Args:
        label: (x, y, z) bool.
        tree: centreline of the label.
        spacing_mm: voxel spacing.

    Returns:
        Robust standard deviation in mm of the centre of a cross-section along each direction; 0 for vessels that are
        too short.
    """
    curves = [curve for curve in section_curves(tree, _COURSE_MM) if curve.length_mm >= _SHORTEST_MM]
    if not curves:
        return 0.0
    points = voxel_points(label, spacing_mm)
    sections = np.concatenate([curve.points_mm for curve in curves])
    away, nearest = cKDTree(sections).query(points)
    own = away <= 2 * float(tree.radius_mm.max())
    points, nearest = points[own], nearest[own]
    count = np.maximum(np.bincount(nearest, minlength=len(sections)), 1)
    centre = np.zeros_like(sections)
    np.add.at(centre, nearest, points - sections[nearest])
    centre /= count[:, None]
    starts, end = np.cumsum([0] + [len(curve.points_mm) for curve in curves]), round(_END_MM / STEP_MM)
    moved = []
    for start, curve in zip(starts, curves, strict=False):
        offset = centre[start : start + len(curve.points_mm)]
        for across in (curve.normal, curve.binormal):
            fast = gaussian_filter1d((offset * across).sum(axis=1), _FAST_MM / curve.step_mm)
            moved.append((fast - gaussian_filter1d(fast, _SLOW_MM / curve.step_mm))[end:-end])
    return float(1.4826 * np.median(np.abs(np.concatenate(moved))))


def sound_wiggle_mm(spacing_mm: Spacing) -> float:
    """Compute the largest wiggle of a sound label.

    Args:
        spacing_mm: voxel spacing.

    Returns:
        The wiggle in mm.

    Example:
        >>> round(sound_wiggle_mm((0.5, 0.5, 0.5)), 2)
        0.1
    """
    return float(_SOUND_RATIO * np.hypot(_SOUND_MM, _SOUND_VOXELS * max(spacing_mm)))


def average_along_course(label: Mask, tree: CentreTree, spacing_mm: Spacing, one: CourseFilter) -> Mask:
    """Average a label along the course of its vessels.

    Args:
        label: (x, y, z) bool.
        tree: centreline of the label.
        spacing_mm: voxel spacing.
        one: the filter.

    Returns:
        (x, y, z) bool, with about the same volume: 2 to 4 % more by the margins.
    """
    box = bounding_box(label, margin=_BAND + 1)
    if box is None:
        return label
    part = label[box]
    offset_mm = np.array([side.start for side in box]) * spacing_mm
    density = _density(part, tree.with_points(tree.points_mm - offset_mm), spacing_mm, one)
    positive, voxels = density[density > 0], int(part.sum())
    level = np.partition(positive, -voxels)[-voxels]
    result = label.copy()
    result[box] = np.where(part, density >= level - one.removal_margin, density > level + one.addition_margin)
    return result


def _density(label: Mask, tree: CentreTree, spacing_mm: Spacing, one: CourseFilter) -> npt.NDArray[np.float32]:
    """The average near the surface (x, y, z), the label elsewhere."""
    spacing = np.asarray(spacing_mm, float)
    soft = gaussian_filter(label.astype(np.float32), one.across_voxels)
    density: npt.NDArray[np.float32] = label.astype(np.float32)
    curves = section_curves(tree, one.curve_mm)
    if not curves:
        return density
    band = binary_dilation(label, iterations=_BAND) & ~binary_erosion(label, iterations=_BAND)
    density[band] = soft[band]
    voxels = np.argwhere(band)
    points = voxels * spacing
    starts = np.cumsum([0] + [len(curve.points_mm) for curve in curves])
    nearest = cKDTree(np.concatenate([curve.points_mm for curve in curves])).query(points)[1]
    section = np.searchsorted(starts, nearest, side="right") - 1
    for number, curve in enumerate(curves):
        own = np.flatnonzero(section == number)
        if not len(own):
            continue
        at = nearest[own] - starts[number]
        offset = points[own] - curve.points_mm[at]
        ahead = (offset * curve.tangent[at]).sum(axis=1)
        is_beyond = ((at == 0) & (ahead < -0.75 * curve.step_mm)) | (
            (at == len(curve.points_mm) - 1) & (ahead > 0.75 * curve.step_mm)
        )
        own, at, offset, ahead = own[~is_beyond], at[~is_beyond], offset[~is_beyond], ahead[~is_beyond]
        density[tuple(voxels[own].T)] = _averaged(soft, spacing, curve, at, offset, ahead, one.along_mm)
    return density


def _averaged(
    soft: npt.NDArray[np.float32], spacing: FloatArray, curve: FramedCurve, at: IntArray,
    offset: FloatArray, ahead: FloatArray, along_mm: float,
) -> FloatArray:  # fmt: skip
    normal, binormal = curve.normal, curve.binormal
    u, v = (offset * normal[at]).sum(axis=1), (offset * binormal[at]).sum(axis=1)
    total, weights = np.zeros(len(at)), np.zeros(len(at))
    reach = int(np.ceil(_REACH * along_mm / curve.step_mm))
    for k in range(-reach, reach + 1):
        j = at + k
        inside = (j >= 0) & (j < len(curve.points_mm))
        j = j[inside]
        places = (
            curve.points_mm[j]
            + ahead[inside, None] * curve.tangent[j]
            + u[inside, None] * normal[j]
            + v[inside, None] * binormal[j]
        )
        weight = np.exp(-0.5 * (k * curve.step_mm / along_mm) ** 2)
        total[inside] += weight * map_coordinates(soft, (places / spacing).T, order=1, mode="nearest")
        weights[inside] += weight
    return total / weights


def section_curves(tree: CentreTree, smooth_mm: float) -> list[FramedCurve]:
    """Divide a forest into unbranched curves.

    Args:
        tree: the forest.
        smooth_mm: standard deviation of the smoothing of each curve.

    Returns:
        The curves of at least two points.
    """
    lines = RootedLines.of(tree, tree.points_mm, np.zeros(0, np.intp), np.zeros(len(tree), np.intp))
    curves = []
    for line in lines.lines():
        points = lines.points_mm[line]
        points = points[np.r_[True, np.linalg.norm(np.diff(points, axis=0), axis=1) > 1e-6]]
        if len(points) > 1:
            curves.append(frame_curve(points, STEP_MM, smooth_mm))
    return curves
