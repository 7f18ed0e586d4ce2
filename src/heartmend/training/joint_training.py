"""Fitting ten heads at once: points from which every structure has its say, however small, and the loss over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from heartmend.compute.ranks import ALONE, Ranks
from heartmend.geometry.distance import STEP_MM
from heartmend.models.base import Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.label_decision import SURE_MM
from heartmend.training.case_samples import CaseSamples
from heartmend.training.point_sampler import Across, Batch, PointSampler, alone
from heartmend.training.point_set import PointSet

LARGEST_ALPHA = 4.0
FINE_MM = 1.5
"""How far from a surface the points of a fine structure reach, one of an alpha of at least `FINE_ALPHA`."""
FINE_ALPHA = 2.0
FINE_SHARE = 0.45
"""Of a case's points, in equal parts for each fine structure: coronaries are long and would have nearly all."""
FAR_SHARE = 0.1
ENTROPY_SHARE = 1.0
"""What a unit of cross entropy counts beside a millimetre."""

Teacher = Callable[[Tensor, Tensor], Tensor]
"""From rows of cases (b,) and points (b, p, 3) to signed distances in mm (b, p, heads), NaN where nothing is taught."""


@dataclass(frozen=True)
class JointBatch(Batch):
    """present: (b, heads) which structures each case has; alphas: (heads,) what each head counts; taught_mm:
    (b, p, heads) what stage 1 says, NaN where it says nothing; teaching: (heads,) how much that counts."""

    present: Tensor
    alphas: Tensor
    taught_mm: Tensor | None
    teaching: Tensor


class JointSampler(PointSampler):
    """Draws in each step the same number of points inside each structure, whatever its size, points about the surfaces
    of small ones, points of the band and background."""

    def __init__(
        self,
        targets: Sequence[CaseSamples] | PointSet,
        device: torch.device,
        seed: int = 0,
        ranks: Ranks = ALONE,
        *,
        positives: int = 1000,
        teacher: Teacher | None = None,
        teaching: Sequence[float] = (),
    ) -> None:
        """positives: points inside each structure in a step, over all its cases; teacher, teaching: what stage 1 says,
        and how much that counts for each head."""
        super().__init__(targets, device, seed, ranks)
        listed = self.listing
        self.positives, self.teacher = positives, teacher if any(teaching) else None
        self._teaching = torch.tensor(list(teaching) or [0.0] * listed.heads, device=device)
        self._alphas = _alphas(ranks.total(listed.volumes().sum(dim=0)))
        self._fine = torch.nonzero(self._alphas >= FINE_ALPHA).flatten().tolist()
        near = round(FINE_MM / STEP_MM)

        def about(fine: int) -> Callable[[Tensor], Tensor]:
            return lambda distances: distances[:, fine].abs() < near

        inside = [lambda distances, head=head: distances[:, head] > 0 for head in range(listed.heads)]
        self._strata = [_Stratum.of(listed, chosen) for chosen in [*inside, *map(about, self._fine)]]

    def draw(self, step: int, cases: int, points: int, band_share: float) -> JointBatch:
        """`points` points in each of `cases` cases; of those that the structures leave `FAR_SHARE` lie off the band."""
        rows, chance = self._chances(step, cases, points)
        drawn_cases = min(cases, self.count)
        listed = self.listing
        far, fine = round(FAR_SHARE * points), round(FINE_SHARE * points / max(len(self._fine), 1))
        # Few cases must not leave the band without points: the structures share what is left beside a tenth for it.
        room = points - far - fine * len(self._fine) - points // 10
        each = max(min(round(self.positives / drawn_cases), room // listed.heads), 1)
        counts = [*[each] * listed.heads, *[fine] * len(self._fine)]
        near = points - sum(counts) - far
        band, rest = listed.bands[rows][:, None], listed.rests[rows][:, None]
        parts, begin = [], near + far
        picks = torch.cat(
            [(chance[:, :near] * band).long(), band + (chance[:, near:begin] * rest.clamp(min=1)).long()], dim=1
        ).minimum(band + rest - 1)
        for stratum, count in zip(self._strata, counts, strict=True):
            drawn = stratum.pick(rows, chance[:, begin : begin + count])
            # A case without the structure gives points of its band instead.
            parts.append(torch.where(drawn < 0, (chance[:, begin : begin + count] * band).long(), drawn))
            begin += count
        picks = torch.cat([picks, *parts], dim=1)
        listed_at = listed.starts[rows][:, None] + picks
        distances, centres = listed.distances_mm(listed_at), listed.centres(listed_at, rows)
        in_band = picks < band
        expected = torch.where(in_band, near / band, far / rest.clamp(min=1))
        near_mm = round(FINE_MM / STEP_MM) * STEP_MM
        member = [distances[..., head] > 0 for head in range(listed.heads)]
        member += [distances[..., head].abs() < near_mm for head in self._fine]
        for stratum, count, within in zip(self._strata, counts, member, strict=True):
            expected = expected + within * (count / stratum.counts[rows].clamp(min=1))[:, None]
        # A listed voxel off the band stands for all those that are not listed.
        weights = torch.where(in_band, 1.0, 1 / listed.far_shares[rows][:, None]) / expected.clamp(min=1e-12)
        return JointBatch(
            cases=rows, points=centres, distances_mm=distances,
            weights=(weights / weights.mean(dim=1, keepdim=True)).float(), present=listed.present[rows],
            alphas=self._alphas,
            taught_mm=None if self.teacher is None else self.teacher(rows, centres), teaching=self._teaching,
        )  # fmt: skip


@dataclass(frozen=True)
class _Stratum:
    """Positions in each case's listed voxels: (total,), where each case's begin, how many they are."""

    places: Tensor
    starts: Tensor
    counts: Tensor

    @classmethod
    def of(cls, listed: PointSet, chosen: Callable[[Tensor], Tensor]) -> _Stratum:
        """The voxels whose distances (n, heads), in steps, are `chosen` (n,)."""
        found = [torch.nonzero(chosen(listed.in_steps(begin, end))).flatten().int() for begin, _, end in listed.spans()]
        counts = torch.tensor([len(places) for places in found], device=listed.device)
        # One more, so that a stratum that no case has can be read.
        flat = torch.cat([*found, torch.zeros(1, dtype=torch.int32, device=listed.device)])
        return cls(flat, counts.cumsum(0) - counts, counts)

    def pick(self, rows: Tensor, chance: Tensor) -> Tensor:
        """A position for each chance (b, n) in [0, 1); -1 in a case that has none."""
        counts = self.counts[rows][:, None]
        at = self.starts[rows][:, None] + (chance * counts).long()
        return torch.where(counts > 0, self.places[at.clamp(max=len(self.places) - 1)].long(), -1)


def _alphas(volumes: Tensor) -> Tensor:
    """(heads,): one over the share of the volume that is the structure, beside the median structure, capped."""
    sizes = np.maximum(volumes.cpu().numpy(), 1.0)
    counts = np.clip(np.median(sizes) / sizes, 1 / LARGEST_ALPHA, LARGEST_ALPHA)
    return torch.from_numpy(counts).float().to(volumes.device)


def shape_as_teacher(
    shape: Shape, codes: CodeBook, columns: Sequence[int], heads: int, device: torch.device
) -> Teacher:
    """What a fitted shape of distances says of its heads, which are these columns of `heads`; NaN of the others."""
    shape, codes, taught = shape.to(device), codes.to(device), torch.tensor(list(columns), device=device)

    @torch.no_grad()
    def teach(rows: Tensor, points: Tensor) -> Tensor:
        said = torch.full((*points.shape[:2], heads), float("nan"), device=device)
        return said.index_copy_(2, taught, shape(points, codes.at(rows)))

    return teach


def joint(logits: Tensor, batch: Batch, across: Across = alone, *, tolerance_mm: float = 1.0) -> Tensor:
    """Sum over the heads of alpha (|logit - distance| about the surface, in mm, + cross entropy), plus what stage 1
    taught.

    The logit is a signed distance in mm; its chance of being inside is sigmoid(logit / `SURE_MM`). The distance term
    makes a surface smooth between the points that were drawn, the cross entropy sets it where the labels change.
    """
    if not isinstance(batch, JointBatch):
        raise TypeError("the joint loss needs the batches of a JointSampler")
    # A structure that a case lacks is no lesson about its place.
    asked = batch.present[:, None].to(logits.dtype)
    near = (torch.exp(-batch.distances_mm.abs() / tolerance_mm) + 0.02) * asked
    odds = logits / SURE_MM
    inside = (batch.distances_mm > 0).to(logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(odds, inside, reduction="none") * asked
    parts = [(logits - batch.distances_mm).abs() * near, near, entropy, torch.ones_like(entropy)]
    if batch.taught_mm is not None:
        said = batch.taught_mm.isfinite()
        taught = torch.where(said, (batch.taught_mm / SURE_MM).sigmoid(), odds.detach().sigmoid())
        parts.append(F.binary_cross_entropy_with_logits(odds, taught, reduction="none"))
    apart, nearness, unsure, count, *lesson = across(torch.stack([part.sum(dim=(0, 1)) for part in parts]))
    apart = apart / nearness.clamp(min=1e-6)
    total = (batch.alphas * (apart + ENTROPY_SHARE * (unsure / count))).sum() / batch.alphas.sum()
    if lesson:
        total = total + ENTROPY_SHARE * (batch.teaching * (lesson[0] / count)).sum() / batch.alphas.sum()
    return total
