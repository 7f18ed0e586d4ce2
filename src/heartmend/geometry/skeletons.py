"""Skeletons of masks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from skimage.graph import MCP_Geometric
from skimage.morphology import skeletonize

from heartmend.geometry.components import label_components
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.types import Mask

_RADII, _VOXELS = 2.0, 4.0
"""A voxel farther from the skeleton than so many radii and voxels is in a stretch that the thinning has lost."""

IntArray = npt.NDArray[np.intp]


def extract_skeleton(mask: Mask) -> Mask:
    """Extract the skeleton of a mask (thinning: Lee et al. 1994).

    The thinning deletes a stretch of even width from its end on, up to the whole component, because it examines the
    ends of a line before it deletes voxels, not while it does. Such a stretch gets the path along its middle. Every
    connected component has at least one voxel: that nearest to its centre where it has no stretch.

    Args:
        mask: (x, y, z) bool.

    Returns:
        The skeleton (x, y, z) bool, a part of the mask.

    Example:
        A rod of odd and one of even width:

        >>> import numpy as np
        >>> rods = np.zeros((22, 12, 6), dtype=bool)
        >>> rods[1:20, 1:4, 1:4] = rods[1:20, 6:10, 1:5] = True
        >>> line = np.argwhere(extract_skeleton(rods))
        >>> int(np.ptp(line[line[:, 1] < 5, 0])), int(np.ptp(line[line[:, 1] > 5, 0])) >= 14
        (16, True)
    """
    if not mask.any():
        return mask
    skeleton: Mask = skeletonize(mask).astype(bool) & mask
    components, sizes = label_components(mask)
    found = np.bincount(components[skeleton], minlength=len(sizes)) > 0
    for lost in np.flatnonzero(~found[1:]) + 1:
        voxels = np.argwhere(components == lost)
        centre = voxels[np.argmin(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1))]
        skeleton[tuple(centre)] = True
    return _with_lost_stretches(skeleton, mask)


def _with_lost_stretches(skeleton: Mask, mask: Mask) -> Mask:
    """The skeleton with the middle of the stretches of a mask that it does not reach."""
    voxels, line = np.argwhere(mask), np.argwhere(skeleton)
    away, nearest = cKDTree(line).query(voxels)
    far = away > _RADII + _VOXELS  # no radius is below one voxel
    if not far.any():
        return skeleton
    depth = distance_transform_mm(mask, (1.0, 1.0, 1.0), closed=True)
    far[far] = away[far] > _RADII * depth[tuple(line[nearest[far]].T)] + _VOXELS
    voxels, away = voxels[far], away[far]
    skeleton = skeleton.copy()
    while len(voxels):
        farthest = int(np.argmax(away))
        path = _path_to_skeleton(voxels[farthest], skeleton, depth)
        skeleton[tuple(path.T)] = True
        near, nearest = cKDTree(path).query(voxels)
        left = near > _RADII * depth[tuple(path[nearest].T)] + _VOXELS
        left[farthest] = False
        voxels, away = voxels[left], np.minimum(away, near)[left]
    return skeleton


def _path_to_skeleton(start: IntArray, skeleton: Mask, depth: npt.NDArray[np.float32]) -> IntArray:
    """Indices (k, 3) of the path from a voxel, less one radius, along the middle of the mask to the skeleton."""
    margin = 16
    while True:
        low = np.maximum(start - margin, 0)
        box = tuple(slice(a, b) for a, b in zip(low, start + margin + 1, strict=True))
        inner = depth[box]
        # A negative cost excludes a voxel.
        route = MCP_Geometric(np.where(inner > 0, 1 / np.maximum(inner, 0.5) ** 2, -1.0))
        ends = np.argwhere(skeleton[box])
        if len(ends):
            costs, _ = route.find_costs([tuple(start - low)], ends.tolist(), find_all_ends=False)
            at_ends = costs[tuple(ends.T)]
            if np.isfinite(at_ends).any():
                path = np.array(route.traceback(tuple(ends[np.argmin(at_ends)].tolist())), np.intp) + low
                is_inner = np.linalg.norm(path - start, axis=1) >= depth[tuple(path.T)]
                return path[int(np.argmax(is_inner)) :]
        margin *= 2
