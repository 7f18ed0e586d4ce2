"""Merging of several label maps of one scan: at each place of a surface, the one that agrees best is taken.

Agreement is measured against the shape that the cohort's consensus gives the case, and against the edges of its CT. It
is a property of a region, not of a voxel, so no noise is copied from one map into the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.geometry.distance import DistanceMap, signed_distance_mm
from heartmend.geometry.roi import Roi
from heartmend.metrics.overlap import dice
from heartmend.repair.fusion import fuse
from heartmend.repair.shared_errors.case import ToTemplate
from heartmend.repair.shared_errors.edges import MAX_OFFSET_MM
from heartmend.repair.shared_errors.estimate import locate_edges
from heartmend.repair.shared_errors.measurement import MeasuredCase, measure_case
from heartmend.repair.shared_errors.surface import (
    Floats,
    SurfacePatches,
    near_patches,
    sample_surface,
    unit_lattice,
)
from heartmend.types import DistanceField, Labels, Mask

LATTICE = 32
"""Cells along each side of the lattice on which the weights of the label maps are computed."""
SMOOTH_MM = 5.0
"""Standard deviation of the transition from one label map to another."""
NEAREST = 8
"""Patches that decide at a place."""
MISSING_MM = 6.0
"""Error of a label map that has no surface at a patch where others have one."""
SURE_MM = 0.3
"""Below this error two label maps are equally good."""


@dataclass(frozen=True, eq=False)
class ConsensusShape:
    """Shape of a case by the consensus of the cohort.

    Attributes:
        distances_mm: (x, y, z) float32 signed distance of each structure on the voxels of the ROI, by name.
        patches: patches of each structure on the template, by name.
        to_template: maps points (n, 3) of the case's unit frame to the template's.
        roi: the region of interest.
    """

    distances_mm: Mapping[str, DistanceField]
    patches: Mapping[str, SurfacePatches]
    to_template: ToTemplate
    roi: Roi


@dataclass(frozen=True, eq=False)
class MergedCase:
    """Merged label map of a case.

    Attributes:
        labels: (x, y, z) uint8 on the voxels of the ROI.
        disagreement_percent: (x, y, z) uint8, share of the label maps that have another label there.
        shares: share of the surface of each structure that each label map was taken for, by name.
    """

    labels: Labels
    disagreement_percent: npt.NDArray[np.uint8]
    shares: Mapping[str, tuple[float, ...]]


def consensus_of(label_maps: Sequence[Labels], anatomy: Anatomy, spacing_mm: tuple[float, float, float]) -> Labels:
    """Compute the consensus of several label maps: that of their mean signed distances.

    Args:
        label_maps: (x, y, z) uint8 each, of one shape.
        anatomy: the structures.
        spacing_mm: voxel spacing.

    Returns:
        (x, y, z) uint8.

    Example:
        >>> import numpy as np
        >>> from heartmend.anatomy.load import load_anatomy
        >>> maps = [np.zeros((9, 3, 3), np.uint8) for _ in range(3)]
        >>> maps[0][:4], maps[1][:5], maps[2][:6] = 3, 3, 3
        >>> np.flatnonzero(consensus_of(maps, load_anatomy("heart"), (1, 1, 1))[:, 0, 0]).tolist()
        [0, 1, 2, 3, 4]
    """
    means = {}
    for structure in anatomy.structures:
        masks = [labels == structure.id for labels in label_maps]
        # A structure that most label maps lack is no part of the consensus.
        if 2 * sum(bool(mask.any()) for mask in masks) >= len(masks):
            distances = [signed_distance_mm(mask, spacing_mm) for mask in masks if mask.any()]
            means[structure.name] = DistanceMap.of_mm(np.mean(distances, axis=0), keep_inside=True)
    return fuse(means, anatomy, spacing_mm) if means else np.zeros_like(label_maps[0])


def merge_case(
    label_maps: Sequence[Labels], shape: ConsensusShape, anatomy: Anatomy,
    image: npt.NDArray[np.generic] | None = None,
) -> MergedCase:  # fmt: skip
    """Merge several label maps of one scan.

    A thin vessel has no place on the template: the tree that agrees best with the other trees is taken as a whole.

    Args:
        label_maps: (x, y, z) uint8 each, on the voxels of the ROI.
        shape: the shape of the case.
        anatomy: the structures.
        image: (x, y, z) CT in HU; None without one.

    Returns:
        The merged label map.
    """
    spacing = shape.roi.grid.spacing_mm
    edges = None if image is None else [_edge_errors(labels, shape, anatomy, image) for labels in label_maps]
    maps, shares = dict[str, DistanceMap](), dict[str, tuple[float, ...]]()
    for structure in anatomy.structures:
        masks = [labels == structure.id for labels in label_maps]
        if not any(mask.any() for mask in masks):
            continue
        if structure.name not in shape.patches or structure.name not in shape.distances_mm:
            best = _most_similar(masks)
            maps[structure.name] = DistanceMap.of_mask(masks[best], spacing)
            shares[structure.name] = tuple(float(at == best) for at in range(len(masks)))
            continue
        of_edges = None if edges is None else [one.get(structure.id, {}) for one in edges]
        distances = np.stack([signed_distance_mm(mask, spacing) for mask in masks])
        errors = _errors(label_maps, distances, structure, shape, of_edges)
        weights = 1 / (errors**2 + SURE_MM**2)
        chosen = errors.argmin(axis=0)
        shares[structure.name] = tuple(float(np.mean(chosen == at)) for at in range(len(masks)))
        shares_at = _spread(weights**2, shape, structure.name)
        maps[structure.name] = DistanceMap.of_mm((shares_at * distances).sum(axis=0), keep_inside=True)
    merged = fuse(maps, anatomy, spacing) if maps else np.zeros_like(label_maps[0])
    others = np.mean([labels != merged for labels in label_maps], axis=0)
    return MergedCase(merged, np.rint(100 * others).astype(np.uint8), shares)


def _template_points(points: Floats, shape: ConsensusShape) -> Floats:
    """Coordinates in the template's frame of places in voxels of the ROI."""
    return shape.to_template(shape.roi.box_index_to_unit(points))


def _edge_errors(
    labels: Labels, shape: ConsensusShape, anatomy: Anatomy, image: npt.NDArray[np.generic]
) -> dict[int, dict[int, float]]:
    """Distance of a label map from the edges of the CT, by structure and patch, where there is an edge."""
    spacing = shape.roi.grid.spacing_mm
    maps = {s.name: DistanceMap.of_mask(labels == s.id, spacing) for s in anatomy.structures if s.name in shape.patches}
    case = MeasuredCase(maps, labels, spacing, lambda points: _template_points(points, shape), image)
    measured = measure_case(case, anatomy, shape.patches)
    found = dict[int, dict[int, float]]()
    if len(measured.counts) == 0:
        return found
    offsets = locate_edges([measured])
    for structure, patch, offset in zip(offsets.structures, offsets.patches, offsets.offsets_mm, strict=True):
        if np.isfinite(offset):
            of_structure = found.setdefault(int(structure), {})
            of_structure[int(patch)] = max(of_structure.get(int(patch), 0.0), abs(float(offset)))
    return found


def _errors(
    label_maps: Sequence[Labels], distances_mm: DistanceField, structure: Structure, shape: ConsensusShape,
    edges: Sequence[Mapping[int, float]] | None,
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Error (label map, patch) in mm: of its surface beside the shape, and beside the edge where there is one."""
    name = structure.name
    patches, spacing = shape.patches[name], np.asarray(shape.roi.grid.spacing_mm)
    errors = np.full((len(label_maps), len(patches.centres)), np.nan)
    for at, (labels, own_mm) in enumerate(zip(label_maps, distances_mm, strict=True)):
        samples = sample_surface(DistanceMap.of_mm(own_mm), labels, structure.id, spacing, np.random.default_rng(0))
        if samples is None:
            continue
        patch = patches.nearest(_template_points(samples.points, shape))
        residual = np.abs(map_coordinates(shape.distances_mm[name], samples.points.T, order=1, mode="nearest"))
        counts = np.bincount(patch[patch >= 0], minlength=len(patches.centres))
        sums = np.bincount(patch[patch >= 0], residual[patch >= 0], minlength=len(patches.centres))
        errors[at] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    if edges is not None:
        # Where another label map is near an edge, one without an edge in reach is far from it.
        with_edge = sorted({patch_number for of_map in edges for patch_number in of_map})
        for at, of_map in enumerate(edges):
            offsets = [of_map.get(patch_number, MAX_OFFSET_MM) for patch_number in with_edge]
            errors[at, with_edge] = np.hypot(errors[at, with_edge], offsets)
    # A patch that no label map has is nobody's error.
    missing = np.isnan(errors)
    errors[missing] = np.where(missing.all(axis=0), 0.0, MISSING_MM)[np.nonzero(missing)[1]]
    return errors


def _spread(weights: npt.NDArray[np.float64], shape: ConsensusShape, name: str) -> npt.NDArray[np.float32]:
    """Share (label map, x, y, z) of each label map at the voxels of the ROI; they sum to 1."""
    patches = shape.patches[name]
    half = patches.size_mm / 2
    points = shape.to_template(unit_lattice(LATTICE)) * half
    kernel, nearest = near_patches(patches.centres * half, points, SMOOTH_MM, NEAREST)
    at_cells = (kernel[None] * weights[:, nearest]).sum(axis=-1)
    at_cells /= at_cells.sum(axis=0)
    cells = at_cells.reshape(len(weights), LATTICE, LATTICE, LATTICE)
    shares = np.stack([shape.roi.image_to_source(one.astype(np.float32)) for one in cells])
    total: npt.NDArray[np.float32] = shares / shares.sum(axis=0)
    return total


def _most_similar(masks: Sequence[Mask]) -> int:
    """The mask with the largest mean Dice with all others; the first of equals."""
    return int(np.argmax([sum(dice(a, b) for b in masks if b is not a) if a.any() else -1.0 for a in masks]))
