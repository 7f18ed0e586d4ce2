"""Connected components of a mask."""

from __future__ import annotations

import cc3d
import numpy as np

from heartmend.types import Mask

CRUMB_SHARE = 0.04
"""A piece smaller than this share of its structure's largest says nothing about the shape."""


def without_crumbs(mask: Mask, share: float = CRUMB_SHARE) -> Mask:
    """The mask without the pieces (26 neighbours) that are smaller than `share` of its largest piece.

    Parts of a vessel that was cut stay: what they have lost is the gap, not themselves.
    """
    pieces, count = cc3d.connected_components(mask, connectivity=26, return_N=True)
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    kept: Mask = (sizes >= share * sizes.max())[pieces]
    return kept
