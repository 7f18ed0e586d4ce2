"""Variants: rare anatomy and unusual scans, made from the label map of an ordinary heart.

A repair that knows what most hearts have in common may remove what only one heart has. A variant changes the truth of a
case, so that this can be measured. Shapes are simple and sizes are clinical orders of magnitude; nothing was measured
on a data set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from heartmend.errors import ConfigError
from heartmend.geometry.components import largest_component
from heartmend.geometry.directions import spread_directions
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.phantom.plan import Label, Vector

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class VariantHeart:
    """A heart with a variant.

    Attributes:
        labels: label map (x, y, z), uint8.
        affine: (4, 4) voxel index to world (RAS) in mm; another one than before where slices were cut off.
        part: (x, y, z) bool, the abnormal part; None where the whole heart is abnormal, or something is missing.
        outside: (x, y, z) bool, voxels of the array that the scan does not have, so that no label is there; None where
            it has all of them.
    """

    labels: Labels
    affine: NDArray[np.float64]
    part: Mask | None = None
    outside: Mask | None = None


@dataclass(frozen=True, eq=False)
class _Heart:
    """An ordinary heart: its label map and affine."""

    labels: Labels
    affine: NDArray[np.float64]

    @property
    def spacing_mm(self) -> Vector:
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def points_mm(self) -> NDArray[np.float32]:
        """(3, x, y, z) positions of the voxels in mm, along the axes of the array."""
        lines = [
            np.arange(n, dtype=np.float32) * np.float32(s)
            for n, s in zip(self.labels.shape, self.spacing_mm, strict=True)
        ]
        return np.stack(np.meshgrid(*lines, indexing="ij"))

    def centre_mm(self, *labels: Label) -> Vector:
        return np.argwhere(np.isin(self.labels, labels)).mean(axis=0) * self.spacing_mm

    def distance_mm(self, mask: Mask) -> NDArray[np.float32]:
        """Distance of each voxel to a mask; 0 inside."""
        return np.asarray(distance_transform_mm(~mask, self.spacing_mm))

    def towards(self, code: str) -> tuple[int, int]:
        """Axis of the array that is nearest to R, A or S, and 1 or -1 for its direction."""
        orientation = nib.orientations.io_orientation(self.affine)
        axis = int(np.flatnonzero(orientation[:, 0] == "RAS".index(code))[0])
        return axis, int(orientation[axis, 1])


def make_variant(name: str, labels: Labels, affine: NDArray[np.float64]) -> VariantHeart:
    """Change the truth of a case to a variant.

    Args:
        name: a key of `VARIANTS`.
        labels: label map (x, y, z) of an ordinary heart, uint8, in the ids of `Label`; it is not changed.
        affine: (4, 4) voxel index to world (RAS) in mm.

    Returns:
        The heart with the variant.

    Raises:
        ConfigError: if there is no such variant, or the heart lacks a structure that it needs.
    """
    variant_names([name], 1)
    heart = _Heart(labels, np.asarray(affine, dtype=np.float64))
    needed = _NEEDED.get(name, ())
    if missing := [label.name for label in needed if not (labels == label).any()]:
        raise ConfigError(f"variant {name}: the heart has no {', '.join(missing)}; choose another case")
    return VARIANTS[name](heart)


def variant_names(names: Sequence[str], count: int) -> tuple[str, ...]:
    """Check names of variants.

    Args:
        names: names of variants.
        count: number of hearts.

    Returns:
        The names.

    Raises:
        ConfigError: if a name is unknown, or there are more names than hearts.

    Example:
        >>> variant_names(["giant-la"], 12)
        ('giant-la',)
    """
    if unknown := [name for name in names if name not in VARIANTS]:
        raise ConfigError(f"variant: unknown name {', '.join(unknown)}; choose from {', '.join(VARIANTS)}")
    if len(names) > count:
        raise ConfigError(f"variant: {len(names)} names for {count} hearts; make more hearts (--count)")
    return tuple(names)


def _mirrored(heart: _Heart) -> VariantHeart:
    axis, _ = heart.towards("R")
    return VariantHeart(np.ascontiguousarray(np.flip(heart.labels, axis)), heart.affine)


def _without(*labels: Label) -> Callable[[_Heart], VariantHeart]:
    def remove(heart: _Heart) -> VariantHeart:
        return VariantHeart(np.where(np.isin(heart.labels, labels), np.uint8(0), heart.labels), heart.affine)

    return remove


def _one_coronary(heart: _Heart) -> VariantHeart:
    vessel = heart.labels == Label.CORONARY
    return VariantHeart(np.where(vessel & ~largest_component(vessel), np.uint8(0), heart.labels), heart.affine)


def _apical_aneurysm(heart: _Heart) -> VariantHeart:
    """A thin-walled sac of 24 mm at the apex, open to the ventricle."""
    voxels = np.argwhere(heart.labels == Label.LV) * heart.spacing_mm
    apex = voxels[np.linalg.norm(voxels - heart.centre_mm(Label.LA), axis=1).argmax()]
    outward = apex - heart.centre_mm(Label.LV)
    centre = apex + 6 * outward / np.linalg.norm(outward)
    reach = np.linalg.norm(heart.points_mm() - centre.reshape(3, 1, 1, 1), axis=0)
    free = np.isin(heart.labels, (Label.BACKGROUND, Label.MYOCARDIUM))
    labels = heart.labels.copy()
    labels[(reach < 14.5) & (labels == Label.BACKGROUND)] = Label.MYOCARDIUM
    labels[(reach < 12) & free] = Label.LV
    return VariantHeart(labels, heart.affine, labels != heart.labels)


def _giant_la(heart: _Heart) -> VariantHeart:
    """A left atrium of 1.85 times the volume; its neighbours are pushed aside and compressed."""
    centre = heart.centre_mm(Label.LA)
    voxels = np.argwhere(heart.labels == Label.LA) * heart.spacing_mm - centre
    distance = np.linalg.norm(voxels, axis=1)
    # How far the atrium reaches in each direction, smoothed over some of them.
    directions = spread_directions(600)
    of_voxel = cKDTree(directions).query(voxels / np.maximum(distance, 1e-6)[:, None])[1]
    reach = np.zeros(len(directions))
    np.maximum.at(reach, of_voxel, distance)
    reach = reach[cKDTree(directions).query(directions, 12)[1]].mean(axis=1)
    offset = heart.points_mm() - centre.astype(np.float32).reshape(3, 1, 1, 1)
    radius = np.linalg.norm(offset, axis=0)
    nearest = cKDTree(directions).query((offset / np.maximum(radius, 1e-6)).reshape(3, -1).T, 4)[1]
    labels = _stretched(heart, centre, reach[nearest].mean(axis=1).reshape(radius.shape), 1.85 ** (1 / 3), 40.0)
    return VariantHeart(labels, heart.affine, np.isin(labels, (Label.LA, Label.LAA)))


def _ascending_aneurysm(heart: _Heart) -> VariantHeart:
    """An ascending aorta of 1.5 times the width."""
    root = _root_of_aorta(heart)
    voxels = np.argwhere(heart.labels == Label.AORTA) * heart.spacing_mm
    distance = np.linalg.norm(voxels - root, axis=1)
    centre = voxels[(distance > 25) & (distance < 40)].mean(axis=0)
    labels = _inflated(heart, centre, 22.0, 1.5, 25.0)
    near = np.linalg.norm(heart.points_mm() - centre.reshape(3, 1, 1, 1), axis=0) < 35
    return VariantHeart(labels, heart.affine, near & (labels == Label.AORTA))


def _inflated(heart: _Heart, centre: Vector, radius: float, scale: float, reach: float) -> Labels:
    """Scale everything within a radius of a centre; what surrounds it over `reach` mm is compressed."""
    return _stretched(heart, centre, np.float64(radius), scale, reach)


def _stretched(
    heart: _Heart, centre: Vector, radius: NDArray[np.floating] | np.float64, scale: float, reach: float
) -> Labels:
    """Scale what is within a radius of a centre, which may differ by direction; what surrounds it is compressed."""
    offset = heart.points_mm() - centre.astype(np.float32).reshape(3, 1, 1, 1)
    distance = np.linalg.norm(offset, axis=0)
    inner, outer = radius * scale, radius * scale + reach
    beyond = radius + (distance - inner) * (outer - radius) / reach
    source = np.where(distance <= inner, distance / scale, np.where(distance <= outer, beyond, distance))
    at = (offset * (source / np.maximum(distance, 1e-6)) + centre.reshape(3, 1, 1, 1)) / heart.spacing_mm.reshape(
        3, 1, 1, 1
    )
    return np.asarray(map_coordinates(heart.labels, at, order=0, mode="constant"), dtype=np.uint8)


def _extra_vein(heart: _Heart) -> VariantHeart:
    """A pulmonary vein more, 18 mm long and 8 mm wide, where the atrium is free and the others are far."""
    length, radius = 18.0, 4.0
    centre = heart.centre_mm(Label.LA)
    atrium = heart.labels == Label.LA
    others = heart.distance_mm((heart.labels > 0) & ~atrium)
    veins = heart.distance_mm(np.isin(heart.labels, (Label.PV, Label.LAA)))
    best, path = -1.0, np.empty((0, 3))
    for direction in spread_directions(400):
        ray = _on_grid(heart, centre + np.arange(0, 90, 0.5)[:, None] * direction)
        inside = atrium[tuple(ray.T)]
        if not inside.any():
            continue
        start = np.flatnonzero(inside)[-1] * 0.5
        course = centre + np.arange(start - 3, start + length, 0.5)[:, None] * direction
        index = _on_grid(heart, course)
        free = others[tuple(index.T)][8:].min() - radius
        far = float(veins[tuple(index.T)].min())
        if min(free, 3.0) + far / 10 > best:
            best, path = min(free, 3.0) + far / 10, course
    return _with_tube(heart, path, radius, Label.PV)


def _common_trunk(heart: _Heart) -> VariantHeart:
    """Neighbouring pulmonary veins that join before the atrium: gaps of up to 16 mm between them are filled."""
    veins = heart.labels == Label.PV
    closed = heart.distance_mm(heart.distance_mm(veins) > 8) > 8
    near = heart.distance_mm(heart.labels == Label.LA) < 14
    added = closed & near & (heart.labels == Label.BACKGROUND)
    return VariantHeart(np.where(added, np.uint8(Label.PV), heart.labels), heart.affine, added)


def _vein_graft(heart: _Heart) -> VariantHeart:
    """A bypass graft, labelled as aorta, from the ascending aorta over the heart to its side."""
    centre = np.argwhere(heart.labels > 0).mean(axis=0) * heart.spacing_mm
    root = _root_of_aorta(heart)
    voxels = np.argwhere(heart.labels == Label.AORTA) * heart.spacing_mm
    distance = np.linalg.norm(voxels - root, axis=1)
    first = voxels[(distance > 25) & (distance < 35)].mean(axis=0) - centre
    wall = np.argwhere(heart.labels == Label.MYOCARDIUM) * heart.spacing_mm
    away = wall - heart.centre_mm(Label.RA)
    last = wall[np.linalg.norm(away, axis=1).argmax()] - centre
    turn = np.linspace(0, 1, 240)[:, None]
    courses = (1 - turn) * first / np.linalg.norm(first) + turn * last / np.linalg.norm(last)
    path = [centre + first]
    for direction in courses / np.linalg.norm(courses, axis=1, keepdims=True):
        steps = np.arange(0, 110, 0.5)
        inside = heart.labels[tuple(_on_grid(heart, centre + steps[:, None] * direction).T)] > 0
        path.append(centre + (steps[inside].max(initial=0.0) + 2.5) * direction)
    smooth = np.array(path)
    for _ in range(30):
        smooth[1:-1] = (smooth[:-2] + smooth[1:-1] + smooth[2:]) / 3
    fine = np.concatenate([np.linspace(a, b, 8) for a, b in pairwise(smooth)])
    return _with_tube(heart, fine, 2.2, Label.AORTA)


def _with_tube(heart: _Heart, path_mm: NDArray[np.float64], radius_mm: float, label: Label) -> VariantHeart:
    """Add a tube along a path where there is background."""
    line = np.zeros(heart.labels.shape, dtype=bool)
    line[tuple(_on_grid(heart, path_mm).T)] = True
    added = (heart.distance_mm(line) <= radius_mm) & (heart.labels == Label.BACKGROUND)
    return VariantHeart(np.where(added, np.uint8(label), heart.labels), heart.affine, added)


def _cut_below_arch(heart: _Heart) -> VariantHeart:
    """A scan that ends 10 mm above the left atrium."""
    axis, sign = heart.towards("S")
    planes = np.flatnonzero((heart.labels == Label.LA).any(axis=tuple({0, 1, 2} - {axis})))
    margin = int(np.ceil(10 / heart.spacing_mm[axis]))
    kept = slice(0, planes[-1] + 1 + margin) if sign > 0 else slice(max(planes[0] - margin, 0), None)
    affine = heart.affine.copy()
    affine[:3, 3] += affine[:3, axis] * (kept.start or 0)
    cut = np.moveaxis(np.moveaxis(heart.labels, axis, 0)[kept], 0, axis)
    return VariantHeart(np.ascontiguousarray(cut), affine)


def _oblique_padding(heart: _Heart) -> VariantHeart:
    """An oblique scan on a larger grid: beyond a plane that is tilted by 25 degrees there are no labels."""
    up, up_sign = heart.towards("S")
    side, _ = heart.towards("R")
    normal = np.zeros(3)
    normal[up], normal[side] = up_sign * np.cos(np.deg2rad(25)), np.sin(np.deg2rad(25))
    height = np.tensordot(normal, heart.points_mm(), axes=1)
    limit = np.quantile(height[heart.labels > 0], 0.93)
    outside = height > limit
    return VariantHeart(np.where(outside, np.uint8(0), heart.labels), heart.affine, outside=outside)


def _root_of_aorta(heart: _Heart) -> Vector:
    """The place of the aorta that is nearest to the centre of the left ventricle."""
    voxels = np.argwhere(heart.labels == Label.AORTA) * heart.spacing_mm
    # The descending aorta may be nearer to the ventricle than the root; it does not touch it.
    touching = heart.distance_mm(heart.labels == Label.LV)[heart.labels == Label.AORTA] <= 3 * heart.spacing_mm.max()
    voxels = voxels[touching] if touching.any() else voxels
    return np.asarray(voxels.mean(axis=0))


def _on_grid(heart: _Heart, points_mm: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n, 3) indices of the voxels at points in mm, clipped to the array."""
    return np.clip(np.rint(points_mm / heart.spacing_mm).astype(np.int64), 0, np.array(heart.labels.shape) - 1)


VARIANTS: Mapping[str, Callable[[_Heart], VariantHeart]] = {
    "mirrored": _mirrored,
    "absent-laa": _without(Label.LAA),
    "absent-rv": _without(Label.RV),
    "apical-aneurysm": _apical_aneurysm,
    "giant-la": _giant_la,
    "extra-vein": _extra_vein,
    "common-trunk": _common_trunk,
    "one-coronary": _one_coronary,
    "ascending-aneurysm": _ascending_aneurysm,
    "vein-graft": _vein_graft,
    "cut-below-arch": _cut_below_arch,
    "oblique-padding": _oblique_padding,
}
"""Each variant by its name."""
_NEEDED: Mapping[str, tuple[Label, ...]] = {
    "apical-aneurysm": (Label.LA, Label.LV),
    "giant-la": (Label.LA,),
    "extra-vein": (Label.LA, Label.PV),
    "common-trunk": (Label.LA, Label.PV),
    "ascending-aneurysm": (Label.AORTA, Label.LV),
    "vein-graft": (Label.AORTA, Label.LV, Label.MYOCARDIUM, Label.RA),
    "cut-below-arch": (Label.LA,),
}
