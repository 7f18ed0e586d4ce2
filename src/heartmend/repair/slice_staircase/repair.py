"""Repair of slice staircases: along one axis between drawn slices, along several axes from the coarser grid."""

from __future__ import annotations

from collections.abc import Sequence

from heartmend.repair.slice_staircase.coarse_grid import without_coarse_grid
from heartmend.repair.slice_staircase.detection import SliceStaircase
from heartmend.repair.slice_staircase.interpolation import without_slice_staircase
from heartmend.types import Labels


def without_slice_staircases(
    labels: Labels, staircases: Sequence[SliceStaircase], spacing_mm: Sequence[float], ids: Sequence[int]
) -> Labels:
    """Repair the slice staircases of a label map.

    Args:
        labels: (x, y, z) uint8; it is not changed.
        staircases: at most one staircase for each axis.
        spacing_mm: voxel spacing.
        ids: ids of the structures to interpolate; others stay as they are.

    Returns:
        The label map (x, y, z) uint8 without staircases.
    """
    if len(staircases) > 1:
        return without_coarse_grid(labels, staircases, spacing_mm, ids)
    for staircase in staircases:
        labels = without_slice_staircase(labels, staircase, spacing_mm, ids)
    return labels
