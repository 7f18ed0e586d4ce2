"""Evidence for and against the label of each voxel near a surface of a repaired label map.

Nothing here needs a truth. The evidence is the depth of the voxel in its label, what the original label map, the shapes
and the edges of the CT have there, and how much the surface about it was moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.boxes import Box, bounding_box, margin_voxels
from heartmend.geometry.distance import DistanceMap, distance_to_other_label_mm
from heartmend.io.hounsfield import HEART_WINDOW_HU
from heartmend.repair.image_edges.borders import borders
from heartmend.repair.image_edges.edges import find_edge, noise_of
from heartmend.repair.image_edges.snap import INNER_MM
from heartmend.types import BACKGROUND, UNKNOWN, Labels

REACH_MM = 3.0
"""Voxels up to this distance from a surface of the repaired map are judged, and those that the repair changed."""
LOCAL_MM, CELL_MM = 4.0, 2.0
"""Standard deviation of the neighbourhood over which movements of the surface are averaged, and side of its cells."""
CLIP_MM = 4.0
"""Distances are clipped here."""
EDGE_REACH_MM = 2.0
"""An edge of the CT is looked for up to this distance from a surface."""
EDGE_VARIANCE_MM2 = 0.25
"""Variance of an edge's position at which its precision is one half."""

Values = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class RepairedRoi:
    """A repaired case on the voxels of its ROI.

    Attributes:
        original: (x, y, z) uint8, the label map of the input without far components.
        cleaned: (x, y, z) uint8, the prepared label map.
        repaired: (x, y, z) uint8, the result.
        refined: distance map of each refined structure, by name.
        final: distance map of each structure after the fusion, by name; for the edges of the CT.
        spacing_mm: voxel spacing.
        image: (x, y, z) CT in HU; None where there is none.
        misfits_mm: median distance between label and fitted shape, by name of a structure.
        margins_mm: label margin, by name of a structure; None where the label alone counts.
        surface_noise_mm2: variance of the surface of the label about a smooth one, by name of a structure.
    """

    original: Labels
    cleaned: Labels
    repaired: Labels
    refined: Mapping[str, DistanceMap]
    final: Mapping[str, DistanceMap]
    spacing_mm: tuple[float, float, float]
    image: npt.NDArray[np.generic] | None = None
    misfits_mm: Mapping[str, float] = field(default_factory=dict)
    margins_mm: Mapping[str, float | None] = field(default_factory=dict)
    surface_noise_mm2: Mapping[str, float] = field(default_factory=dict)

    @property
    def voxel_mm(self) -> float:
        """Side of a cube of the volume of a voxel."""
        return float(np.prod(self.spacing_mm)) ** (1 / 3)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Evidence about the n voxels near the surfaces of a case; all lengths in mm, float32 (n,) unless stated otherwise.

    Attributes:
        voxels: flat indices of the voxels in the ROI.
        label: uint8, the repaired label.
        other: uint8, the label on the other side of the nearest surface, or the one before the repair.
        depth: distance from the nearest surface of the repaired map.
        changed: bool, whether the repair changed the label.
        cleaned_differs: bool, whether the prepared label is another one.
        shape: depth in the shape of its label against that of the other one, 0 without both shapes.
        has_shape: bool, whether both labels have a shape.
        local_change: mean movement of the surface by the repair within about 4 mm.
        local_shape: mean distance of the surface from the shapes within about 4 mm.
        edge_precision: 0 without an edge of a CT, 1 for a sharp one.
        edge: depth inside the edge of the CT, times its precision.
    """

    voxels: Index
    label: Labels
    other: Labels
    depth: Values
    changed: npt.NDArray[np.bool_]
    cleaned_differs: npt.NDArray[np.bool_]
    shape: Values
    has_shape: npt.NDArray[np.bool_]
    local_change: Values
    local_shape: Values
    edge_precision: Values
    edge: Values


@dataclass(frozen=True, eq=False)
class VoxelEvidence(Evidence):
    """Evidence about the n voxels, with what the probability of an error of each voxel needs beside it.

    Attributes:
        original: depth in the original label map, negative where it has another label.
    """

    original: Values


def measure_evidence(case: RepairedRoi, anatomy: Anatomy) -> Evidence:
    """Measure the evidence about the voxels near the surfaces of a repaired case.

    Args:
        case: the case.
        anatomy: the structures.

    Returns:
        The evidence.
    """
    half_mm = min(case.spacing_mm) / 2
    near, depth_mm = case.repaired != case.original, np.full(case.repaired.shape, np.inf, np.float32)
    if (box := _heart_box(case)) is not None:
        depth_mm[box] = distance_to_other_label_mm(case.repaired[box], case.spacing_mm)
        near[box] |= depth_mm[box] < REACH_MM + half_mm
    voxels = np.flatnonzero(near)
    label, original = case.repaired.ravel()[voxels], case.original.ravel()[voxels]
    depth = np.clip(depth_mm.ravel()[voxels] - half_mm, 0, CLIP_MM)
    other = other_labels(case.repaired, voxels, int(np.ceil(REACH_MM / min(case.spacing_mm))) + 1)
    changed = original != label
    other[changed] = original[changed]
    shape_differs, shape, has_shape = _shapes(case, anatomy, voxels, label, other)
    local = _LocalSum.of(voxels, case.repaired.shape, case.spacing_mm)
    # A surface has a voxel on either side; each of the voxels between it and another surface is one voxel of movement.
    area = np.maximum(local(depth < 2 * half_mm) / 2, 1e-3)
    local_change, local_shape = (
        np.clip(local(mask) / area * case.voxel_mm, 0, CLIP_MM).astype(np.float32) for mask in (changed, shape_differs)
    )
    precision, edge = _edges(case, anatomy, voxels)
    return Evidence(
        voxels, label, other, depth, changed, case.cleaned.ravel()[voxels] != label, shape, has_shape, local_change,
        local_shape, precision, edge,
    )  # fmt: skip


def measure_voxel_evidence(case: RepairedRoi, evidence: Evidence) -> VoxelEvidence:
    """Add the depth of each voxel in the original label map to the evidence.

    Args:
        case: the case.
        evidence: its evidence.

    Returns:
        The evidence with that depth.
    """
    depth_mm = np.full(case.original.shape, np.inf, np.float32)
    if (box := _heart_box(case)) is not None:
        depth_mm[box] = distance_to_other_label_mm(case.original[box], case.spacing_mm)
    inward = np.clip(depth_mm.ravel()[evidence.voxels] - min(case.spacing_mm) / 2, 0, CLIP_MM)
    own = {one.name: getattr(evidence, one.name) for one in fields(evidence)}
    return VoxelEvidence(**own, original=np.where(evidence.changed, -inward, inward))


def _heart_box(case: RepairedRoi) -> Box | None:
    """Box of all labels with a margin: outside it every voxel is farther than `CLIP_MM` from a surface."""
    half_mm = min(case.spacing_mm) / 2
    return bounding_box(case.repaired | case.original, margin_voxels(CLIP_MM + half_mm, case.spacing_mm))


def other_labels(labels: Labels, voxels: Index, steps: int) -> Labels:
    """Find the label on the other side of the nearest surface: from neighbour to neighbour inside the own label.

    Args:
        labels: (x, y, z) uint8.
        voxels: (n,) flat indices, in ascending order.
        steps: largest number of steps.

    Returns:
        (n,) uint8; the background where no surface is that near.
    """
    padded = np.pad(labels, 1, constant_values=UNKNOWN)
    _, y, z = padded.shape
    at = np.ravel_multi_index(tuple(i + 1 for i in np.unravel_index(voxels, labels.shape)), padded.shape)
    flat, other = padded.ravel(), np.full(padded.size, UNKNOWN, np.uint8)
    other[at] = _other_neighbours(padded).ravel()[voxels]
    neighbours = (-y * z, y * z, -z, z, -1, 1)
    open_ = at[other[at] == UNKNOWN]
    for _ in range(1, steps):
        label, found = flat[open_], np.full(len(open_), UNKNOWN, np.uint8)
        for shift in neighbours:
            there = open_ + shift
            source = other[there]
            take = (found == UNKNOWN) & (flat[there] == label) & (source != UNKNOWN)
            found[take] = source[take]
        other[open_] = found
        open_ = open_[found == UNKNOWN]
    result = other[at]
    result[result == UNKNOWN] = BACKGROUND
    return result


def _other_neighbours(padded: Labels) -> Labels:
    """The first other label among the six neighbours of each voxel, `UNKNOWN` without one; `padded` by one voxel."""
    inner = (slice(1, -1),) * 3
    label = padded[inner]
    found = np.full_like(label, UNKNOWN)
    for axis in range(3):
        for side in (slice(None, -2), slice(2, None)):
            beside = padded[tuple(side if one == axis else slice(1, -1) for one in range(3))]
            np.copyto(found, beside, where=(found == UNKNOWN) & (beside != label))
    return found


def _shapes(
    case: RepairedRoi, anatomy: Anatomy, voxels: Index, label: Labels, other: Labels
) -> tuple[npt.NDArray[np.bool_], Values, npt.NDArray[np.bool_]]:
    """Where the shapes have another label, the depth in the shapes, and where both labels have a shape."""
    count = len(voxels)
    nearest, best = np.zeros(count, np.uint8), np.full(count, -127, np.int16)
    own, rival = best.copy(), best.copy()
    known, step_mm = np.zeros(256, bool), 0.0
    known[BACKGROUND] = bool(case.refined)
    for name, one in case.refined.items():
        id, steps, step_mm = anatomy.by_name(name).id, one.steps.ravel()[voxels].astype(np.int16), one.step_mm
        known[id] = True
        better = steps > best
        best[better], nearest[better] = steps[better], id
        own = np.where(label == id, steps, own)
        rival = np.where(other == id, steps, rival)
    nearest[best <= 0] = BACKGROUND
    # The background is as deep at a voxel as the nearest structure is far.
    own, rival = np.where(label == BACKGROUND, -best, own), np.where(other == BACKGROUND, -best, rival)
    has_shape = known[label] & known[other]
    depth = np.where(has_shape, np.clip((own - rival) * (step_mm / 2), -CLIP_MM, CLIP_MM), 0)
    return (nearest != label) & has_shape, depth.astype(np.float32), has_shape


def _edges(case: RepairedRoi, anatomy: Anatomy, voxels: Index) -> tuple[Values, Values]:
    """Precision of the edge of the CT at each voxel, and the depth inside it times its precision."""
    precision, depth = np.zeros((2, case.repaired.size), np.float32)
    if case.image is None or not case.final:
        return precision[voxels], depth[voxels]
    by_id = {anatomy.by_name(name).id: one for name, one in case.final.items()}
    intensity = np.clip(np.asarray(case.image, np.float32), *HEART_WINDOW_HU)
    noise = noise_of(intensity, [one.steps > INNER_MM / one.step_mm for one in by_id.values()], case.spacing_mm)
    labels, values, spacing = case.repaired.ravel(), intensity.ravel(), np.asarray(case.spacing_mm, np.float32)
    for border in borders(by_id, EDGE_REACH_MM) if noise > 0 else ():
        at = border.voxels
        places = np.stack(np.unravel_index(at, case.repaired.shape), axis=1) * spacing
        edge = find_edge(border, values[at], places.astype(np.float32), noise, case.voxel_mm)
        side = np.where(labels[at] == border.high, 1, np.where(labels[at] == border.low, -1, 0))
        precision[at] = EDGE_VARIANCE_MM2 / (EDGE_VARIANCE_MM2 + edge.variance_mm2) * (side != 0)
        depth[at] = edge.distance_mm * side * precision[at]
    return precision[voxels], depth[voxels]


@dataclass(frozen=True, eq=False)
class _LocalSum:
    """Sums over a Gaussian neighbourhood of the voxels, computed in cells."""

    cells: Index
    shape: tuple[int, ...]

    @classmethod
    def of(cls, voxels: Index, shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> _LocalSum:
        places = np.unravel_index(voxels, shape)
        cells = tuple((at * (step / CELL_MM)).astype(np.intp) for at, step in zip(places, spacing_mm, strict=True))
        size = tuple(int(at.max(initial=0)) + 1 for at in cells)
        return cls(np.ravel_multi_index(cells, size), size)

    def __call__(self, mask: npt.NDArray[np.bool_]) -> Values:
        sums = np.bincount(self.cells, mask, minlength=int(np.prod(self.shape))).reshape(self.shape)
        smooth = gaussian_filter(sums, LOCAL_MM / CELL_MM, mode="constant", truncate=2.5)
        found: Values = smooth.ravel()[self.cells].astype(np.float32)
        return found
