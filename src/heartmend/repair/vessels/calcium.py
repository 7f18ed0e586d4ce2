"""Calcified plaques in the wall of a vessel: whether they belong to its label is a convention."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.ndimage import maximum, maximum_filter
from scipy.spatial import cKDTree

from heartmend.geometry.centrelines.tree import Spacing, voxel_points
from heartmend.geometry.components import count_components, label_components
from heartmend.geometry.distance import signed_distance_mm
from heartmend.geometry.masks import grow_mask
from heartmend.geometry.voxel_band import Values
from heartmend.repair.vessels.lumen_model import CALCIUM_HU, FittedLumen
from heartmend.types import Mask

Calcium = Literal["as_labelled", "included", "excluded"]
"""Whether calcified plaques belong to the label of a vessel: as each label has it, always, or never."""
NOISES = 4.0
"""Calcium is brighter than the lumen by so many standard deviations of the noise at least."""
BESIDE_MM = 1.0
"""A plaque beside the vessel is as near to its label."""
RIM_MM = 0.75
"""The blurred rim of a plaque is not wider."""
LARGEST_MM3 = 500.0
"""A larger bright object is no plaque: a stent, a lead, or a structure without a label."""


def with_calcium(
    label: Mask,
    others: Mask,
    image: Values,
    lumen: FittedLumen,
    spacing_mm: Spacing,
    calcium: Calcium,
) -> Mask:
    """Add the calcified plaques to the label of a vessel, or remove them from it.

    A plaque reaches to where the CT is half way between its brightest voxel and what is beside it: the surroundings
    where it is included, the lumen where it is excluded. Its rim towards the outside, as bright as a
    lumen, is none.

    Args:
        label: (x, y, z) bool.
        others: (x, y, z) bool, the other structures, to which nothing is added.
        image: (x, y, z) float32, CT in HU.
        lumen: levels of the lumen and of its surroundings.
        spacing_mm: voxel spacing.
        calcium: whether plaques belong to the label.

    Returns:
        The label, in as many components as before.
    """
    if calcium == "as_labelled" or not label.any():
        return label
    near = grow_mask(label, BESIDE_MM, spacing_mm)
    level_hu = np.where(lumen.level_hu > 0, lumen.level_hu, float(np.median(lumen.level_hu[label])))
    bright = near & ~others & (image > level_hu + max(CALCIUM_HU, NOISES * lumen.noise_hu))
    components, sizes = label_components(bright)
    voxel_mm3 = float(np.prod(spacing_mm))
    is_plaque = (sizes > 1) & (sizes * voxel_mm3 < LARGEST_MM3)
    is_plaque[0] = False
    core = is_plaque[components]
    if not core.any():
        return label
    numbers = np.where(core, components, 0)
    peak_hu = np.asarray(maximum(image, numbers, np.arange(len(sizes))), float)
    if calcium == "included":
        rim = grow_mask(core, RIM_MM, spacing_mm) & ~others
        size = [2 * int(np.ceil(RIM_MM / step)) + 1 for step in spacing_mm]
        half_hu = (lumen.surroundings_hu + maximum_filter(np.where(core, peak_hu[numbers], 0), size)) / 2
        return np.asarray(label | core | rim & (image > half_hu))
    removed = core & (image > (level_hu + peak_hu[numbers]) / 2)
    removed |= _outwards_of(removed, label, spacing_mm)
    result = label & ~removed
    if count_components(result) == count_components(label):
        return result
    # A plaque that fills the vessel is a lumen that is not seen.
    kept = label.copy()
    parts, count = label_components(removed)[0], count_components(label)
    for number in range(1, int(parts.max()) + 1):
        less = kept & (parts != number)
        if count_components(less) == count:
            kept = less
    return kept


def _outwards_of(plaque: Mask, label: Mask, spacing_mm: Spacing) -> Mask:
    """Voxels of the label beside a plaque that are less deep in the label than the plaque."""
    found = np.zeros_like(label)
    if not plaque.any():
        return found
    rim = label & ~plaque & grow_mask(plaque, RIM_MM, spacing_mm)
    nearest = cKDTree(voxel_points(plaque, spacing_mm)).query(voxel_points(rim, spacing_mm))[1]
    depth_mm = signed_distance_mm(label, spacing_mm)
    found[rim] = depth_mm[rim] < depth_mm[plaque][nearest]
    return found
