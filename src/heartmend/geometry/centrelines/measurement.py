"""Measurement of a vessel label: its centreline and its radius."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heartmend.geometry.centrelines.skeleton import prune_spurs, trace_centreline
from heartmend.geometry.centrelines.tree import CentreTree, Spacing, voxel_points
from heartmend.geometry.centrelines.tube import centre_on_label, equal_area_radius, extend_tips
from heartmend.geometry.components import without_components_below
from heartmend.types import Mask


@dataclass(frozen=True)
class CentrelineSettings:
    """How the centreline of a label is traced; the defaults describe coronary arteries.

    Attributes:
        speck_mm3: smaller components have no direction and are left out (1 mm of a vessel with 1 mm radius).
        spur_mm: shorter twigs of the skeleton are artefacts of thinning.
        centre_mm: standard deviation of the averaging of the centreline along the vessel.
        radius_mm: standard deviation of the averaging of the radius along the vessel.
        direction_mm: length of vessel from which the direction of its tip is estimated.
    """

    speck_mm3: float = 3.0
    spur_mm: float = 3.0
    centre_mm: float = 1.5
    radius_mm: float = 3.0
    direction_mm: float = 5.0


def measure_tree(mask: Mask, spacing_mm: Spacing, settings: CentrelineSettings | None = None) -> CentreTree:
    """Measure centreline and radius of a vessel label, without any repair.

    Args:
        mask: (x, y, z) bool.
        spacing_mm: voxel spacing.
        settings: how it is traced; None for the defaults.

    Returns:
        The forest of its centrelines.
    """
    settings = settings or CentrelineSettings()
    mask = without_specks(mask, spacing_mm, settings)
    tree = prune_spurs(trace_centreline(mask, spacing_mm), settings.spur_mm)
    if not len(tree):
        return tree
    voxels = voxel_points(mask, spacing_mm)
    tree = extend_tips(centre_on_label(tree, voxels, settings.centre_mm), voxels, settings.direction_mm)
    return tree.with_radius(equal_area_radius(tree, voxels, float(np.prod(spacing_mm)), settings.radius_mm))


def tree_radius_mm(tree: CentreTree) -> float:
    """Compute the mean radius of a tree: that of a tube of the same length and volume. Bridges do not count.

    Args:
        tree: centreline and radius.

    Returns:
        The radius in mm; 0 for a tree without length.
    """
    share = tree.share_mm * (tree.bridge < 0)
    return float(np.sqrt(tree.radius_mm**2 @ share / share.sum())) if share.sum() > 0 else 0.0


def without_specks(mask: Mask, spacing_mm: Spacing, settings: CentrelineSettings) -> Mask:
    """Remove the components of a mask that are too small to have a direction.

    Args:
        mask: (x, y, z) bool.
        spacing_mm: voxel spacing.
        settings: with `speck_mm3`.

    Returns:
        (x, y, z) bool.
    """
    min_voxels = int(np.ceil(settings.speck_mm3 / np.prod(spacing_mm)))
    return without_components_below(mask, min_voxels)
