"""Straightened vessels of a case: one picture of its named coronary arteries, in the CT."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from heartmend.anatomy.schema import Anatomy
from heartmend.coronaries.segment_map import coronary_structure, map_segments
from heartmend.coronaries.segments import Segment
from heartmend.figures.straightened import StraightVessel, straightened_figure
from heartmend.geometry.centrelines.vessel_paths import find_vessel_paths
from heartmend.geometry.curves import FramedCurve
from heartmend.geometry.grid import Grid
from heartmend.io.label_maps import LabelVolume
from heartmend.types import Labels

MOST = 6
"""Vessels that are shown; the longest ones."""
LEAST_SHARE = 0.05
"""A segment with a smaller share of a vessel is not in its name."""


def draw_vessels(
    before: LabelVolume, after: LabelVolume, image: npt.NDArray[np.generic], anatomy: Anatomy, title: str
) -> Figure | None:
    """Draw the straightened coronary arteries of a case.

    Args:
        before: the original label map.
        after: the repaired one, on the same grid.
        image: (x, y, z) CT in HU on the same voxels.
        anatomy: the structures.
        title: title of the figure.

    Returns:
        The figure; None where there are no coronary arteries, or none of at least 15 mm.
    """
    structure = coronary_structure(anatomy)
    if structure is None:
        return None
    grid, mask = after.grid, after.labels == structure.id
    origin = np.zeros_like(mask)
    if structure.root in anatomy.names:
        origin = after.labels == anatomy.by_name(structure.root).id
    paths = find_vessel_paths(mask, grid, origin)
    if not paths:
        return None
    found = map_segments(after.labels, grid, anatomy)
    vessels = named_paths(paths, None if found is None else found.values, grid)
    return straightened_figure(vessels[:MOST], before.labels == structure.id, mask, grid, image, title)


def named_paths(paths: list[FramedCurve], segments: Labels | None, grid: Grid) -> list[StraightVessel]:
    """Name vessels by the segments that they run through, such as "LM > LAD".

    Args:
        paths: the vessels, each from the origin of its tree to a tip, the longest first.
        segments: (x, y, z) uint8, `Segment` of each voxel; None where they are unknown.
        grid: where the voxels are.

    Returns:
        The vessels; of several with the same last third the longest. Without segments they are numbered.
    """
    if segments is None:
        return [StraightVessel(f"vessel {number}", path) for number, path in enumerate(paths, start=1)]
    vessels = dict[int, StraightVessel]()
    for path in paths:
        index = np.clip(np.rint(grid.world_to_index(path.points_mm)).astype(int), 0, np.array(segments.shape) - 1)
        values = segments[tuple(index.T)]
        share = np.bincount(values, minlength=max(Segment) + 1) / len(values)
        through = [one for one in dict.fromkeys(values.tolist()) if one > 0 and share[one] >= LEAST_SHARE]
        name = " > ".join(Segment(one).label for one in through) or "vessel"
        last = int(np.bincount(values[-max(len(values) // 3, 1) :]).argmax())
        vessels.setdefault(last, StraightVessel(name, path))
    return list(vessels.values())
