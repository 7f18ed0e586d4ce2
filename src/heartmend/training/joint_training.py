"""Joint training of all heads: stratified sampling of every structure, and the loss over all heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from heartmend.compute.ranks import SINGLE_PROCESS, Ranks
from heartmend.geometry.distance import STEP_MM
from heartmend.models.base import Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.label_decision import LOGISTIC_SCALE_MM
from heartmend.training.point_sampler import Batch, PointSampler, SumOverProcesses, local_sum
from heartmend.training.point_set import PointSet
from heartmend.training.sampling import CaseSamples

MAX_ALPHA = 4.0
FINE_MM = 1.5
"""Largest distance of the points near the surface of a fine structure, one with an alpha of at least `FINE_ALPHA`."""
FINE_ALPHA = 2.0
FINE_SHARE = 0.45
"""Share of a case's points that are near fine structures, equal for each of them: otherwise the long coronaries would
take nearly all."""
FAR_SHARE = 0.1
"""Share of a case's points outside the band."""
ENTROPY_WEIGHT = 1.0
"""Weight of a unit of cross entropy relative to a millimetre."""

Teacher = Callable[[Tensor, Tensor], Tensor]
"""From rows of cases (b,) and points (b, p, 3) to signed distances in mm (b, p, heads); NaN: no teacher."""


@dataclass(frozen=True)
class JointBatch(Batch):
    """Batch of the joint loss.

    Attributes:
        present: (b, heads) bool, the structures of each case.
        alphas: (heads,) float32, weight of each head.
        teacher_mm: (b, p, heads) float32, signed distances in mm predicted by the teacher; NaN for heads without one;
            None if there is no teacher.
        teacher_weights: (heads,) float32, weight of the teacher for each head.
    """

    present: Tensor
    alphas: Tensor
    teacher_mm: Tensor | None
    teacher_weights: Tensor


class JointSampler(PointSampler):
    """Stratified sampler of points.

    Each step samples the same number of points inside each structure, independent of its volume; points near the
    surfaces of fine structures; points of the band; and points outside the band.
    """

    def __init__(
        self,
        cases: Sequence[CaseSamples] | PointSet,
        device: torch.device,
        seed: int = 0,
        ranks: Ranks = SINGLE_PROCESS,
        *,
        positives: int = 1000,
        teacher: Teacher | None = None,
        teacher_weights: Sequence[float] = (),
    ) -> None:
        """Create the sampler.

        Args:
            cases: samples of this process's own cases.
            device: where to put the points.
            seed: seed of all draws.
            ranks: the processes of the fit.
            positives: points inside each structure in a step, summed over its cases.
            teacher: predicts signed distances that are learned beside the label maps.
            teacher_weights: weight of the teacher for each head; all 0 if not given.
        """
        super().__init__(cases, device, seed, ranks)
        points = self.point_set
        self.positives, self.teacher = positives, teacher if any(teacher_weights) else None
        self._teacher_weights = torch.tensor(list(teacher_weights) or [0.0] * points.heads, device=device)
        self._alphas = _alphas(ranks.total(points.volumes().sum(dim=0)))
        self._fine = torch.nonzero(self._alphas >= FINE_ALPHA).flatten().tolist()
        near = round(FINE_MM / STEP_MM)

        def near_surface(head: int) -> Callable[[Tensor], Tensor]:
            return lambda distances: distances[:, head].abs() < near

        inside = [lambda distances, head=head: distances[:, head] > 0 for head in range(points.heads)]
        self._strata = [_Stratum.select(points, chosen) for chosen in [*inside, *map(near_surface, self._fine)]]

    def draw(self, step: int, cases: int, points: int, band_share: float) -> JointBatch:
        """Sample the points of one step.

        Args:
            step: number of the step; the same number gives the same points.
            cases: number of cases, or all if there are fewer.
            points: number of points in each case.
            band_share: not used; the shares are `FINE_SHARE` and `FAR_SHARE`, and the structures take as many points
                as they need.

        Returns:
            The batch of this process's own cases.
        """
        rows, chance = self._chances(step, cases, points)
        drawn_cases = min(cases, self.count)
        available = self.point_set
        far, fine = round(FAR_SHARE * points), round(FINE_SHARE * points / max(len(self._fine), 1))
        # With few cases the structures would take all points; a tenth is reserved for the band.
        room = points - far - fine * len(self._fine) - points // 10
        each = max(min(round(self.positives / drawn_cases), room // available.heads), 1)
        counts = [*[each] * available.heads, *[fine] * len(self._fine)]
        near = points - sum(counts) - far
        band, rest = available.bands[rows][:, None], available.rests[rows][:, None]
        parts, start = [], near + far
        picks = torch.cat(
            [(chance[:, :near] * band).long(), band + (chance[:, near:start] * rest.clamp(min=1)).long()], dim=1
        ).minimum(band + rest - 1)
        for stratum, count in zip(self._strata, counts, strict=True):
            sampled = stratum.pick(rows, chance[:, start : start + count])
            # A case without the structure contributes points of its band instead.
            parts.append(torch.where(sampled < 0, (chance[:, start : start + count] * band).long(), sampled))
            start += count
        picks = torch.cat([picks, *parts], dim=1)
        index = available.starts[rows][:, None] + picks
        distances, centres = available.distances_mm(index), available.centres(index, rows)
        in_band = picks < band
        expected = torch.where(in_band, near / band, far / rest.clamp(min=1))
        near_mm = round(FINE_MM / STEP_MM) * STEP_MM
        member = [distances[..., head] > 0 for head in range(available.heads)]
        member += [distances[..., head].abs() < near_mm for head in self._fine]
        for stratum, count, within in zip(self._strata, counts, member, strict=True):
            expected = expected + within * (count / stratum.counts[rows].clamp(min=1))[:, None]
        # A sampled voxel represents those around it that are not sampled.
        near_share, far_share = available.shares[rows][:, :, None].unbind(1)
        weights = torch.where(in_band, 1 / near_share, 1 / far_share) / expected.clamp(min=1e-12)
        return JointBatch(
            cases=rows, points=centres, distances_mm=distances,
            weights=(weights / weights.mean(dim=1, keepdim=True)).float(), present=available.present[rows],
            alphas=self._alphas,
            teacher_mm=None if self.teacher is None else self.teacher(rows, centres),
            teacher_weights=self._teacher_weights,
        )  # fmt: skip


@dataclass(frozen=True)
class _Stratum:
    """Positions among each case's voxels: (total,), the start of each case (cases,), and their number (cases,)."""

    places: Tensor
    starts: Tensor
    counts: Tensor

    @classmethod
    def select(cls, points: PointSet, chosen: Callable[[Tensor], Tensor]) -> _Stratum:
        """Select the voxels whose distances (n, heads), in steps of `STEP_MM`, are `chosen` (n,)."""
        found = [
            torch.nonzero(chosen(points.encoded_distances(start, end))).flatten().int()
            for start, _, end in points.spans()
        ]
        counts = torch.tensor([len(places) for places in found], device=points.device)
        # One more element, so that a stratum without any voxel can be indexed.
        flat = torch.cat([*found, torch.zeros(1, dtype=torch.int32, device=points.device)])
        return cls(flat, counts.cumsum(0) - counts, counts)

    def pick(self, rows: Tensor, chance: Tensor) -> Tensor:
        """Pick a position for each chance (b, n) in [0, 1); -1 in a case that has none."""
        counts = self.counts[rows][:, None]
        at = self.starts[rows][:, None] + (chance * counts).long()
        return torch.where(counts > 0, self.places[at.clamp(max=len(self.places) - 1)].long(), -1)


def _alphas(volumes: Tensor) -> Tensor:
    """(heads,): the median volume over the structure's volume, capped at `MAX_ALPHA` and its inverse."""
    sizes = np.maximum(volumes.cpu().numpy(), 1.0)
    alphas = np.clip(np.median(sizes) / sizes, 1 / MAX_ALPHA, MAX_ALPHA)
    return torch.from_numpy(alphas).float().to(volumes.device)


def shape_as_teacher(
    shape: Shape, codes: CodeBook, columns: Sequence[int], heads: int, device: torch.device
) -> Teacher:
    """Make a teacher of a fitted shape whose logits are signed distances.

    Args:
        shape: the fitted shape.
        codes: its codes, of the sampler's cases in the same order.
        columns: column of each of the shape's heads among all heads.
        heads: number of all heads.
        device: where to evaluate the shape.

    Returns:
        A teacher of these columns, NaN in the others.
    """
    shape, codes, taught = shape.to(device), codes.to(device), torch.tensor(list(columns), device=device)

    @torch.no_grad()
    def teach(rows: Tensor, points: Tensor) -> Tensor:
        predicted = torch.full((*points.shape[:2], heads), float("nan"), device=device)
        return predicted.index_copy_(2, taught, shape(points, codes.at(rows)))

    return teach


def joint(
    logits: Tensor, batch: Batch, sum_over_processes: SumOverProcesses = local_sum, *, tolerance_mm: float = 1.0
) -> Tensor:
    """Compute the joint loss of all heads: surface distance, cross entropy and, optionally, a teacher.

    Sum over the heads of alpha (|logit - distance|, in mm, near the surface + cross entropy), divided by the sum of
    the alphas, plus the weighted cross entropy with the teacher. The probability of being inside is
    sigmoid(logit / `LOGISTIC_SCALE_MM`). The distance term makes the surface smooth between the sampled points, the
    cross entropy determines where the labels change.

    Args:
        logits: (b, p, heads) predicted signed distances in mm, positive inside.
        batch: the batch that a `JointSampler` drew.
        sum_over_processes: sums a tensor over the processes of the fit.
        tolerance_mm: decay length of the distance term's weight, in mm.

    Returns:
        The loss, a scalar.

    Raises:
        TypeError: if the batch is not a `JointBatch`.
    """
    if not isinstance(batch, JointBatch):
        raise TypeError("the joint loss needs the batches of a JointSampler")
    # A structure that a case lacks must not be learned as absent at this place.
    mask = batch.present[:, None].to(logits.dtype)
    near = (torch.exp(-batch.distances_mm.abs() / tolerance_mm) + 0.02) * mask
    log_odds = logits / LOGISTIC_SCALE_MM
    inside = (batch.distances_mm > 0).to(logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(log_odds, inside, reduction="none") * mask
    parts = [(logits - batch.distances_mm).abs() * near, near, entropy, torch.ones_like(entropy)]
    if batch.teacher_mm is not None:
        has_teacher = batch.teacher_mm.isfinite()
        goal = torch.where(has_teacher, (batch.teacher_mm / LOGISTIC_SCALE_MM).sigmoid(), log_odds.detach().sigmoid())
        parts.append(F.binary_cross_entropy_with_logits(log_odds, goal, reduction="none"))
    sums = sum_over_processes(torch.stack([part.sum(dim=(0, 1)) for part in parts]))
    error, weight, cross_entropy, count, *teacher_entropy = sums
    error = error / weight.clamp(min=1e-6)
    total = (batch.alphas * (error + ENTROPY_WEIGHT * (cross_entropy / count))).sum() / batch.alphas.sum()
    if teacher_entropy:
        weighted = batch.teacher_weights * (teacher_entropy[0] / count)
        total = total + ENTROPY_WEIGHT * weighted.sum() / batch.alphas.sum()
    return total
