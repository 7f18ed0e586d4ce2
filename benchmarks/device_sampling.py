"""Sampling of label maps on a device: the points of a thousand hearts in seconds, without reading a file.

For cohorts whose label maps are already on the cells of the unit frame. The stage `fit` samples the original voxels
instead, which is more exact (`heartmend.training.sampling`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from heartmend.geometry.distance import CLIP_MM, STEP_MM
from heartmend.models.feature_table import cell_centres
from heartmend.training.point_set import PointSet
from heartmend.training.sampling import BAND_MM, CaseSummary


def distances_mm(labels: Tensor, ids: Sequence[int], size_mm: float, clip_mm: float = CLIP_MM) -> Tensor:
    """Compute the signed distances of structures, with the boundary on the faces between cells.

    Exact up to the clip: along each axis in turn the least sum of squares within reach (Felzenszwalb and Huttenlocher,
    2012).

    Args:
        labels: (n, n, n) uint8 label map.
        ids: label id of each head.
        size_mm: extent of the cube, in mm.
        clip_mm: largest absolute distance, in mm.

    Returns:
        (heads, n, n, n) float32 distances in mm, positive inside.
    """
    cell = size_mm / labels.shape[0]
    inside = torch.stack([labels == id for id in ids])
    outward = _to_nearest(inside, cell, clip_mm)
    inward = _to_nearest(~inside, cell, clip_mm)
    half = cell / 2
    return ((inward - half).clamp(min=0) - (outward - half).clamp(min=0)).clamp(-clip_mm, clip_mm)


def _to_nearest(targets: Tensor, cell: float, clip_mm: float) -> Tensor:
    """(heads, n, n, n) distance from each cell's centre to the nearest target; large beyond the clip."""
    reach = math.ceil((clip_mm + cell) / cell)
    far = (3 * (reach + 1) * cell) ** 2
    squared = torch.where(targets, 0.0, far)
    for axis in (1, 2, 3):
        nearest, n = squared.clone(), squared.shape[axis]
        for shift in range(1, min(reach, n - 1) + 1):
            step = (shift * cell) ** 2
            low, high = (nearest.narrow(axis, start, n - shift) for start in (0, shift))
            torch.minimum(low, squared.narrow(axis, shift, n - shift) + step, out=low)
            torch.minimum(high, squared.narrow(axis, 0, n - shift) + step, out=high)
        squared = nearest
    return squared.sqrt()


def sample_maps(
    maps: Sequence[Tensor], ids: Sequence[int], size_mm: float, far_share: float = 0.05, seed: int = 0,
    report: Callable[[int], None] = lambda done: None,
) -> tuple[PointSet, list[CaseSummary]]:  # fmt: skip
    """Sample the points of all cases; a first pass counts them, so that no point is copied.

    Args:
        maps: label map (n, n, n) uint8 of each case, on the device.
        ids: label id of each head.
        size_mm: extent of the cubes, in mm.
        far_share: share of the cells outside the band that are sampled.
        seed: seed of the random choice.
        report: is called with the number of finished maps.

    Returns:
        The points of all cases, and the summary of each.
    """
    device, n = maps[0].device, maps[0].shape[0]
    counts = []
    for labels in maps:
        near = (distances_mm(labels, ids, size_mm, BAND_MM + size_mm / n).abs() < BAND_MM).any(dim=0).sum()
        counts.append(torch.stack([near, ((n**3 - near) * far_share).round().long()]))
    found = torch.stack(counts)
    lengths = found.sum(dim=1)
    starts = lengths.cumsum(0) - lengths
    voxels = torch.empty(int(lengths.sum()), dtype=torch.int32, device=device)
    distances = torch.empty(len(voxels), len(ids), dtype=torch.int8, device=device)
    summaries = []
    generator = torch.Generator(device=device).manual_seed(seed)
    for row, (labels, start, far_count) in enumerate(zip(maps, starts.tolist(), found[:, 1].tolist(), strict=True)):
        layers = distances_mm(labels, ids, size_mm)
        flat = (layers / STEP_MM).round().to(torch.int8).reshape(len(ids), -1)
        near = (layers.abs() < BAND_MM).any(dim=0).flatten()
        band, rest = torch.nonzero(near).flatten(), torch.nonzero(~near).flatten()
        rest = rest[torch.randperm(len(rest), generator=generator, device=device)[:far_count]].sort().values
        sampled = torch.cat([band, rest])
        voxels[start : start + len(sampled)] = sampled.int()
        distances[start : start + len(sampled)] = flat[:, sampled].T
        summaries.append(_summarise(str(row), labels, ids, size_mm))
        report(row + 1)
    present = torch.from_numpy(np.stack([summary.present for summary in summaries])).to(device)
    shares = torch.tensor([[1.0, max(far_share, 1e-6)]], device=device).repeat(len(maps), 1)
    sizes = ((size_mm,) * 3,) * len(maps)
    cells = torch.full((len(maps), 3), n, device=device)
    return PointSet(cells, voxels, distances, starts, found[:, 0], found[:, 1], shares, present, sizes), summaries


def _summarise(case_id: str, labels: Tensor, ids: Sequence[int], size_mm: float) -> CaseSummary:
    n = labels.shape[0]
    axis = cell_centres(n, labels.device)
    inside = torch.stack([labels == id for id in ids])
    volumes = inside.sum(dim=(1, 2, 3)).double()
    sums = [inside.sum(dim=tuple({1, 2, 3} - {a})).float() @ axis for a in (1, 2, 3)]
    centroids = torch.stack(sums, dim=1) / volumes[:, None].float()
    return CaseSummary(
        case_id, n, (size_mm,) * 3, centroids.cpu().numpy(), (volumes > 0).cpu().numpy(), volumes.cpu().numpy()
    )
