"""A label map moved to the image's edges: a voxel at a border asks its shape and its image, and the surer one has it.

Nothing is learned from the labels voxel by voxel, so nothing of their noise can be learned: a border has a level and a
slope that vary over centimetres, and one figure for how exact the shapes are along it. Where the image has no edge,
such as between an atrium and its appendage, it has no say, and the shapes decide as they do without an image.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from heartmend.geometry.boxes import filled_box
from heartmend.geometry.distance import STEP_MM, signed_distance_mm
from heartmend.repair.image_edges.borders import FEWEST_VOXELS, Border, Steps, borders
from heartmend.repair.image_edges.edges import Edge, edge_of, noise_of
from heartmend.types import BACKGROUND, Labels, Mask

REACH_MM = 2.0
"""So far a boundary may move in a round."""
ROUNDS = 2
WINDOW_HU = (-300.0, 700.0)
"""Lung and bone look alike to a heart's boundary."""
DEEP_MM = 2.5
SHAPE_MM, THIN_SHAPE_MM = (0.25, 0.8), (0.25, 0.3)
"""How far shapes may lie beside the truth (standard deviation), as the image has it: least and most. Of thin vessels
the image knows the width less well, because it blurs them."""
APART_MM = 0.9
"""Shapes and image that differ by so much along half of all borders do not show the same heart."""
THIN_UNEVENNESS = 0.1
"""Thin vessels differ in width and brightness along themselves; so much of what an edge leaves unexplained counts as
noise."""
SMOOTH_VOXELS = 0.7


@dataclass(frozen=True, eq=False)
class SnapResult:
    """A label map after its image was seen. spread_mm: for each border (two ids) at which the image has an edge how far
    shape and image differed, as a standard deviation; apart: they do not show the same heart, and nothing was moved."""

    labels: Labels
    spread_mm: dict[tuple[int, int], float]
    apart: bool


def see(
    labels: Labels,
    fields: Mapping[int, Steps],
    image: npt.NDArray[np.generic],
    spacing_mm: tuple[float, float, float],
    sighted: Collection[int],
    thin: Collection[int] = (),
) -> SnapResult:
    """Move the borders of a label map to where its image has them.

    labels: (x, y, z) as the shapes have it; fields: signed distances of each structure in it, in steps of `STEP_MM`;
    image: HU on the same voxels; sighted: ids whose borders may move; thin: ids of thin vessels. A border moves when
    both of its structures are sighted; the background always is.
    """
    intensity = np.clip(np.asarray(image, np.float32), *WINDOW_HU)
    noise = noise_of(intensity, [field > DEEP_MM / STEP_MM for field in fields.values()], spacing_mm)
    sighted = {*sighted, BACKGROUND}
    # A flat image shows nothing.
    if noise <= 0:
        return SnapResult(labels, {}, False)
    found = first = _round(labels, fields, intensity, spacing_mm, noise, sighted, thin)
    if first.spread_mm and float(np.median([*first.spread_mm.values()])) > APART_MM:
        return SnapResult(labels, first.spread_mm, True)
    for _ in range(ROUNDS - 1):
        fields = smooth_distances(found.labels, fields, spacing_mm, thin)
        # A vessel of two voxels that its image drew once would be drawn by its image's noise the next time.
        found = _round(found.labels, fields, intensity, spacing_mm, noise, sighted - {*thin}, thin)
    return SnapResult(found.labels, first.spread_mm, False)


def _round(
    labels: Labels, fields: Mapping[int, Steps], intensity: npt.NDArray[np.float32],
    spacing_mm: tuple[float, float, float], noise: float, sighted: set[int], thin: Collection[int],
) -> SnapResult:  # fmt: skip
    """Every border moved once."""
    spreads = dict[tuple[int, int], float]()
    voxel_mm = float(np.prod(spacing_mm)) ** (1 / 3)
    moved, values = labels.ravel().copy(), intensity.ravel()
    for border in borders(fields, STEP_MM, REACH_MM):
        pair = (border.low, border.high)
        if not sighted.issuperset(pair):
            continue
        is_thin = not {*pair}.isdisjoint(thin)
        places = np.stack(np.unravel_index(border.voxels, labels.shape), axis=1) * np.asarray(spacing_mm, np.float32)
        unevenness = THIN_UNEVENNESS if is_thin else 0.0
        edge = edge_of(border, values[border.voxels], places.astype(np.float32), noise, voxel_mm, unevenness)
        spread_mm = _spread_of_shape_mm(border, edge)
        if spread_mm is not None:
            spreads[pair] = round(spread_mm, 3)
        share = float(np.clip(spread_mm or 0.0, *(THIN_SHAPE_MM if is_thin else SHAPE_MM))) ** 2 / edge.variance_mm2
        high = border.depth_mm + edge.distance_mm * share > 0
        now = moved[border.voxels]
        # A voxel that went to a third structure, by priority, is not theirs to share.
        theirs = (now == border.low) | (now == border.high)
        moved[border.voxels[theirs]] = np.where(high, border.high, border.low)[theirs]
    return SnapResult(moved.reshape(labels.shape), spreads, False)


def _spread_of_shape_mm(border: Border, edge: Edge) -> float | None:
    """How far the shapes lie beside the truth along a border: what they differ from the image by, less the image's own
    error. None where the image has too little of an edge to tell."""
    sure = (np.abs(border.depth_mm) < 1.0) & (edge.variance_mm2 < 0.5)
    if np.count_nonzero(sure) < FEWEST_VOXELS:
        return None
    apart = (edge.distance_mm - border.depth_mm)[sure]
    spread = 1.4826 * float(np.median(np.abs(apart - np.median(apart))))
    return float(np.sqrt(max(spread**2 - float(np.median(edge.variance_mm2[sure])), 0.0)))


def smooth_distances(
    labels: Labels, ids: Iterable[int], spacing_mm: tuple[float, float, float], thin: Collection[int] = ()
) -> dict[int, Steps]:
    """Signed distances of structures in steps of `STEP_MM`, freed of the voxels' corners; of thin ones as they are."""
    return {id: _distances(labels == id, spacing_mm, 0.0 if id in thin else SMOOTH_VOXELS) for id in ids}


def _distances(mask: Mask, spacing_mm: tuple[float, float, float], smooth_voxels: float) -> Steps:
    field = np.full(mask.shape, -127, np.int8)
    box = filled_box(mask, [int(np.ceil((REACH_MM + 2.0) / step)) for step in spacing_mm])
    if box is None:
        return field
    distances = signed_distance_mm(mask[box], spacing_mm)
    if smooth_voxels > 0:
        distances = gaussian_filter(distances, smooth_voxels)
    field[box] = np.clip(np.rint(distances / STEP_MM), -127, 127).astype(np.int8)
    return field
