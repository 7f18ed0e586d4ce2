"""The points of many cases on one device: what every sampler draws from. Each point is a place and a byte a head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from heartmend.geometry.distance import STEP_MM
from heartmend.training.case_samples import CaseSamples


@dataclass(frozen=True)
class PointSet:
    """The listed voxels of all cases, one case after the other, the band's first in each.

    counts: (cases, 3) into how many cells each case's box is cut; voxels: (total,) int32 flat indices of such cells;
    distances: (total, heads) int8 in steps of `STEP_MM`, positive inside; starts, bands, rests: (cases,) where a case
    begins, how many of its voxels lie in the band and how many off it; far_shares: (cases,) share of the cells off the
    band that are listed; present: (cases, heads).
    """

    counts: Tensor
    voxels: Tensor
    distances: Tensor
    starts: Tensor
    bands: Tensor
    rests: Tensor
    far_shares: Tensor
    present: Tensor
    sizes_mm: tuple[tuple[float, float, float], ...]
    """Of each case's box."""
    columns: Tensor | None = None
    """Which of the heads are shown; None for all."""

    @classmethod
    def of(cls, targets: Sequence[CaseSamples], device: torch.device) -> PointSet:
        """The points of these cases."""
        lengths = np.array([len(t.voxels) for t in targets])
        bands = torch.tensor([t.band for t in targets], device=device)
        return cls(
            counts=torch.tensor([t.counts for t in targets], device=device),
            voxels=torch.from_numpy(np.concatenate([t.voxels for t in targets])).to(device),
            distances=torch.from_numpy(np.concatenate([t.distances for t in targets])).to(device),
            starts=torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)[:-1]])).to(device),
            bands=bands,
            rests=torch.tensor(lengths, device=device) - bands,
            far_shares=torch.tensor([max(t.far_share, 1e-6) for t in targets], device=device),
            present=torch.from_numpy(np.stack([t.present for t in targets])).to(device),
            sizes_mm=tuple(t.size_mm for t in targets),
        )

    def of_heads(self, columns: Sequence[int]) -> PointSet:
        """The same points with some of the structures alone; nothing is held twice."""
        picked = torch.tensor(list(columns), device=self.device)
        present, before = self.present[:, picked], self.columns
        return replace(self, present=present, columns=picked if before is None else before[picked])

    @property
    def device(self) -> torch.device:
        """Where the points are."""
        return self.voxels.device

    @property
    def cases(self) -> int:
        """How many cases there are."""
        return len(self.starts)

    @property
    def heads(self) -> int:
        """How many structures each point has a distance to."""
        return self.present.shape[1]

    def in_steps(self, begin: int, end: int) -> Tensor:
        """Signed distances (end - begin, heads) of consecutive listed voxels in steps of `STEP_MM`."""
        return self._shown(self.distances[begin:end])

    def distances_mm(self, listed: Tensor) -> Tensor:
        """Signed distances (..., heads) at listed voxels (...)."""
        return self._shown(self.distances[listed]).float() * STEP_MM

    def _shown(self, distances: Tensor) -> Tensor:
        return distances if self.columns is None else distances.index_select(-1, self.columns)

    def centres(self, listed: Tensor, rows: Tensor) -> Tensor:
        """Unit coordinates (b, n, 3) of voxels (b, n) that are listed for cases (b,)."""
        voxel, counts = self.voxels[listed].long(), self.counts[rows][:, None]
        _, ny, nz = counts.unbind(-1)
        cells = torch.stack([voxel // (ny * nz), voxel // nz % ny, voxel % nz], dim=-1).float()
        return (cells + 0.5) * (2 / counts) - 1

    def spans(self) -> list[tuple[int, int, int]]:
        """Of each case where its voxels begin, where its band ends, and where all end."""
        ends = self.starts + self.bands
        return list(zip(self.starts.tolist(), ends.tolist(), (ends + self.rests).tolist(), strict=True))

    def volumes(self) -> Tensor:
        """(cases, heads) float64: how many cells lie in each structure, estimated from those that are listed."""
        rows = []
        for (begin, middle, end), share in zip(self.spans(), self.far_shares.tolist(), strict=True):
            near, far = ((self.in_steps(a, b) > 0).sum(dim=0).double() for a, b in ((begin, middle), (middle, end)))
            rows.append(near + far / share)
        return torch.stack(rows)
