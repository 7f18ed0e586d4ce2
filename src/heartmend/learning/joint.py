"""Fitting ten heads at once: points from which every structure has its say, however small, and the loss over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from heartmend.learning.points import Batch, PointSampler
from heartmend.learning.targets import STEP_MM, Target
from heartmend.shapes.base import Shape
from heartmend.shapes.codes import CodeBook

SURE_MM = 0.25
"""A voxel that lies so deep in a shape of distances has the log odds 1."""
LARGEST_ALPHA = 4.0
BAND_MM = 2.0
"""How far from a surface the points of the band reach: what decides a label lies within a voxel of one."""
FINE_MM = 1.5
"""The same for the points of a fine structure, one of an alpha of at least `FINE_ALPHA`."""
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
        targets: Sequence[Target],
        device: torch.device,
        seed: int = 0,
        *,
        positives: int = 1000,
        teacher: Teacher | None = None,
        teaching: Sequence[float] = (),
    ) -> None:
        """positives: points inside each structure in a step, over all its cases; teacher, teaching: what stage 1 says,
        and how much that counts for each head."""
        super().__init__(targets, device, seed)
        self.positives, self.teacher = positives, teacher
        heads = targets[0].distances.shape[1]
        self._teaching = torch.tensor(list(teaching) or [0.0] * heads, device=device)
        inside = [[np.flatnonzero(t.distances[:, head] > 0) for t in targets] for head in range(heads)]
        self._alphas = _alphas(targets).to(device)
        self._fine = torch.nonzero(self._alphas >= FINE_ALPHA).flatten().tolist()
        near = round(FINE_MM / STEP_MM)
        about = [[np.flatnonzero(np.abs(t.distances[:, head]) < near) for t in targets] for head in self._fine]
        self._strata = [_Stratum.of(rows, device) for rows in [*inside, *about]]
        self._present = torch.from_numpy(np.stack([t.present for t in targets])).to(device)

    def draw(self, step: int, cases: int, points: int, band_share: float) -> JointBatch:
        """`points` points in each of `cases` cases; of those that the structures leave `FAR_SHARE` lie off the band."""
        generator = torch.Generator(device=self.device).manual_seed(self.seed * 1_000_003 + step)
        rows = self._some_cases(cases, generator)
        far, fine = round(FAR_SHARE * points), round(FINE_SHARE * points / max(len(self._fine), 1))
        heads = len(self._strata) - len(self._fine)
        # Few cases must not leave the band without points: the structures share what is left beside a tenth for it.
        room = points - far - fine * len(self._fine) - points // 10
        each = max(min(round(self.positives / len(rows)), room // heads), 1)
        counts = [*[each] * heads, *[fine] * len(self._fine)]
        near = points - sum(counts) - far
        band, rest = self._bands[rows][:, None], self._rests[rows][:, None]
        chance = torch.rand(len(rows), points, generator=generator, device=self.device, dtype=torch.float64)
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
        flat = (self._starts[rows][:, None] + picks).reshape(-1)
        distances = (self._distances[flat].float() * STEP_MM).reshape(len(rows), points, -1)
        centres = self._centres(flat).reshape(len(rows), points, 3)
        in_band = picks < band
        expected = torch.where(in_band, near / band, far / rest.clamp(min=1))
        near_mm = round(FINE_MM / STEP_MM) * STEP_MM
        member = [distances[..., head] > 0 for head in range(heads)]
        member += [distances[..., head].abs() < near_mm for head in self._fine]
        for stratum, count, within in zip(self._strata, counts, member, strict=True):
            expected = expected + within * (count / stratum.counts[rows].clamp(min=1))[:, None]
        # A listed voxel off the band stands for all those that are not listed.
        weights = torch.where(in_band, 1.0, 1 / self._far_shares[rows][:, None]) / expected.clamp(min=1e-12)
        return JointBatch(
            cases=rows, points=centres, distances_mm=distances,
            weights=(weights / weights.mean(dim=1, keepdim=True)).float(), present=self._present[rows],
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
    def of(cls, places: Sequence[np.ndarray], device: torch.device) -> _Stratum:
        counts = np.array([len(p) for p in places])
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        # One more, so that a stratum that no case has can be read.
        flat = np.concatenate([*places, [0]]).astype(np.int32)
        return cls(*(torch.from_numpy(a).to(device) for a in (flat, starts, counts)))

    def pick(self, rows: Tensor, chance: Tensor) -> Tensor:
        """A position for each chance (b, n) in [0, 1); -1 in a case that has none."""
        counts = self.counts[rows][:, None]
        at = self.starts[rows][:, None] + (chance * counts).long()
        return torch.where(counts > 0, self.places[at.clamp(max=len(self.places) - 1)].long(), -1)


def _alphas(targets: Sequence[Target]) -> Tensor:
    """(heads,): one over the share of the volume that is the structure, beside the median structure, capped."""
    volumes = np.maximum(np.sum([target.volumes for target in targets], axis=0), 1.0)
    return torch.from_numpy(np.clip(np.median(volumes) / volumes, 1 / LARGEST_ALPHA, LARGEST_ALPHA)).float()


def shape_as_teacher(
    shape: Shape, codes: CodeBook, columns: Sequence[int], heads: int, device: torch.device
) -> Teacher:
    """What a fitted shape of distances says of its heads, which are these columns of `heads`; NaN of the others."""
    shape, codes, columns = shape.to(device), codes.to(device), list(columns)

    @torch.no_grad()
    def teach(rows: Tensor, points: Tensor) -> Tensor:
        said = torch.full((*points.shape[:2], heads), float("nan"), device=device)
        said[..., columns] = shape(points, codes.at(rows))
        return said

    return teach


def joint(logits: Tensor, batch: Batch, tolerance_mm: float = 1.0) -> Tensor:
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
    apart = ((logits - batch.distances_mm).abs() * near).sum(dim=(0, 1)) / near.sum(dim=(0, 1)).clamp(min=1e-6)
    odds = logits / SURE_MM
    inside = (batch.distances_mm > 0).to(logits.dtype)
    entropy = (F.binary_cross_entropy_with_logits(odds, inside, reduction="none") * asked).mean(dim=(0, 1))
    total = (batch.alphas * (apart + ENTROPY_SHARE * entropy)).sum() / batch.alphas.sum()
    if batch.taught_mm is None or not bool((batch.teaching > 0).any()):
        return total
    said = batch.taught_mm.isfinite()
    taught = torch.where(said, (batch.taught_mm / SURE_MM).sigmoid(), odds.detach().sigmoid())
    lesson = F.binary_cross_entropy_with_logits(odds, taught, reduction="none").mean(dim=(0, 1))
    return total + ENTROPY_SHARE * (batch.teaching * lesson).sum() / batch.alphas.sum()
