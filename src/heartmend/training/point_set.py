"""Sampled points of many cases on one device: a position and one byte for each head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from heartmend.geometry.distance import STEP_MM
from heartmend.training.sampling import CaseSamples


@dataclass(frozen=True)
class PointSet:
    """Sampled voxels of all cases, one case after the other, the voxels of the band first in each case.

    Attributes:
        counts: (cases, 3) int64, cells of each case's box along each axis.
        voxels: (total,) int32, flat indices of the cells in C order.
        distances: (total, all heads) int8, signed distances in steps of `STEP_MM`, positive inside.
        starts: (cases,) int64, index of each case's first voxel.
        bands: (cases,) int64, voxels within the band.
        rests: (cases,) int64, voxels outside the band.
        shares: (cases, 2) float32, share of the cells that are sampled, within the band and outside it.
        present: (cases, heads) bool.
        sizes_mm: extent of each case's box, in mm.
        columns: (heads,) int64, the selected heads; None for all.
    """

    counts: Tensor
    voxels: Tensor
    distances: Tensor
    starts: Tensor
    bands: Tensor
    rests: Tensor
    shares: Tensor
    present: Tensor
    sizes_mm: tuple[tuple[float, float, float], ...]
    columns: Tensor | None = None

    @classmethod
    def from_cases(cls, cases: Sequence[CaseSamples], device: torch.device) -> PointSet:
        """Concatenate the points of several cases on a device.

        Args:
            cases: samples of each case, with the same heads.
            device: where to put the points.

        Returns:
            The points of all cases.
        """
        return cls.take(list(cases), device)

    @classmethod
    def take(cls, cases: list[CaseSamples], device: torch.device) -> PointSet:
        """Move the points of several cases to a device, one case after the other, so that memory has them once.

        Args:
            cases: samples of each case, with the same heads; the list is empty afterwards.
            device: where to put the points.

        Returns:
            The points of all cases.
        """
        lengths = np.array([len(case.voxels) for case in cases])
        starts = np.cumsum(lengths) - lengths
        voxels = torch.empty(int(lengths.sum()), dtype=torch.int32, device=device)
        distances = torch.empty(len(voxels), cases[0].distances.shape[1], dtype=torch.int8, device=device)
        bands = torch.tensor([case.band for case in cases], device=device)
        points = cls(
            counts=torch.tensor([case.counts for case in cases], device=device), voxels=voxels, distances=distances,
            starts=torch.from_numpy(starts).to(device), bands=bands, rests=torch.from_numpy(lengths).to(device) - bands,
            shares=torch.tensor([case.shares for case in cases], device=device).clamp(min=1e-6),
            present=torch.from_numpy(np.stack([case.present for case in cases])).to(device),
            sizes_mm=tuple(case.size_mm for case in cases),
        )  # fmt: skip
        for start in starts[::-1].tolist():
            case = cases.pop()
            part = slice(start, start + len(case.voxels))
            voxels[part], distances[part] = torch.from_numpy(case.voxels), torch.from_numpy(case.distances)
        return points

    def select_heads(self, columns: Sequence[int]) -> PointSet:
        """Select some of the heads; no point is copied.

        Args:
            columns: columns of the heads.

        Returns:
            The same points with these heads.
        """
        picked = torch.tensor(list(columns), device=self.device)
        present, before = self.present[:, picked], self.columns
        return replace(self, present=present, columns=picked if before is None else before[picked])

    @property
    def device(self) -> torch.device:
        """The device of the points."""
        return self.voxels.device

    @property
    def cases(self) -> int:
        """Number of cases."""
        return len(self.starts)

    @property
    def heads(self) -> int:
        """Number of selected heads."""
        return self.present.shape[1]

    def encoded_distances(self, start: int, end: int) -> Tensor:
        """Return the encoded signed distances of consecutive voxels.

        Args:
            start: first voxel.
            end: the voxel after the last one.

        Returns:
            (end - start, heads) int8, in steps of `STEP_MM`.
        """
        return self._selected(self.distances[start:end])

    def distances_mm(self, index: Tensor) -> Tensor:
        """Return the signed distances of voxels.

        Args:
            index: (...) int64, voxels of this set.

        Returns:
            (..., heads) float32 in mm.
        """
        return self._selected(self.distances[index]).float() * STEP_MM

    def _selected(self, distances: Tensor) -> Tensor:
        return distances if self.columns is None else distances.index_select(-1, self.columns)

    def centres(self, index: Tensor, rows: Tensor) -> Tensor:
        """Compute the unit coordinates of voxels.

        Args:
            index: (b, n) int64, voxels of this set.
            rows: (b,) int64, the case of each row of `index`.

        Returns:
            (b, n, 3) float32 unit coordinates of the cells' centres.
        """
        voxel, counts = self.voxels[index].long(), self.counts[rows][:, None]
        _, ny, nz = counts.unbind(-1)
        cells = torch.stack([voxel // (ny * nz), voxel // nz % ny, voxel % nz], dim=-1).float()
        return (cells + 0.5) * (2 / counts) - 1

    def spans(self) -> list[tuple[int, int, int]]:
        """List the ranges of voxels of each case.

        Returns:
            For each case the start of its voxels, the end of its band and the end of its voxels.
        """
        ends = self.starts + self.bands
        return list(zip(self.starts.tolist(), ends.tolist(), (ends + self.rests).tolist(), strict=True))

    def volumes(self) -> Tensor:
        """Estimate the volume of each structure from the sampled voxels.

        Returns:
            (cases, heads) float64, number of cells inside.
        """
        rows = []
        for (start, middle, end), (near_share, far_share) in zip(self.spans(), self.shares.tolist(), strict=True):
            near, far = (
                (self.encoded_distances(a, b) > 0).sum(dim=0).double() for a, b in ((start, middle), (middle, end))
            )
            rows.append(near / near_share + far / far_share)
        return torch.stack(rows)
