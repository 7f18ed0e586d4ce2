"""Parts of a vessel that join two of its branches where the shape of the cohort has a groove between them.

Two veins that unite before the atrium fill the groove that others have between them. No voxel of a groove is deep
outside the shape, so such a part looks as shallow as noise. But noise lies on one side of a surface, and this part has
the rest of its structure on opposite sides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter

from heartmend.geometry.boxes import expand_box, nested_box
from heartmend.geometry.components import Component, find_components
from heartmend.geometry.grid import Grid
from heartmend.geometry.local_field import LocalField
from heartmend.types import Mask

BEYOND_MM, BEYOND_MISFITS = 1.0, 1.5
"""A part begins this far outside its shape, or at this multiple of the shape's median misfit if that is more."""
MIN_MM3 = 100.0
"""Least volume."""
MIN_CONTACT, MAX_CONTACT = 0.45, 0.9
"""Range of the share of its surface that is in contact with the rest of its structure: noise rests on less, and what is
enclosed is a hole of the shape."""
MAX_ONE_SIDED = 0.3
"""Largest length of the mean direction of that contact: 1 where it is on one side, 0 where it is on opposite ones."""
MAX_CLAIMED_SHARE = 0.2
"""Largest share that the shapes of other structures contain."""
_SURFACE_VOXELS = 1.0
"""Standard deviation of the smoothing from which the directions of the surface are computed."""


def find_joined_branches(
    label: Mask, shape_mm: LocalField, others_mm: Sequence[LocalField], misfit_mm: float, grid: Grid
) -> list[Component]:
    """Find the parts of a vessel that fill a groove of its shape from one side to the other.

    Args:
        label: (x, y, z) bool, the vessel on the box of its shape.
        shape_mm: signed distance of its fitted shape.
        others_mm: signed distances of the fitted shapes of the other structures.
        misfit_mm: median distance between the surface of the label and the shape.
        grid: grid of the whole volume.

    Returns:
        The parts, in the indices of the volume; the largest first.

    Example:
        >>> label = np.zeros((24, 24, 30), dtype=bool)
        >>> label[4:12, 4:19], whole = True, Grid((24, 24, 30), np.eye(4))
        >>> shape = np.where(label, 4.0, -4.0).astype(np.float32)
        >>> shape[4:12, 9:14] = -2.0
        >>> [one.voxels for one in find_joined_branches(label, LocalField.of_whole(shape), [], 0.3, whole)]
        [1200]
    """
    beyond = label & (shape_mm.values < -max(BEYOND_MM, BEYOND_MISFITS * misfit_mm))
    found = []
    for part in find_components(beyond):
        if part.voxels * grid.voxel_mm3 < MIN_MM3:
            break
        box = nested_box(shape_mm.box, part.box)
        inside = [one.on(box, -np.inf)[part.mask] > 0 for one in others_mm]
        is_claimed = bool(inside) and float(np.any(inside, axis=0).mean()) > MAX_CLAIMED_SHARE
        if not is_claimed and _is_between(part, label, grid):
            found.append(Component(part.mask, box, part.voxels))
    return found


def _is_between(part: Component, label: Mask, grid: Grid) -> bool:
    """Whether a part has the rest of its structure on opposite sides."""
    box = expand_box(part.box, 4, label.shape)
    mask = part.in_box(box)
    shell = binary_dilation(mask, np.ones((3, 3, 3), dtype=bool)) & ~mask
    contact = shell & label[box]
    if not MIN_CONTACT <= np.count_nonzero(contact) / np.count_nonzero(shell) <= MAX_CONTACT:
        return False
    smooth = gaussian_filter(mask.astype(np.float32), _SURFACE_VOXELS)
    directions = np.stack([slope[contact] for slope in np.gradient(smooth, *grid.spacing_mm)])
    lengths = np.linalg.norm(directions, axis=0)
    return float(np.linalg.norm(directions.sum(axis=1))) <= MAX_ONE_SIDED * float(lengths.sum())
