"""Recognition of tubes: parts of a mask that are long, thin and of an even width, such as a vessel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from skimage.graph import MCP_Geometric

from heartmend.geometry.boxes import Spacing
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.types import Mask

MIN_LENGTH_MM = 25.0
"""Shortest tube."""
MIN_SLENDERNESS = 15.0
"""Least length of a tube, in radii of its widest place."""
MAX_FILL = 1.4
"""Largest volume of a tube, as a share of a cylinder of its length and of the radius of its widest place. A sheet has
several times as much, a rod with a square cross-section 1.27."""


class Elongation(NamedTuple):
    """Length and width of a connected part.

    Attributes:
        length_mm: length of the way inside the part between two of its ends.
        radius_mm: radius of its widest place, to the centre of the nearest voxel outside.
        volume_mm3: its volume.
    """

    length_mm: float
    radius_mm: float
    volume_mm3: float

    @property
    def is_tube(self) -> bool:
        """Whether the part is long, thin and of an even width."""
        fill = self.volume_mm3 / (np.pi * self.radius_mm**2 * max(self.length_mm, 1e-6))
        return self.length_mm >= max(MIN_LENGTH_MM, MIN_SLENDERNESS * self.radius_mm) and fill <= MAX_FILL


def measure_elongation(mask: Mask, spacing_mm: Spacing) -> Elongation:
    """Measure length and width of a connected part.

    Args:
        mask: (x, y, z) bool, one connected component, on its box.
        spacing_mm: voxel spacing.

    Returns:
        Length and width. The length of a part whose box is too short for a tube is the diagonal of the box.

    Example:
        >>> rod = np.ones((60, 3, 3), dtype=bool)
        >>> measure_elongation(rod, (1.0, 1.0, 1.0)).is_tube, measure_elongation(rod[:12], (1.0, 1.0, 1.0)).is_tube
        (True, False)
    """
    radius_mm = float(distance_transform_mm(np.pad(mask, 1), spacing_mm).max())
    volume_mm3 = float(np.count_nonzero(mask) * np.prod(spacing_mm))
    diagonal_mm = float(np.linalg.norm(np.multiply(mask.shape, spacing_mm)))
    # A course inside its box is longer than the diagonal, but a tube that winds more than this is none.
    if 2 * diagonal_mm < max(MIN_LENGTH_MM, MIN_SLENDERNESS * radius_mm):
        return Elongation(diagonal_mm, radius_mm, volume_mm3)
    first = tuple(int(at[0]) for at in np.nonzero(mask))
    end, _ = _farthest(mask, first, spacing_mm)
    return Elongation(_farthest(mask, end, spacing_mm)[1], radius_mm, volume_mm3)


def _farthest(mask: Mask, start: tuple[int, ...], spacing_mm: Spacing) -> tuple[tuple[int, ...], float]:
    """The voxel with the longest way from a voxel inside a mask, and the length of this way in mm."""
    # A negative cost excludes a voxel.
    costs, _ = MCP_Geometric(np.where(mask, 1.0, -1.0), sampling=spacing_mm).find_costs([start])
    costs[~np.isfinite(costs)] = 0.0
    at = np.unravel_index(int(np.argmax(costs)), mask.shape)
    return tuple(int(i) for i in at), float(costs[at])
