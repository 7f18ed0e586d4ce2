"""Evaluation of the parts of the coronary arteries: the left and the right tree, and the named segments.

The trees of all maps are those of one map, the reference or the first one: a voxel of another map belongs to the tree
of the nearest voxel there. So a false branch counts for the tree that it is near to, and a wrong bridge for both.
Segments are compared by the names that all maps have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.coronaries.segment_map import coronary_structure, map_segments
from heartmend.coronaries.segments import Segment, Side
from heartmend.geometry.grid import Grid
from heartmend.metrics.case import MapName, Row, evaluate_case
from heartmend.metrics.metric_catalogue import Metric
from heartmend.types import BACKGROUND, Labels, Mask

SIDES = (Side.LEFT, Side.RIGHT)
_OF_THE_WHOLE = "_unexpected"
"""Metrics with this ending compare with the expected number of components of the whole structure."""


def evaluate_parts(
    maps: Mapping[MapName, Labels],
    grid: Grid,
    anatomy: Anatomy,
    names: Mapping[MapName, npt.NDArray[np.integer]],
    metrics: Sequence[Metric],
    case: str = "",
) -> list[Row]:
    """Compute the metrics of the parts of the coronary arteries of one case.

    Args:
        maps: label maps (x, y, z) `a`, `b` and perhaps `reference`, in the ids of the anatomy.
        grid: grid of all of them.
        anatomy: the structures.
        names: (x, y, z) `Segment` of each voxel, for the maps that have names.
        metrics: the metrics to compute.
        case: case id in the rows.

    Returns:
        Rows as of `evaluate_case`, with structures such as `Coronary left` and `Coronary LAD`; none where no map has
        coronary arteries, or their sides are unknown.
    """
    structure = coronary_structure(anatomy)
    if structure is None:
        return []
    master: MapName = "reference" if "reference" in maps else "a"
    chosen = [metric for metric in metrics if not metric.key.endswith(_OF_THE_WHOLE)]
    parts = dict[str, dict[MapName, Mask]]()
    sides = _sides(maps[master], grid, anatomy, structure, names.get(master))
    if sides is not None:
        of_maps = {which: _nearest_side(labels == structure.id, sides, grid) for which, labels in maps.items()}
        parts |= {side.label: {which: of_map == side for which, of_map in of_maps.items()} for side in SIDES}
    if names.keys() == maps.keys():
        parts |= {one.label: {which: named == one for which, named in names.items()} for one in Segment}
    rows = list[Row]()
    for part, masks in parts.items():
        reduced = {which: _reduced(maps[which], mask, structure, anatomy) for which, mask in masks.items()}
        found = evaluate_case(
            reduced["a"], reduced["b"], grid.spacing_mm, anatomy, reduced.get("reference"), case=case, metrics=chosen,
            structures=(structure.name,),
        )  # fmt: skip
        rows += [replace(row, structure=f"{structure.name} {part}") for row in found]
    return rows


def _sides(
    labels: Labels, grid: Grid, anatomy: Anatomy, structure: Structure, names: npt.NDArray[np.integer] | None
) -> Labels | None:
    """`Side` of each voxel (x, y, z), by the names of its segments or by position; None where neither is known."""
    if names is not None:
        mask, sides = labels == structure.id, np.zeros(labels.shape, np.uint8)
        for one in Segment:
            if one.tree != Side.UNKNOWN:
                sides[mask & (names == one)] = one.tree
        return sides if sides.any() else None
    found = map_segments(labels, grid, anatomy)
    return None if found is None or not found.sides.any() else found.sides


def _nearest_side(mask: Mask, sides: Labels, grid: Grid) -> Labels:
    """Side of each voxel of a mask (x, y, z): that of the nearest voxel with one."""
    found = np.where(mask, sides, Side.UNKNOWN).astype(np.uint8)
    missing = np.argwhere(mask & (found == Side.UNKNOWN))
    if len(missing):
        known = np.argwhere(sides != Side.UNKNOWN)
        nearest = known[cKDTree(known * grid.spacing_mm).query(missing * grid.spacing_mm)[1]]
        found[tuple(missing.T)] = sides[tuple(nearest.T)]
    return found


def _reduced(labels: Labels, part: Mask, structure: Structure, anatomy: Anatomy) -> Labels:
    """A part of a structure and the structures that it arises from."""
    hosts = [anatomy.by_name(name).id for name in structure.hosts]
    return np.where(part & (labels == structure.id) | np.isin(labels, hosts), labels, BACKGROUND).astype(np.uint8)
