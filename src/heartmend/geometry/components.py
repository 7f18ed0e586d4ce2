"""Connected components of a mask."""

from __future__ import annotations

import cc3d
import numpy as np

from heartmend.types import Mask

SMALL_COMPONENT_SHARE = 0.04
"""A piece smaller than this share of its structure's largest says nothing about the shape."""


def without_small_components(mask: Mask, share: float = SMALL_COMPONENT_SHARE) -> Mask:
    """The mask without the pieces (26 neighbours) that are smaller than `share` of its largest piece.

    Parts of a vessel that was cut stay: what they have lost is the gap, not themselves.
    """
    components, count = cc3d.connected_components(mask, connectivity=26, return_N=True)
    if count < 2:
        return mask
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    kept: Mask = (sizes >= share * sizes.max())[components]
    return kept
