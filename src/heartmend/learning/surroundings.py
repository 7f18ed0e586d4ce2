"""Voxels judged by their surroundings: a small network that has learned from a cohort how its labels go on.

For structures that have no shape in common. A thin gland that is folded differently in everyone has no template; but
how thick it is, how its edges run and how its sheets meet is alike, and that shows in a window of a centimetre or two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import gaussian_filter, uniform_filter
from torch import Tensor, nn

from heartmend.learning.spoiling import spoiled, strength_of
from heartmend.learning.targets import without_crumbs
from heartmend.types import Mask

NEAR = 4
"""The window of single voxels reaches so far: 9³ of them."""
CELL, CELLS = 3, 4
"""The wide window: means over 3³ voxels, 4 of them to each side, so 9³ again, over 27 voxels."""
REACH = CELL * CELLS + 1
FEATURES = 2 * (2 * NEAR + 1) ** 3
CENTRE = (2 * NEAR + 1) ** 3 // 2
"""The feature that is the voxel itself."""
WIDTHS = (96, 64, 32)
BATCH = 512
THRESHOLDS = np.linspace(-2.0, 1.0, 31)
HELD_OUT = 10
"""Every so many-th case is kept out, to choose the threshold on."""

HARDER, AS_HARD = np.array([1.1, 1.7]), np.array([1.0, 1.0])
"""Copies to learn from are spoiled so many times as hard as the labels are: what is left of the labels' own faults must
be outvoted."""

LEAST_STRENGTH = 0.1
"""Labels that look spoiled by less than this are smooth, and stay as they are."""

Progress = Callable[[int, float], None]
"""Told now and then the step and the loss."""


class SurroundingsSettings(BaseModel):
    """How structures are learned that are mended by their surroundings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: Annotated[int, Field(ge=1)] = 2
    """The first learns from the labels, each other one from what the one before mended."""
    examples: Annotated[int, Field(ge=1000)] = 120_000
    """Voxels in each round, over all cases."""
    passes: Annotated[int, Field(ge=1)] = 2
    """Over the examples of a round."""
    rate: Annotated[float, Field(gt=0)] = 1e-3

    @property
    def steps_of_round(self) -> int:
        """How many steps a round has."""
        return -(-self.examples // BATCH) * self.passes

    @property
    def steps(self) -> int:
        """How many steps there are in all."""
        return self.rounds * self.steps_of_round


@dataclass(frozen=True, eq=False)
class Judge:
    """A network from windows (n, `FEATURES`) to logits (n,), and the logit beyond which a voxel is inside."""

    net: nn.Module
    threshold: float

    @torch.no_grad()
    def logits(self, mask: Mask) -> npt.NDArray[np.float32]:
        """How sure each voxel is inside, above or below zero; far from the label's voxels they are surely not."""
        out = np.full(mask.shape, -10.0, dtype=np.float32)
        places = np.argwhere(doubtful(mask))
        for part in np.array_split(places, max(len(places) // 8192, 1)):
            if len(part):
                out[tuple(part.T)] = self.net(windows(mask, part).float())[:, 0].numpy() - self.threshold
        return out

    def mended(self, mask: Mask) -> Mask:
        """The mask as its surroundings have it, without crumbs."""
        return without_crumbs(self.logits(mask) > 0)


def new_net() -> nn.Sequential:
    """The network before it learned anything."""
    layers: list[nn.Module] = []
    for before, width in zip((FEATURES, *WIDTHS), WIDTHS, strict=False):
        layers += [nn.Linear(before, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(WIDTHS[-1], 1))


@torch.no_grad()
def that_keeps_the_label() -> Judge:
    """A judge that says of a voxel what the label says of it."""
    net = new_net()
    *first, last = (layer for layer in net if isinstance(layer, nn.Linear))
    for layer, told in zip((*first, last), (CENTRE, 0, 0, 0), strict=True):
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[0, told] = 1
    last.bias.fill_(-0.5)
    return Judge(net.eval(), 0.0)


def doubtful(mask: Mask) -> Mask:
    """Voxels that may be either: all of the label, and what lies so near to it that it may be missing there."""
    return mask | (gaussian_filter(mask.astype(np.float32), 1.3) > 0.06)


def windows(mask: Mask, places: npt.NDArray[np.int64]) -> Tensor:
    """(n, `FEATURES`) in half precision: what a mask shows about voxels (n, 3), 1 inside and -1 outside.

    First the single voxels about each, then means over cells of 3³ voxels about it. What lies beyond the volume is
    taken to be as its border is.
    """
    padded = np.pad(mask, REACH, mode="edge").astype(np.float32) * 2 - 1
    columns = []
    for values, steps in (
        (padded, np.arange(-NEAR, NEAR + 1)), (uniform_filter(padded, CELL), np.arange(-CELLS, CELLS + 1) * CELL)
    ):  # fmt: skip
        strides = np.array([values.shape[1] * values.shape[2], values.shape[2], 1])
        x, y, z = np.ix_(*(steps * stride for stride in strides))
        flat = ((places + REACH) * strides).sum(axis=1)
        columns.append(values.astype(np.float16).ravel()[flat[:, None] + (x + y + z).ravel()])
    return torch.from_numpy(np.concatenate(columns, axis=1))


def learn(
    masks: Sequence[Mask], settings: SurroundingsSettings, seed: int = 0, progress: Progress | None = None
) -> Judge:
    """A judge for the masks of one structure, learned from these masks alone.

    The truth is not known; so the masks are spoiled once more, harder than they were, and the network is asked for
    what they were before. What it learns to take away it then takes away from the masks as they came: their own faults
    are like those added, and fewer. In the next round the masks mended so far are spoiled, and less is learned from
    faults. The threshold is the one with the best Dice on cases that were kept out, spoiled just as hard as labels are.
    Smooth masks are kept as they are.
    """
    shapes, judge = list(masks), None
    strength = strength_of(masks, np.random.default_rng(seed))
    if strength < LEAST_STRENGTH:
        return that_keeps_the_label()
    for round in range(settings.rounds):
        rng = np.random.default_rng([seed, round])
        if judge is not None:
            shapes = [judge.mended(mask) for mask in masks]
        judge = _round(shapes, strength, settings, rng, progress, round * settings.steps_of_round)
    assert judge is not None
    return judge


def _round(
    shapes: Sequence[Mask], strength: float, settings: SurroundingsSettings, rng: np.random.Generator,
    progress: Progress | None, before: int,
) -> Judge:  # fmt: skip
    torch.manual_seed(int(rng.integers(2**31)))
    each = -(-settings.examples // len(shapes))
    kept_out = range(0, len(shapes), HELD_OUT) if len(shapes) > HELD_OUT else range(len(shapes))
    learnt = [at for at in range(len(shapes)) if at not in kept_out] or list(kept_out)
    net = new_net()
    _fit(net, *_examples([shapes[at] for at in learnt], strength * HARDER, each, rng), settings, progress, before)
    seen, inside = _examples([shapes[at] for at in kept_out], strength * AS_HARD, each, rng)
    with torch.no_grad():
        logits = torch.cat([net(part.float())[:, 0] for part in seen.split(8192)]).numpy()
    return Judge(net.eval(), best_threshold(logits, inside.numpy() > 0))


def _examples(
    shapes: Sequence[Mask], strengths: npt.NDArray[np.float64], each: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Windows about doubtful voxels of spoiled copies, and whether the voxels were inside before."""
    seen, inside = [], []
    for shape in shapes:
        worse = spoiled(shape, float(rng.uniform(*strengths)), rng)
        places = np.argwhere(doubtful(worse))
        places = places[rng.permutation(len(places))[:each]]
        seen.append(windows(worse, places))
        inside.append(torch.from_numpy(shape[tuple(places.T)]).float())
    return torch.cat(seen), torch.cat(inside)


def _fit(
    net: nn.Module, seen: Tensor, inside: Tensor, settings: SurroundingsSettings, progress: Progress | None, before: int
) -> None:
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=1e-3)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, -(-len(seen) // BATCH) * settings.passes)
    step = before
    for _ in range(settings.passes):
        for rows in torch.randperm(len(seen)).split(BATCH):
            loss = F.binary_cross_entropy_with_logits(net(seen[rows].float())[:, 0], inside[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rates.step()
            step += 1
            if progress is not None and step % 50 == 0:
                progress(step, float(loss.detach()))


def best_threshold(logits: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]) -> float:
    """The threshold with the largest Dice of `logits > threshold` with the truth."""
    found = [
        2 * int((inside & (logits > t)).sum()) / max(int(inside.sum()) + int((logits > t).sum()), 1) for t in THRESHOLDS
    ]
    return float(THRESHOLDS[int(np.argmax(found))])
