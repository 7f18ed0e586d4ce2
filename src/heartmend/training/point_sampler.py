"""Drawing points: some from the band about the boundaries, some from all over, the same ones after a restart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from heartmend.compute.ranks import ALONE, Ranks
from heartmend.training.case_samples import CaseSamples
from heartmend.training.point_set import PointSet

Across = Callable[[Tensor], Tensor]
"""From this process's part of a sum to the sum over all processes."""


def alone(part: Tensor) -> Tensor:
    """The sum over one process."""
    return part


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
    """Draws points from the listed voxels of a cohort, on the device where they are. No file is read while drawing.

    A draw depends on the seed and the step alone, so a fit that goes on after a kill sees the same points, and so do
    the processes of one fit: each draws for the whole cohort and keeps what falls on its own cases.
    """

    def __init__(
        self, targets: Sequence[CaseSamples] | PointSet, device: torch.device, seed: int = 0, ranks: Ranks = ALONE
    ) -> None:
        """targets: of this process's own cases."""
        self.device, self.seed, self.ranks = device, seed, ranks
        self.listing = targets if isinstance(targets, PointSet) else PointSet.of(targets, device)
        self.count = sum(ranks.all_gather([self.listing.cases]))

    def draw(self, step: int, cases: int, points: int, band_share: float) -> Batch:
        """`points` points in each of `cases` cases (all, when there are no more), `band_share` of them in the band."""
        rows, chance = self._chances(step, cases, points)
        near = round(points * band_share)
        listed = self.listing
        band, rest = listed.bands[rows][:, None], listed.rests[rows][:, None]
        picks = torch.cat(
            [(chance[:, :near] * band).long(), band + (chance[:, near:] * rest.clamp(min=1)).long()], dim=1
        ).minimum(band + rest - 1)
        listed_at = listed.starts[rows][:, None] + picks
        weights = torch.cat(
            [(band / max(near, 1)).expand(-1, near),
             (rest / listed.far_shares[rows][:, None] / max(points - near, 1)).expand(-1, points - near)],
            dim=1,
        ).float()  # fmt: skip
        return Batch(
            cases=rows,
            points=listed.centres(listed_at, rows),
            distances_mm=listed.distances_mm(listed_at),
            weights=weights / weights.mean(dim=1, keepdim=True),
        )

    def _chances(self, step: int, cases: int, points: int) -> tuple[Tensor, Tensor]:
        """The own ones (b,) of the cases that are drawn, and a chance (b, points) in [0, 1) for each point."""
        # Cases are drawn on the CPU, where their number is known without waiting for a device.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        rows = torch.arange(self.count)
        if cases < self.count:
            rows = torch.randperm(self.count, generator=generator)[:cases]
        if self.device.type != "cpu":
            generator = torch.Generator(device=self.device).manual_seed(self.seed * 1_000_003 + step)
        chance = torch.rand(len(rows), points, generator=generator, device=self.device, dtype=torch.float64)
        places, own = self.ranks.drawn(rows)
        if places is not None:
            chance = chance[places.to(self.device, non_blocking=True)]
        return own.to(self.device, non_blocking=True), chance
