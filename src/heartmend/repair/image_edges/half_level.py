"""Surfaces of vessels and appendages moved to where the CT is half-way between their level and that of what is around.

The movement to the edges of a CT assumes that the mean level along a border is right, so it leaves a vessel that is too
narrow all around as it is. Half-way between the level well inside and the one beside the vessel is its true surface,
also with blur and partial volume, if it is wider than the blur.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from heartmend.geometry.boxes import Spacing, bounding_box
from heartmend.geometry.distance import smooth_distance_mm
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.io.hounsfield import HEART_WINDOW_HU
from heartmend.types import BACKGROUND, Labels

REACH_MM = 1.5
"""Largest movement of a surface."""
SMOOTH_MM = 0.4
"""Standard deviation of the Gaussian that lowers the noise of the CT."""
INNER_MM, INNER_SHARE = 1.5, 0.3
"""The level of a structure is measured at this depth and deeper, or in this deepest share of a thin one."""
BESIDE_MM = (1.5, 3.0)
"""The level of what is around is measured in the background at these distances from the surface."""
MIN_STEP_HU, MIN_VOXELS = 80.0, 50
"""A smaller step, or one that is measured in fewer voxels, moves nothing."""


def move_to_half_level(
    labels: Labels, image: npt.NDArray[np.generic], spacing_mm: Spacing, ids: Sequence[int]
) -> Labels:
    """Move the surfaces of some structures beside the background to the half level of the CT.

    Borders with other structures stay.

    Args:
        labels: (x, y, z) uint8.
        image: (x, y, z) CT in HU on the same voxels.
        spacing_mm: voxel spacing.
        ids: ids of the structures.

    Returns:
        (x, y, z) uint8.
    """
    result = labels.copy(order="K")
    margin = [math.ceil((BESIDE_MM[1] + 1) / step) for step in spacing_mm]
    for id in ids:
        box = bounding_box(labels == id, margin)
        if box is None:
            continue
        around, values = labels[box], np.clip(np.asarray(image[box], np.float32), *HEART_WINDOW_HU)
        own, background = around == id, around == BACKGROUND
        depth_mm = smooth_distance_mm(own, spacing_mm)
        inner = own & (depth_mm >= min(INNER_MM, float(np.quantile(depth_mm[own], 1 - INNER_SHARE))))
        beside = background & (depth_mm < -BESIDE_MM[0]) & (depth_mm > -BESIDE_MM[1])
        if min(np.count_nonzero(inner), np.count_nonzero(beside)) < MIN_VOXELS:
            continue
        level, other = float(np.median(values[inner])), float(np.median(values[beside]))
        if abs(level - other) < MIN_STEP_HU:
            continue
        smooth = gaussian_filter(values, [SMOOTH_MM / step for step in spacing_mm])
        is_own = (smooth - (level + other) / 2) * np.sign(level - other) > 0
        near = np.abs(depth_mm) < REACH_MM
        # Outside the surface, and inside it where the background is near.
        result[box][near & background & is_own & (result[box] == BACKGROUND)] = id
        at_background = distance_transform_mm(~background, spacing_mm) < REACH_MM
        result[box][near & own & ~is_own & at_background] = BACKGROUND
    return result
