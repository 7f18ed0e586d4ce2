"""Label map of the segments of the coronary arteries, from the labels of a heart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.coronaries.naming import NamedTree, name_segments
from heartmend.coronaries.segments import NamedSegment, Segment, Side
from heartmend.coronaries.surroundings import AORTA, CoronarySurroundings
from heartmend.geometry.centrelines.measurement import measure_tree
from heartmend.geometry.centrelines.tree import CentreTree, voxel_points
from heartmend.geometry.grid import Grid
from heartmend.types import Labels, Mask

_NEAREST = 8
"""Centreline points that a voxel is compared with."""
GIVEN = 1.0
"""Confidence of a name that the input has."""


@dataclass(frozen=True)
class SegmentRecord:
    """Segment of a case, for its change log.

    Attributes:
        structure: name of the structure that it is a part of.
        segment: name of the segment, as in ImageCAS-X.
        id: its value in the label map of the segments.
        side: left or right tree; `unknown` where neither is known.
        voxels: number of its voxels.
        length_mm: length of its centreline.
        confidence: 0 to 1.
    """

    structure: str
    segment: str
    id: int
    side: str
    voxels: int
    length_mm: float
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """Convert the record for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """Convert back from `to_dict`."""
        return cls(**table)


@dataclass(frozen=True, eq=False)
class SegmentMap:
    """Segments of the coronary arteries of a case.

    Attributes:
        values: (x, y, z) uint8, `Segment` of each voxel, 0 outside the coronary arteries.
        sides: (x, y, z) uint8, `Side` of each voxel.
        grid: where the voxels are.
        named: the centrelines with their names, in mm on the voxel axes.
        records: one for each segment.
    """

    values: Labels
    sides: Labels
    grid: Grid
    named: NamedTree
    records: tuple[SegmentRecord, ...]


def coronary_structure(anatomy: Anatomy) -> Structure | None:
    """Find the structure that is the coronary arteries: the thin vessel with its root at the aorta.

    Args:
        anatomy: the structures.

    Returns:
        The structure; None where there is none.
    """
    found = [one for one in anatomy.structures if one.kind == "tube" and one.root == AORTA]
    return found[0] if len(found) == 1 else None


def map_segments(
    labels: Labels, grid: Grid, anatomy: Anatomy, given: npt.NDArray[np.integer] | None = None
) -> SegmentMap | None:
    """Name the segments of the coronary arteries in a label map.

    Args:
        labels: (x, y, z) uint8, ids of the anatomy.
        grid: where the voxels are.
        anatomy: the structures; those of the built-in heart are the surroundings.
        given: (x, y, z) `Segment` of voxels whose name is known, else 0.

    Returns:
        The segments; None where there are no coronary arteries, or neither a given name nor the aorta and all four
        chambers.
    """
    structure = coronary_structure(anatomy)
    mask = labels == structure.id if structure is not None else np.zeros(0, bool)
    if structure is None or not mask.any():
        return None
    masks = {one.name: labels == one.id for one in anatomy.structures if one.kind != "tube"}
    surroundings = CoronarySurroundings.of(masks, grid)
    if surroundings is None and (given is None or not given[mask].any()):
        return None
    tree = measure_tree(mask, grid.spacing_mm)
    named = NamedTree.unnamed(tree) if surroundings is None else name_segments(tree, surroundings)
    if given is not None and given[mask].any():
        named = _with_given(named, given, mask, grid)
    values, sides = np.zeros(labels.shape, np.uint8), np.zeros(labels.shape, np.uint8)
    if len(tree):
        owner = nearest_points(tree, voxel_points(mask, grid.spacing_mm))
        values[mask], sides[mask] = named.segment[owner], named.side[owner]
    if given is not None:
        values = np.where(mask & (given > 0), given, values).astype(np.uint8)
    return SegmentMap(values, sides, grid, named, _records(structure.name, named, values, sides))


def nearest_points(tree: CentreTree, points_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Find the centreline point that each position belongs to.

    Of two vessels beside each other the thicker one reaches farther, so a position belongs to the point with the
    smallest squared distance minus squared radius.

    Args:
        tree: the centrelines, not empty.
        points_mm: (k, 3) positions.

    Returns:
        (k,) indices.
    """
    away, nearest = cKDTree(tree.points_mm).query(points_mm, k=min(_NEAREST, len(tree)))
    away, nearest = away.reshape(len(points_mm), -1), nearest.reshape(len(points_mm), -1)
    best = np.argmin(away**2 - tree.radius_mm[nearest] ** 2, axis=1)
    return np.asarray(nearest[np.arange(len(points_mm)), best], np.intp)


def _with_given(named: NamedTree, given: npt.NDArray[np.integer], mask: Mask, grid: Grid) -> NamedTree:
    """The centrelines with the names of the given voxels around them, where there are any."""
    known = mask & (given > 0)
    owner = nearest_points(named.tree, voxel_points(known, grid.spacing_mm))
    votes = np.zeros((len(named.tree), max(Segment) + 1))
    np.add.at(votes, (owner, np.minimum(given[known], max(Segment))), 1)
    voted = votes.any(axis=1)
    segment, confidence, side = named.segment.copy(), named.confidence.copy(), named.side.copy()
    segment[voted], confidence[voted] = votes[voted].argmax(axis=1), GIVEN
    for one in Segment:
        if one.tree != Side.UNKNOWN:
            side[voted & (segment == one)] = one.tree
    return replace(named, side=side, segment=segment, confidence=confidence)


def _records(structure: str, named: NamedTree, values: Labels, sides: Labels) -> tuple[SegmentRecord, ...]:
    def record(one: NamedSegment) -> SegmentRecord:
        voxels = int(np.count_nonzero((values == one.segment) & (sides == one.side)))
        length_mm, confidence = round(one.length_mm, 1), round(one.confidence, 2)
        return SegmentRecord(
            structure, one.segment.label, int(one.segment), one.side.label, voxels, length_mm, confidence
        )

    return tuple(record(one) for one in named.segments())
