"""Skeletons of masks."""

from __future__ import annotations

import numpy as np
from skimage.morphology import skeletonize

from heartmend.geometry.components import label_components
from heartmend.types import Mask


def extract_skeleton(mask: Mask) -> Mask:
    """Extract the skeleton of a mask (thinning: Lee et al. 1994).

    Every connected component keeps at least one voxel: the thinning can remove a small block of even width, then the
    voxel nearest to its centre is its skeleton.

    Args:
        mask: (x, y, z) bool.

    Returns:
        The skeleton (x, y, z) bool, a part of the mask.

    Example:
        >>> import numpy as np
        >>> rod = np.zeros((9, 5, 5), dtype=bool)
        >>> rod[1:8, 1:4, 1:4] = True
        >>> np.unique(np.argwhere(extract_skeleton(rod))[:, 1:]).tolist()
        [2]
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
    return skeleton
