"""One structure of one label map, cropped to a box, with the derived arrays that several metrics share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from heartmend.geometry.boxes import bounding_box, join_boxes
from heartmend.geometry.centrelines.measurement import measure_tree
from heartmend.geometry.centrelines.tree import CentreTree
from heartmend.geometry.skeletons import extract_skeleton
from heartmend.metrics.topology import BettiNumbers, betti_numbers
from heartmend.types import FloatArray, Mask


@dataclass(frozen=True, eq=False)
class Segment:
    """Mask of one structure with its voxel spacing. Derived arrays are computed once, when they are first used.

    Attributes:
        mask: boolean array (x, y, z); outside the array is background.
        spacing_mm: voxel size along x, y and z in mm.
        volume_shape: voxels along x, y and z of the volume that the mask was cropped from; None: the mask is not
            cropped.
    """

    mask: Mask
    spacing_mm: tuple[float, float, float]
    volume_shape: tuple[int, ...] | None = None

    @cached_property
    def voxels(self) -> int:
        """Number of voxels."""
        return int(np.count_nonzero(self.mask))

    @property
    def volume_mm3(self) -> float:
        """Volume in mm³."""
        return self.voxels * float(np.prod(self.spacing_mm))

    @property
    def field_of_view_mm(self) -> float:
        """Diagonal of the volume in mm: more than the distance of any two voxel centres in it."""
        shape = self.mask.shape if self.volume_shape is None else self.volume_shape
        return float(np.linalg.norm(np.multiply(shape, self.spacing_mm)))

    @cached_property
    def surface(self) -> Mask:
        """Surface voxels: those with a face on the outside."""
        return surface_voxels(self.mask)

    @cached_property
    def surface_tree(self) -> cKDTree:
        """Search tree of the centres of the surface voxels, in mm."""
        # On points of a lattice the plain midpoint tree is built twice as fast and queried 1.5 times as fast.
        return cKDTree(points_mm(self.surface, self.spacing_mm), balanced_tree=False, compact_nodes=False)

    @cached_property
    def centreline(self) -> Mask:
        """Skeleton, a boolean array of the mask's shape."""
        return extract_skeleton(self.mask)

    @cached_property
    def tree(self) -> CentreTree:
        """Centreline with its radius, without spurs, for vessels; in mm from the centre of the array's first voxel."""
        return measure_tree(self.mask, self.spacing_mm)

    @cached_property
    def betti(self) -> BettiNumbers:
        """Numbers of components, tunnels and cavities."""
        return betti_numbers(self.mask)


def segments(masks: Sequence[Mask], spacing_mm: Sequence[float]) -> list[Segment]:
    """Crop masks to their common bounding box.

    Args:
        masks: boolean arrays (x, y, z) of one shape.
        spacing_mm: voxel size along x, y and z in mm.

    Returns:
        One segment for each mask, all of one shape; not cropped if all masks are empty.
    """
    x, y, z = (float(s) for s in spacing_mm)
    boxes = [box for mask in masks if (box := bounding_box(mask)) is not None]
    cropped = [np.ascontiguousarray(mask[join_boxes(boxes)]) for mask in masks] if boxes else masks
    return [Segment(mask, (x, y, z), whole.shape) for mask, whole in zip(cropped, masks, strict=True)]


def surface_voxels(mask: Mask) -> Mask:
    """Find the surface voxels of a mask: those with a face on the outside.

    Args:
        mask: boolean array (x, y, z); the border of the array is outside.

    Returns:
        A boolean array of the same shape.

    Example:
        >>> import numpy as np
        >>> int(surface_voxels(np.ones((3, 3, 3), bool)).sum())
        26
    """
    wide = np.pad(mask, 1)
    inner = wide[2:, 1:-1, 1:-1] & wide[:-2, 1:-1, 1:-1]
    inner &= wide[1:-1, 2:, 1:-1]
    inner &= wide[1:-1, :-2, 1:-1]
    inner &= wide[1:-1, 1:-1, 2:]
    inner &= wide[1:-1, 1:-1, :-2]
    return mask & ~inner


def points_mm(mask: Mask, spacing_mm: Sequence[float]) -> FloatArray:
    """Compute the centres of a mask's voxels.

    Args:
        mask: boolean array (x, y, z).
        spacing_mm: voxel size along x, y and z in mm.

    Returns:
        float64 array (voxel, 3) in mm from the centre of the array's first voxel, in the order of the array.
    """
    points: FloatArray = np.argwhere(mask).astype(np.float64)
    points *= np.asarray(spacing_mm, dtype=np.float64)
    return points
