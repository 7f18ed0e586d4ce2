"""Drawing points: some from the band about the boundaries, some from all over, the same ones after a restart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from heartmend.learning.targets import STEP_MM, Target


@dataclass(frozen=True)
class Batch:
    """Points drawn in some cases, and what is true there.

    cases: (b,) rows of the targets; points: (b, p, 3) unit frame; distances_mm: (b, p, heads) signed distances,
    positive inside; weights: (b, p) one over how often such a point is drawn, of mean 1 over the volume: a mean
    with these weights is a mean over the whole volume, however biased the points were drawn.
    """

    cases: Tensor
    points: Tensor
    distances_mm: Tensor
    weights: Tensor


class PointSampler:
    """Holds the targets of a cohort on one device and draws points from them. No file is read while drawing.

    A draw depends on the seed and the step alone, so a fit that goes on after a kill sees the same points.
    """

    def __init__(self, targets: Sequence[Target], device: torch.device, seed: int = 0) -> None:
        self.device, self.seed = device, seed
        self.side = targets[0].side
        self.count = len(targets)
        lengths = np.array([len(t.voxels) for t in targets])
        self._starts = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)[:-1]])).to(device)
        self._bands = torch.tensor([t.band for t in targets], device=device)
        self._rests = torch.tensor(lengths, device=device) - self._bands
        self._far_shares = torch.tensor([max(t.far_share, 1e-6) for t in targets], device=device)
        self._voxels = torch.from_numpy(np.concatenate([t.voxels for t in targets])).to(device)
        self._distances = torch.from_numpy(np.concatenate([t.distances for t in targets])).to(device)

    def draw(self, step: int, cases: int, points: int, band_share: float) -> Batch:
        """`points` points in each of `cases` cases (all, when there are no more), `band_share` of them in the band."""
        generator = torch.Generator(device=self.device).manual_seed(self.seed * 1_000_003 + step)
        rows = self._some_cases(cases, generator)
        near = round(points * band_share)
        band, rest = self._bands[rows][:, None], self._rests[rows][:, None]
        chance = torch.rand(len(rows), points, generator=generator, device=self.device, dtype=torch.float64)
        picks = torch.cat(
            [(chance[:, :near] * band).long(), band + (chance[:, near:] * rest.clamp(min=1)).long()], dim=1
        ).minimum(band + rest - 1)
        flat = (self._starts[rows][:, None] + picks).reshape(-1)
        weights = torch.cat(
            [(band / max(near, 1)).expand(-1, near),
             (rest / self._far_shares[rows][:, None] / max(points - near, 1)).expand(-1, points - near)],
            dim=1,
        ).float()  # fmt: skip
        return Batch(
            cases=rows,
            points=self._centres(flat).reshape(len(rows), points, 3),
            distances_mm=(self._distances[flat].float() * STEP_MM).reshape(len(rows), points, -1),
            weights=weights / weights.mean(dim=1, keepdim=True),
        )

    def _some_cases(self, cases: int, generator: torch.Generator) -> Tensor:
        if cases >= self.count:
            return torch.arange(self.count, device=self.device)
        return torch.randperm(self.count, generator=generator, device=self.device)[:cases]

    def _centres(self, listed: Tensor) -> Tensor:
        """Unit coordinates (n, 3) of listed voxels (n,)."""
        voxel = self._voxels[listed].long()
        n = self.side
        cells = torch.stack([voxel // (n * n), voxel // n % n, voxel % n], dim=-1).float()
        return (cells + 0.5) * (2 / n) - 1
