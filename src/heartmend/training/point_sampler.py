"""Random sampling of points, partly from the band about the boundaries, reproducible after a restart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from heartmend.compute.ranks import SINGLE_PROCESS, Ranks
from heartmend.training.point_set import PointSet
from heartmend.training.sampling import CaseSamples

SumOverProcesses = Callable[[Tensor], Tensor]
"""From this process's part of a sum to the sum over all processes of a fit."""


def local_sum(part: Tensor) -> Tensor:
    """Return the part itself: the sum over a single process.

    Args:
        part: the part of this process.

    Returns:
        The same tensor.
    """
    return part


@dataclass(frozen=True)
class Batch:
    """Points sampled in some cases, with their reference distances.

    Attributes:
        cases: (b,) int64, rows of the cases.
        points: (b, p, 3) float32, coordinates in the unit frame.
        distances_mm: (b, p, heads) float32, signed distances, positive inside.
        weights: (b, p) float32, inverse sampling density, with mean 1: a mean with these weights is a mean over the
            whole volume, independent of the bias of the sampling.
    """

    cases: Tensor
    points: Tensor
    distances_mm: Tensor
    weights: Tensor


class PointSampler:
    """Random sampler of the points of a cohort, on the device of the points; no file is read while drawing.

    A draw depends on the seed and the number of the step only. A fit that is resumed samples the same points, and so do
    the processes of one fit: each samples for the whole cohort and keeps the points of its own cases.

    Attributes:
        device: where the points are.
        seed: seed of all draws.
        ranks: the processes of the fit.
        point_set: the points of this process's own cases.
        count: number of cases of all processes.
    """

    def __init__(
        self,
        cases: Sequence[CaseSamples] | PointSet,
        device: torch.device,
        seed: int = 0,
        ranks: Ranks = SINGLE_PROCESS,
    ) -> None:
        """Create the sampler.

        Args:
            cases: samples of this process's own cases.
            device: where to put the points.
            seed: seed of all draws.
            ranks: the processes of the fit.
        """
        self.device, self.seed, self.ranks = device, seed, ranks
        self.point_set = cases if isinstance(cases, PointSet) else PointSet.from_cases(cases, device)
        self.count = sum(ranks.all_gather([self.point_set.cases]))

    def draw(self, step: int, cases: int, points: int, band_share: float) -> Batch:
        """Sample the points of one step.

        Args:
            step: number of the step; the same number gives the same points.
            cases: number of cases, or all if there are fewer.
            points: number of points in each case.
            band_share: share of the points within the band.

        Returns:
            The batch of this process's own cases.
        """
        rows, chance = self._chances(step, cases, points)
        near = round(points * band_share)
        available = self.point_set
        band, rest = available.bands[rows][:, None], available.rests[rows][:, None]
        picks = torch.cat(
            [(chance[:, :near] * band).long(), band + (chance[:, near:] * rest.clamp(min=1)).long()], dim=1
        ).minimum(band + rest - 1)
        index = available.starts[rows][:, None] + picks
        near_share, far_share = available.shares[rows][:, :, None].unbind(1)
        weights = torch.cat(
            [(band / near_share / max(near, 1)).expand(-1, near),
             (rest / far_share / max(points - near, 1)).expand(-1, points - near)],
            dim=1,
        ).float()  # fmt: skip
        return Batch(
            cases=rows,
            points=available.centres(index, rows),
            distances_mm=available.distances_mm(index),
            weights=weights / weights.mean(dim=1, keepdim=True),
        )

    def whole_case(self, row: int) -> Batch:
        """Take all points of one case.

        Args:
            row: row of an own case.

        Returns:
            The batch of this case.
        """
        available = self.point_set
        rows = torch.tensor([row], device=self.device)
        band, rest = int(available.bands[row]), int(available.rests[row])
        index = available.starts[row] + torch.arange(band + rest, device=self.device)[None]
        near_share, far_share = available.shares[row]
        weights = torch.cat([(1 / near_share).expand(1, band), (1 / far_share).expand(1, rest)], dim=1)
        return Batch(rows, available.centres(index, rows), available.distances_mm(index), weights / weights.mean())

    def _chances(self, step: int, cases: int, points: int) -> tuple[Tensor, Tensor]:
        """Sample cases; returns the rows (b,) of the own ones and a chance (b, points) in [0, 1) for each point."""
        # Cases are sampled on the CPU, where their number is known without waiting for a device.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        rows = torch.arange(self.count)
        if cases < self.count:
            rows = torch.randperm(self.count, generator=generator)[:cases]
        if self.device.type != "cpu":
            generator = torch.Generator(device=self.device).manual_seed(self.seed * 1_000_003 + step)
        chance = torch.rand(len(rows), points, generator=generator, device=self.device, dtype=torch.float64)
        places, own = self.ranks.own_rows(rows)
        if places is not None:
            chance = chance[places.to(self.device, non_blocking=True)]
        return own.to(self.device, non_blocking=True), chance
