"""What a fit aims at, measured: the signed distances of a case's structures and where their boundaries are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heartmend.geometry.components import without_small_components
from heartmend.geometry.distance import STEP_MM, unit_frame_distance_mm
from heartmend.geometry.roi import Resolution, Roi
from heartmend.training.case_samples import BAND_MM, CaseSamples
from heartmend.types import Labels, Mask

JOINT_BAND_MM = 2.0
"""How far from a surface the points of stage 3's band reach: what decides a label lies within a voxel of one."""
JOINT_FAR_SHARE = 0.03
"""Of the cells off the band that stage 3 draws from; what lies there is soon learned."""


def sample_case(
    case_id: str,
    source: Labels,
    roi: Roi,
    ids: Sequence[int],
    *,
    resolution: Resolution = 128,
    far_share: float = 0.05,
    band_mm: float = BAND_MM,
    seed: int = 0,
) -> CaseSamples:
    """The target of one case from its labels on the voxels of `roi.source_box()`; heads in order of `ids`."""
    known = roi.known(resolution)
    near = np.zeros(known.shape, dtype=bool)
    layers, centroids, present = [], [], []
    for id in ids:
        mask = without_small_components(source == id)
        distance = unit_frame_distance_mm(source, roi, resolution, id)
        near |= np.abs(distance) < band_mm
        layers.append(np.round(distance / STEP_MM).astype(np.int8))
        present.append(bool(mask.any()))
        centroids.append(_centroid(mask, roi))
    near &= known
    far = known & ~near
    rng = np.random.default_rng(seed)
    band = np.flatnonzero(near)
    rest = np.flatnonzero(far)
    rest = np.sort(rng.choice(rest, size=round(far_share * len(rest)), replace=False)) if len(rest) else rest
    voxels = np.concatenate([band, rest]).astype(np.int32)
    distances = np.stack([layer.reshape(-1)[voxels] for layer in layers], axis=1)
    return CaseSamples(
        case_id=case_id, counts=known.shape, size_mm=roi.size_mm, voxels=voxels, band=len(band), distances=distances,
        far_share=far_share, centroids=np.array(centroids, dtype=np.float32), present=np.array(present),
    )  # fmt: skip


def sample_fused_case(
    case_id: str, mended: Labels, roi: Roi, ids: Sequence[int], resolution: int, seed: int
) -> CaseSamples:
    """What stage 3 learns of a mended map (labels on the voxels of `roi.source_box()`): a narrower band, on the map's
    own voxels or on `resolution` cells along its longest side, whichever are coarser."""
    return sample_case(
        case_id, mended, roi, ids,
        resolution=roi.cells_of_voxels(resolution), far_share=JOINT_FAR_SHARE, band_mm=JOINT_BAND_MM, seed=seed,
    )  # fmt: skip


def _centroid(mask: Mask, roi: Roi) -> tuple[float, float, float]:
    """In unit coordinates; nowhere for a structure that is absent or that the field of view cuts off."""
    nowhere = (float("nan"),) * 3
    if not mask.any() or _is_cut(mask, roi):
        return nowhere
    source = roi.source_axes()
    sums = [mask.sum(axis=tuple({0, 1, 2} - {a})) for a in range(3)]
    along = [float(s @ c / s.sum()) for s, c in zip(sums, source.coordinates, strict=True)]
    x, y, z = (along[axis] for axis in source.axes)
    return x, y, z


def _is_cut(mask: Mask, roi: Roi, share: float = 0.005) -> bool:
    """Whether the volume ends inside the structure: a fair part of its voxels lies on the volume's faces."""
    beside = 0
    for axis, (part, count) in enumerate(zip(roi.source_box(), roi.grid.shape, strict=True)):
        ends = np.moveaxis(mask, axis, 0)
        beside += int(ends[0].sum()) if part.start == 0 else 0
        beside += int(ends[-1].sum()) if part.stop == count else 0
    return beside > share * int(mask.sum())
