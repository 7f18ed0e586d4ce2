"""Measurement of a vessel label: its centreline and its radius."""

from __future__ import annotations

import numpy as np

from heartmend.geometry.components import label_components
from heartmend.repair.vessels.settings import TreeSettings
from heartmend.repair.vessels.skeleton import prune_spurs, trace_centreline
from heartmend.repair.vessels.tree import CentreTree, Spacing, voxel_points
from heartmend.repair.vessels.tube import centre_on_label, equal_area_radius, extend_tips
from heartmend.types import Mask


def measure_tree(mask: Mask, spacing_mm: Spacing, settings: TreeSettings | None = None) -> CentreTree:
    """Measure centreline and radius of a vessel label, without any repair.

    Args:
        mask: (x, y, z) bool.
        spacing_mm: voxel spacing.
        settings: properties of the tree; None for the defaults.

    Returns:
        The forest of its centrelines.
    """
    settings = settings or TreeSettings()
    mask = without_specks(mask, spacing_mm, settings)
    tree = prune_spurs(trace_centreline(mask, spacing_mm), settings.spur_mm)
    if not len(tree):
        return tree
    voxels = voxel_points(mask, spacing_mm)
    tree = extend_tips(centre_on_label(tree, voxels, settings.centre_mm), voxels, settings.bridges.direction_mm)
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


def without_specks(mask: Mask, spacing_mm: Spacing, settings: TreeSettings) -> Mask:
    """Remove the components of a mask that are too small to have a direction.

    Args:
        mask: (x, y, z) bool.
        spacing_mm: voxel spacing.
        settings: with `speck_mm3`.

    Returns:
        (x, y, z) bool.
    """
    min_voxels = int(np.ceil(settings.speck_mm3 / np.prod(spacing_mm)))
    numbers, sizes = label_components(mask)
    remaining: Mask = (sizes >= min_voxels)[numbers] & mask
    return remaining
