"""Surface of a vessel label, moved locally to the lumen in the CT.

The width of the tree as a whole is a question of the convention of the labels and has its own measure
(`repair.vessels.lumen_width`). Here each part of the surface moves, so that stenoses that the label misses and ectasias
that it cuts off come back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.centrelines.tree import CentreTree, Spacing
from heartmend.geometry.components import components_through, count_components
from heartmend.geometry.distance import smooth_distance_mm
from heartmend.geometry.skeletons import extract_skeleton
from heartmend.geometry.voxel_band import Values
from heartmend.repair.vessels.calcium import Calcium, with_calcium
from heartmend.repair.vessels.lumen_model import MOVABLE_MM, fit_lumen
from heartmend.repair.vessels.lumen_width import measure_lumen
from heartmend.types import FloatArray, Mask

MARGIN_MM = 6.0
"""Margin about the vessel in which the CT is read."""
SOUND_MM = 0.16
"""Where the movements of a neighbourhood have this rms, a voxel changes if the surface passes it by as much: sound
labels have 0.08 to 0.12 by noise and model. The more a neighbourhood moves, the less its label counts."""
MARGIN_POWER = 4
"""The margin falls with this power of the rms: chosen on trees with noise and on true ones."""
NEIGHBOURHOOD_MM = 3.0
"""Standard deviation of the average over a neighbourhood."""
LEAST_VISIBLE = 0.5
"""Median contrast of the middle of the vessel, as a share of that of its level: with less it is another vessel's CT."""


@dataclass(frozen=True, eq=False)
class LumenSurface:
    """A vessel after its surface was moved to the lumen.

    Attributes:
        mask: (x, y, z) bool.
        tree_mm: by how much the lumen of the whole tree lies outside the surface of the label.
        offset_mm: (n,) by how much the radius grew at each point of the centreline.
        offset_sd_mm: (n,) standard deviation of it.
    """

    mask: Mask
    tree_mm: float
    offset_mm: FloatArray
    offset_sd_mm: FloatArray


def move_to_lumen(
    label: Mask,
    tree: CentreTree,
    others: Mask,
    image: npt.NDArray[np.generic],
    spacing_mm: Spacing,
    *,
    keeps_width: bool = True,
    calcium: Calcium = "as_labelled",
) -> LumenSurface | None:
    """Move the surface of a vessel label to the lumen in the CT, each part of it as far as the CT shows.

    Args:
        label: (x, y, z) bool.
        tree: its centreline.
        others: (x, y, z) bool, the other structures.
        image: (x, y, z) CT in HU.
        spacing_mm: voxel spacing.
        keeps_width: whether the mean width of the tree stays: labels that follow the outer border of a vessel go on
            doing so.
        calcium: whether calcified plaques belong to the vessel.

    Returns:
        The moved label; None where the CT does not show the vessel (`measure_lumen`).
    """
    box = bounding_box(label, [int(np.ceil(MARGIN_MM / step)) for step in spacing_mm])
    if box is None or not len(tree):
        return None
    part, volume = label[box], np.asarray(image[box], np.float32)
    width = measure_lumen(part, np.where(part, 2, others[box]).astype(np.uint8), volume, spacing_mm)
    if width is None:
        return None
    distance_mm = smooth_distance_mm(part, spacing_mm)
    # Smoothing the corners makes thin vessels thinner.
    count = int(np.count_nonzero(part))
    distance_mm -= np.partition(distance_mm.ravel(), -count)[-count]
    centreline_mm = tree.points_mm - np.array([side.start for side in box]) * spacing_mm
    start = width.offset_mm, width.level_hu, width.blur_mm
    found = fit_lumen(distance_mm, volume, centreline_mm, start, spacing_mm)
    core = distance_mm > 0.5 * float(distance_mm.max())
    contrast = found.level_hu - found.surroundings_hu
    if np.median(((volume - found.surroundings_hu) / np.maximum(contrast, 1))[core]) < LEAST_VISIBLE:
        return None
    near = np.abs(distance_mm) < 0.5 * min(spacing_mm)
    tree_mm = float(np.median(found.movement_mm[near]))
    kept_mm = tree_mm if keeps_width else 0.0
    moved = _moved(part, others[box], distance_mm, found.movement_mm - np.float32(kept_mm), spacing_mm)
    moved = with_calcium(moved, others[box], volume, found, spacing_mm, calcium)
    mask = label.copy()
    mask[box] = moved
    return LumenSurface(mask, tree_mm, found.offset_mm[found.stretch] - kept_mm, found.offset_sd_mm[found.stretch])


def _moved(label: Mask, others: Mask, distance_mm: Values, movement_mm: Values, spacing_mm: Spacing) -> Mask:
    """The label with its surface moved, in as many components; it does not grow into other structures."""
    near = np.abs(distance_mm) < 0.5 * min(spacing_mm)
    sigma = np.divide(NEIGHBOURHOOD_MM, spacing_mm)
    weight = gaussian_filter(near.astype(np.float32), sigma)
    square = gaussian_filter(np.where(near, np.square(movement_mm), 0).astype(np.float32), sigma)
    rms_mm = np.sqrt(np.maximum(square / np.maximum(weight, 1e-6), 1e-6))
    margin_mm = SOUND_MM * (SOUND_MM / rms_mm) ** MARGIN_POWER
    place_mm = distance_mm + movement_mm
    movable = np.abs(distance_mm) < MOVABLE_MM
    moved = np.where(label, (place_mm > -margin_mm) | ~movable, (place_mm > margin_mm) & movable & ~others)
    if count_components(moved) != count_components(label):
        moved = components_through(moved, extract_skeleton(label))
    return np.asarray(moved, bool)
