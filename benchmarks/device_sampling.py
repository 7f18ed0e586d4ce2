"""Label maps on a device to the points of a fit, on that device: a thousand hearts in seconds, and no file read.

For cohorts whose maps are on the grid of the unit frame already. Stage 1 of a run measures on the voxels that a case
came on instead, which is finer (`learning.targets`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from heartmend.geometry.distance import CLIP_MM, STEP_MM
from heartmend.models.feature_table import cell_centres
from heartmend.training.case_samples import BAND_MM, CaseSummary
from heartmend.training.point_set import PointSet


def distances_mm(labels: Tensor, ids: Sequence[int], size_mm: float, clip_mm: float = CLIP_MM) -> Tensor:
    """(heads, n, n, n) signed distances in mm to the boundaries of the structures in labels (n, n, n), positive inside.

    Exact up to the clip: along each axis in turn the least sum of squares within reach (Felzenszwalb and Huttenlocher,
    2012), the boundary on the faces between cells.
    """
    cell = size_mm / labels.shape[0]
    inside = torch.stack([labels == id for id in ids])
    outward = _to_nearest(inside, cell, clip_mm)
    inward = _to_nearest(~inside, cell, clip_mm)
    half = cell / 2
    return ((inward - half).clamp(min=0) - (outward - half).clamp(min=0)).clamp(-clip_mm, clip_mm)


def _to_nearest(targets: Tensor, cell: float, clip_mm: float) -> Tensor:
    """(heads, n, n, n) distance from each cell's centre to the nearest one that is a target; large beyond the clip."""
    reach = math.ceil((clip_mm + cell) / cell)
    far = (3 * (reach + 1) * cell) ** 2
    squared = torch.where(targets, 0.0, far)
    for axis in (1, 2, 3):
        nearest, n = squared.clone(), squared.shape[axis]
        for shift in range(1, min(reach, n - 1) + 1):
            step = (shift * cell) ** 2
            low, high = (nearest.narrow(axis, begin, n - shift) for begin in (0, shift))
            torch.minimum(low, squared.narrow(axis, shift, n - shift) + step, out=low)
            torch.minimum(high, squared.narrow(axis, 0, n - shift) + step, out=high)
        squared = nearest
    return squared.sqrt()


def listing_of_maps(
    maps: Sequence[Tensor], ids: Sequence[int], size_mm: float, far_share: float = 0.05, seed: int = 0,
    told: Callable[[int], None] = lambda done: None,
) -> tuple[PointSet, list[CaseSummary]]:  # fmt: skip
    """The points of all cases, and what else a fit begins with. maps: of each case labels (n, n, n) on the device.

    Twice over the maps, first to count, so that the points are never held twice. told: how many maps are done.
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
    outlines = []
    generator = torch.Generator(device=device).manual_seed(seed)
    for row, (labels, begin, far_count) in enumerate(zip(maps, starts.tolist(), found[:, 1].tolist(), strict=True)):
        layers = distances_mm(labels, ids, size_mm)
        flat = (layers / STEP_MM).round().to(torch.int8).reshape(len(ids), -1)
        near = (layers.abs() < BAND_MM).any(dim=0).flatten()
        band, rest = torch.nonzero(near).flatten(), torch.nonzero(~near).flatten()
        rest = rest[torch.randperm(len(rest), generator=generator, device=device)[:far_count]].sort().values
        listed = torch.cat([band, rest])
        voxels[begin : begin + len(listed)] = listed.int()
        distances[begin : begin + len(listed)] = flat[:, listed].T
        outlines.append(_outline(str(row), labels, ids, size_mm))
        told(row + 1)
    present = torch.from_numpy(np.stack([outline.present for outline in outlines])).to(device)
    shares = torch.full((len(maps),), max(far_share, 1e-6), device=device)
    sizes = ((size_mm,) * 3,) * len(maps)
    cells = torch.full((len(maps), 3), n, device=device)
    return PointSet(cells, voxels, distances, starts, found[:, 0], found[:, 1], shares, present, sizes), outlines


def _outline(case_id: str, labels: Tensor, ids: Sequence[int], size_mm: float) -> CaseSummary:
    n = labels.shape[0]
    axis = cell_centres(n, labels.device)
    inside = torch.stack([labels == id for id in ids])
    volumes = inside.sum(dim=(1, 2, 3)).double()
    sums = [inside.sum(dim=tuple({1, 2, 3} - {a})).float() @ axis for a in (1, 2, 3)]
    centroids = torch.stack(sums, dim=1) / volumes[:, None].float()
    return CaseSummary(
        case_id, n, (size_mm,) * 3, centroids.cpu().numpy(), (volumes > 0).cpu().numpy(), volumes.cpu().numpy()
    )
