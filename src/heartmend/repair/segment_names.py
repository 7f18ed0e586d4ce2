"""Names of coronary segments in a repaired case: by position, or those that the input has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.coronaries.segment_map import SegmentMap, coronary_structure, map_segments
from heartmend.coronaries.segments import PRESET, Segment
from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.grid import Grid
from heartmend.io.label_meaning import LabelMeaning
from heartmend.types import Labels

DOUBTFUL = 0.5
"""Segments of a lower confidence need a look."""


def has_segment_names(meaning: LabelMeaning | None, anatomy: Anatomy) -> bool:
    """Check whether the values of a label map are the segments of ImageCAS-X.

    Args:
        meaning: which structure each of its values is; None for an array without a file.
        anatomy: the structures.

    Returns:
        True if all of them are coronary arteries, as with `--preset-ids imagecas-x`.
    """
    structure = coronary_structure(anatomy)
    return meaning is not None and structure is not None and meaning.has_preset(structure.id, PRESET)


def name_case_segments(
    labels: Labels, grid: Grid, anatomy: Anatomy, given: npt.NDArray[np.integer] | None = None
) -> tuple[Labels, SegmentMap | None]:
    """Name the coronary segments of a case.

    Args:
        labels: (x, y, z) uint8, the repaired label map.
        grid: where the voxels are.
        anatomy: the structures.
        given: (x, y, z), the values of the repaired file, where they are names of segments.

    Returns:
        (x, y, z) uint8 with the ids of ImageCAS-X, and the segments in the box around the heart; None and no segment
        where nothing is known about them.
    """
    values = np.zeros(labels.shape, np.uint8)
    box = bounding_box(labels)
    if box is None:
        return values, None
    structure = coronary_structure(anatomy)
    known = None
    if given is not None and structure is not None:
        known = np.where((labels[box] == structure.id) & (given[box] <= max(Segment)), given[box], 0)
    found = map_segments(np.ascontiguousarray(labels[box]), grid.crop(box), anatomy, known)
    if found is not None:
        values[box] = found.values
    return values, found
