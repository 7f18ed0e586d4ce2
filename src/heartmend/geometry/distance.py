"""Signed distance maps in millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from heartmend.geometry.boxes import EMPTY_BOX, Box, bounding_box, expand_box, margin_voxels, relative_box
from heartmend.geometry.components import without_small_components
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.geometry.local_field import LocalField
from heartmend.types import DistanceField, Labels, Mask

if TYPE_CHECKING:
    from heartmend.geometry.roi import Resolution, Roi

CLIP_MM = 8.0
"""Distances are clipped here: a larger one makes no difference, and one byte stores them."""
STEP_MM = CLIP_MM / 127
"""Step of a distance that is stored as int8."""
SMOOTH_VOXELS = 0.7
"""Standard deviation of the Gaussian that removes the corners of voxels from a distance."""


@dataclass(frozen=True, eq=False)
class DistanceMap:
    """Signed distances to the surface of one structure, positive inside, stored as int8.

    Attributes:
        steps: (x, y, z) int8, the distance in steps.
        step_mm: length of a step, in mm.

    Example:
        >>> import numpy as np
        >>> DistanceMap.of_mm(np.array([[[-0.5, 0.01, 100.0]]])).steps.tolist()
        [[[-8, 0, 127]]]
    """

    steps: npt.NDArray[np.int8]
    step_mm: float = STEP_MM

    @classmethod
    def of_mm(cls, distance_mm: npt.NDArray[np.floating], *, keep_inside: bool = False) -> DistanceMap:
        """Encode distances as a distance map.

        Args:
            distance_mm: (x, y, z) float, positive inside.
            keep_inside: store a distance that would round to 0 from above as one step, so a voxel that is just inside
                stays inside.

        Returns:
            The distances rounded to steps and clipped at `CLIP_MM`.
        """
        rounded = distance_mm / STEP_MM
        np.rint(rounded, out=rounded)
        np.clip(rounded, -127, 127, out=rounded)
        steps = rounded.astype(np.int8)
        if keep_inside:
            steps[(steps == 0) & (distance_mm > 0)] = 1
        return cls(steps)

    @classmethod
    def of_field(cls, field: LocalField, *, keep_inside: bool = False) -> DistanceMap:
        """Encode the distances of a box as a distance map of its volume.

        Args:
            field: the distances; outside its box the map has the lowest step.
            keep_inside: as of `of_mm`.

        Returns:
            The distances on the whole volume.
        """
        steps = np.full(field.shape, -127, dtype=np.int8)
        steps[field.box] = cls.of_mm(field.values, keep_inside=keep_inside).steps
        return cls(steps)

    @classmethod
    def of_mask(cls, mask: Mask, spacing_mm: Sequence[float]) -> DistanceMap:
        """Compute the distance map of a mask.

        Args:
            mask: (x, y, z) bool.
            spacing_mm: voxel spacing in mm along each axis.

        Returns:
            The signed distances (x, y, z).
        """
        return cls.of_mm(signed_distance_mm(mask, spacing_mm))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the map."""
        return self.steps.shape

    @property
    def inside(self) -> Mask:
        """(x, y, z) bool: the voxels inside the structure."""
        inside: Mask = self.steps > 0
        return inside

    @property
    def mm(self) -> DistanceField:
        """(x, y, z) float32: the distances in mm."""
        return self.steps.astype(np.float32) * np.float32(self.step_mm)


def distance_to_other_label_mm(labels: Labels | Mask, spacing_mm: Sequence[float]) -> npt.NDArray[np.float32]:
    """Compute the distance of each voxel to the nearest voxel of another label.

    One distance transform gives both sides of every surface; the transform of a mask and that of its complement give
    the same and take more than twice the time.

    Args:
        labels: (x, y, z) or (x, y), uint8 below 255, or a mask.
        spacing_mm: voxel spacing in mm along each axis.

    Returns:
        float32 in mm between the centres of voxels, of the shape of `labels`; infinite where there is no other label.

    Example:
        >>> import numpy as np
        >>> labels = np.array([0, 0, 3, 3, 3, 4], dtype=np.uint8).reshape(6, 1, 1)
        >>> distance_to_other_label_mm(labels, (2.0, 2.0, 2.0)).ravel().tolist()
        [4.0, 2.0, 2.0, 4.0, 2.0, 2.0]
    """
    # To edt, 0 is no label.
    numbered = np.ascontiguousarray(labels).view(np.uint8) + np.uint8(1)
    distance: npt.NDArray[np.float32] = distance_transform_mm(numbered, spacing_mm)
    return distance


def signed_distance_mm(mask: Mask, spacing_mm: Sequence[float], clip_mm: float = CLIP_MM) -> npt.NDArray[np.float32]:
    """Compute the signed distance to the boundary of a mask.

    The boundary is on the faces between voxels. The border of the volume is no boundary: a structure that leaves the
    field of view is not closed there.

    Args:
        mask: (x, y, z) bool.
        spacing_mm: voxel spacing in mm along each axis.
        clip_mm: distances are clipped at ± this value, in mm.

    Returns:
        (x, y, z) float32 in mm, positive inside.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((6, 1, 1), dtype=bool)
        >>> mask[:3] = True
        >>> signed_distance_mm(mask, (2.0, 2.0, 2.0)).ravel().tolist()
        [5.0, 3.0, 1.0, -1.0, -3.0, -5.0]
    """
    # Beyond the margin every distance is clipped, so only the mask's own box is evaluated.
    out = np.full(mask.shape, -clip_mm, dtype=np.float32)
    box = bounding_box(mask, [int(np.ceil(clip_mm / s)) + 2 for s in spacing_mm])
    if box is None:
        return out
    part = np.ascontiguousarray(mask[box])
    # The boundary is half a voxel before the centre of the nearest voxel on the other side.
    distance = distance_to_other_label_mm(part, spacing_mm) - min(spacing_mm) / 2
    np.minimum(distance, clip_mm, out=distance)
    out[box] = np.where(part, distance, -distance)
    return out


def smooth_distance_mm(mask: Mask, spacing_mm: Sequence[float]) -> npt.NDArray[np.float32]:
    """Compute the signed distance to the boundary of a mask without the corners of its voxels.

    Args:
        mask: (x, y, z) bool.
        spacing_mm: voxel spacing in mm along each axis.

    Returns:
        (x, y, z) float32 in mm, positive inside.
    """
    smooth: npt.NDArray[np.float32] = gaussian_filter(signed_distance_mm(mask, spacing_mm), SMOOTH_VOXELS)
    return smooth


def unit_frame_distance_mm(source: Labels, roi: Roi, resolution: Resolution, id: int) -> npt.NDArray[np.float32]:
    """Compute the signed distance to one structure at the cells of the unit frame, without its small components.

    It is computed on the voxels of the source and then interpolated: from resampled labels the surface would be known
    to half a cell only.

    Args:
        source: (bx, by, bz) uint8 labels of `roi.source_box()`.
        roi: the region of interest.
        resolution: number of cells per axis.
        id: the structure's id.

    Returns:
        (nx, ny, nz) float32 in mm, positive inside.
    """
    mask = source == id
    box = bounding_box(mask) or EMPTY_BOX
    return mask_distance_in_unit_frame_mm(without_small_components(mask[box]), box, roi, resolution)


def mask_distance_in_unit_frame_mm(mask: Mask, box: Box, roi: Roi, resolution: Resolution) -> npt.NDArray[np.float32]:
    """Compute the signed distance to the boundary of a mask at the cells of the unit frame.

    Args:
        mask: (x, y, z) bool, the mask in its box; beside it nothing belongs to it.
        box: the box, in indices of `roi.source_box()`.
        roi: the region of interest.
        resolution: number of cells per axis.

    Returns:
        (nx, ny, nz) float32 in mm, positive inside.
    """
    if not mask.size:
        return roi.resample_field(np.empty(mask.shape, np.float32), resolution, box, -CLIP_MM)
    spacing, shape = roi.grid.spacing_mm, tuple(side.stop - side.start for side in roi.source_box())
    reach = expand_box(box, margin_voxels(CLIP_MM, spacing), shape)
    within = np.zeros(tuple(side.stop - side.start for side in reach), dtype=bool)
    within[relative_box(box, reach)] = mask
    return roi.resample_field(signed_distance_mm(within, spacing), resolution, reach, -CLIP_MM)
