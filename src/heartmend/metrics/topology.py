"""What holds together: pieces, holes, and the agreement of centrelines."""

from __future__ import annotations

import cc3d
import fill_voids
import numpy as np
from skimage.morphology import skeletonize

from heartmend.metrics.crop import Mask, crop_to_union


def pieces(mask: Mask) -> int:
    """Number of pieces that do not touch, not even by a corner (26-connectivity)."""
    (mask,) = crop_to_union(mask)
    _, count = cc3d.connected_components(mask, connectivity=26, return_N=True)
    return int(count)


def holes(mask: Mask) -> int:
    """Number of cavities: outside voxels, joined by faces, that no path by faces leads out of."""
    (mask,) = crop_to_union(mask)
    filled = fill_voids.fill(mask)
    _, count = cc3d.connected_components(filled & ~mask, connectivity=6, return_N=True)
    return int(count)


def cldice(a: Mask, b: Mask) -> float:
    """Centreline Dice (Shit et al. 2021): each mask's skeleton inside the other; 1 for two empty masks."""
    a, b = crop_to_union(a, b)
    if not a.any() and not b.any():
        return 1.0
    line_a, line_b = skeletonize(a), skeletonize(b)
    precision = _count(line_a & b) / max(_count(line_a), 1)
    recall = _count(line_b & a) / max(_count(line_b), 1)
    return 2 * precision * recall / max(precision + recall, 1e-9)


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))
