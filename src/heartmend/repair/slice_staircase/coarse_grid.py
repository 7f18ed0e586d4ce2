"""Repair of a label map that was made on a coarser grid: one interpolation in three dimensions.

A network that predicts at 2 mm gives a map with staircases along all axes. Interpolation along one axis after the other
treats the corners that the first one leaves as if they had been drawn. Here the coarse voxels are recovered, and the
signed distances of each structure on the coarse grid are interpolated once, along all axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.distance import signed_distance_mm
from heartmend.geometry.interpolation import block_means_along, interpolate_along
from heartmend.geometry.masks import mask_of_ids
from heartmend.repair.slice_staircase.detection import SliceStaircase
from heartmend.repair.slice_staircase.interpolation import volume_offset_mm
from heartmend.types import BACKGROUND, Labels, Mask

SMOOTHING = 0.5
"""Width of the filter of the distances, in coarse voxels along the axes with a staircase. A coarse voxel says where a
border is to half of its size only, so the corners of its distances are not measured."""
MARGIN = 2
"""Coarse voxels about a structure that are interpolated too."""


def without_coarse_grid(
    labels: Labels, staircases: Sequence[SliceStaircase], spacing_mm: Sequence[float], ids: Sequence[int]
) -> Labels:
    """Interpolate structures between the voxels of the coarser grid that they were made on.

    A coarse voxel has a structure if more than half of its voxels have it. A voxel gets the structure with the largest
    interpolated signed distance. A constant is added to the distances of a structure, so that its volume stays.

    Args:
        labels: (x, y, z) uint8; it is not changed.
        staircases: staircases of the map, along two or three axes.
        spacing_mm: voxel spacing.
        ids: ids of the structures to interpolate; others stay as they are.

    Returns:
        The interpolated label map (x, y, z) uint8.
    """
    by_axis = {staircase.axis: staircase for staircase in staircases}
    axes = [
        _CoarseAxis.of(by_axis.get(axis), count, spacing)
        for axis, (count, spacing) in enumerate(zip(labels.shape, spacing_mm, strict=True))
    ]
    deepest = np.zeros(labels.shape, dtype=np.float32)
    is_free = mask_of_ids(labels, [BACKGROUND, *ids])
    result = labels.copy(order="K")
    result[is_free] = BACKGROUND
    for id in ids:
        mask = labels == id
        box = bounding_box(mask)
        if box is None:
            continue
        window = [axis.around(side, MARGIN) for axis, side in zip(axes, box, strict=True)]
        fine = tuple(axis.voxels for axis in window)
        depth_mm = _interpolated_depth_mm(mask[fine], window)
        wins = (depth_mm > deepest[fine]) & is_free[fine]
        deepest[fine][wins] = depth_mm[wins]
        result[fine][wins] = id
    return result


@dataclass(frozen=True, eq=False)
class _CoarseAxis:
    """Blocks of voxels along one axis; without a staircase each voxel is a block.

    Attributes:
        starts: first voxel of each block.
        stop: voxel after the last block.
        centres: position of the centre of each block, in voxels.
        spacing_mm: length of a block.
        is_coarse: whether there is a staircase.
    """

    starts: npt.NDArray[np.int64]
    stop: int
    centres: npt.NDArray[np.float64]
    spacing_mm: float
    is_coarse: bool

    @classmethod
    def of(cls, staircase: SliceStaircase | None, count: int, spacing_mm: float) -> _CoarseAxis:
        """List the blocks along an axis of `count` voxels."""
        if staircase is None:
            return cls(np.arange(count), count, np.arange(count, dtype=float), spacing_mm, is_coarse=False)
        starts = np.array([start for start, _, _ in staircase.blocks(count)])
        number = np.floor((starts - staircase.offset) / staircase.thickness + 1e-9)
        first = staircase.offset + number * staircase.thickness
        # Of the positions that give the same blocks of voxels, the middle one: a block of the voxels 2 and 3 is at 2.5.
        is_whole = float(staircase.thickness).is_integer()
        centres = first + (staircase.thickness - is_whole) / 2
        return cls(starts, count, centres, staircase.thickness * spacing_mm, is_coarse=True)

    @property
    def voxels(self) -> slice:
        """The voxels of all blocks."""
        return slice(int(self.starts[0]), self.stop)

    def around(self, side: slice, margin: int) -> _CoarseAxis:
        """Take the blocks that cover some voxels, and `margin` more on either side."""
        first = max(int(np.searchsorted(self.starts, side.start, side="right")) - 1 - margin, 0)
        last = min(int(np.searchsorted(self.starts, side.stop - 1, side="right")) - 1 + margin, len(self.starts) - 1)
        stop = self.stop if last + 1 == len(self.starts) else int(self.starts[last + 1])
        part = slice(first, last + 1)
        return _CoarseAxis(self.starts[part], stop, self.centres[part], self.spacing_mm, self.is_coarse)


def _interpolated_depth_mm(mask: Mask, axes: Sequence[_CoarseAxis]) -> npt.NDArray[np.float32]:
    """Interpolate the signed distance of a structure, positive inside, from the blocks of `axes` to their voxels."""
    share = mask.astype(np.float32)
    for number, axis in enumerate(axes):
        share = block_means_along(share, axis.starts - axis.starts[0], number)
    coarse = share > 0.5
    sharp_mm = signed_distance_mm(coarse, [axis.spacing_mm for axis in axes])
    depth_mm: npt.NDArray[np.float32] = gaussian_filter(
        sharp_mm, [SMOOTHING if axis.is_coarse else 0 for axis in axes], mode="nearest"
    )
    for number, axis in enumerate(axes):
        if axis.is_coarse:
            voxels = np.arange(axis.starts[0], axis.stop)
            position = np.interp(voxels, axis.centres, np.arange(len(axis.centres)))
            depth_mm = interpolate_along(depth_mm, position, number)
    finest_mm = min(axis.spacing_mm for axis in axes)
    return depth_mm + volume_offset_mm(depth_mm, int(mask.sum()), finest_mm / 2)
