"""Contrast of vessels in the CT: arteries are filled alike, veins later and less."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

from heartmend.geometry.centrelines.tree import CentreTree
from heartmend.repair.vessels.vessel_context import Lumen
from heartmend.types import FloatArray, Mask

VEIN_MM = 15.0
"""Shorter components are not judged by their contrast."""
DARK = 0.7
"""Contrast, as a share of that of the vessels with a root, below which a vessel may be a vein."""
_BLUR_MM = 0.8
"""Blur of the vessel in a sample: that of the scanner and of the smoothing (`Lumen.smooth`)."""
_LEAST_SHARE = 0.3
"""Thinner vessels are nearly invisible, and a division by their share would be one by noise."""


def contrast_of_points(tree: CentreTree, lumen: Lumen) -> FloatArray:
    """Measure the contrast of a vessel at its centreline, corrected for the partial volume of thin vessels.

    Args:
        tree: centreline and radius.
        lumen: the CT with the levels of the vessels and of their surroundings.

    Returns:
        (n,) contrast as a share of that of the label's median voxel.
    """
    values = map_coordinates(lumen.smooth, (tree.points_mm / lumen.image.spacing_mm).T, order=1, mode="nearest")
    share = (values - lumen.outside) / (lumen.inside - lumen.outside)
    # The middle of a blurred disc.
    visible = 1 - np.exp(-0.5 * np.square(tree.radius_mm / _BLUR_MM))
    return np.asarray(share / np.maximum(visible, _LEAST_SHARE))


def contrast_of_components(tree: CentreTree, has_root: Mask, lumen: Lumen) -> FloatArray:
    """Compare the contrast of the components without a root with that of the vessels that have one.

    Args:
        tree: the forest.
        has_root: (n,) bool, whether each point belongs to a component with a root.
        lumen: the CT with the levels of the vessels and of their surroundings.

    Returns:
        (components,) median contrast as a share of that of the components with a root; 1 for those with a root, for
        short ones, and where no component has a root.
    """
    found = np.ones(len(tree.component_mm))
    if not has_root.any():
        return found
    contrast = contrast_of_points(tree, lumen)
    usual = float(np.median(contrast[has_root]))
    if usual <= 0:
        return found
    for number in np.flatnonzero(tree.component_mm >= VEIN_MM):
        points = tree.component == number
        if not has_root[points].any():
            found[number] = float(np.median(contrast[points])) / usual
    return found
