"""Voxels judged by their surroundings: a small network that has learned from a cohort how its labels go on.

For structures that have no shape in common. A thin gland that is folded differently in everyone has no template; but
how thick it is, how its edges run and how its sheets meet is alike, and that shows in a window of a centimetre or two.
Where there are images it looks at these too, in a smaller window.
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

from heartmend.geometry.components import without_small_components
from heartmend.repair.voxel_classifier.label_corruption import corrupt_mask, strength_of
from heartmend.types import Mask

NEAR = 4
"""The window of single voxels reaches so far: 9³ of them."""
CELL, CELLS = 3, 4
"""The wide window: means over 3³ voxels, 4 of them to each side, so 9³ again, over 27 voxels."""
REACH = CELL * CELLS + 1
FEATURES = 2 * (2 * NEAR + 1) ** 3
CENTRE = (2 * NEAR + 1) ** 3 // 2
"""The feature that is the voxel itself."""
IMAGE_REACH = 2
"""The window of an image: 5³ single voxels, enough to tell an edge from noise."""
IMAGE_FEATURES = (2 * IMAGE_REACH + 1) ** 3
BRIGHTEST = 5.0
"""Image values farther from the mean than so many deviations are all alike."""
WIDTHS = (96, 64, 32)
BATCH = 512
THRESHOLDS = np.linspace(-2.0, 1.0, 31)
HELD_OUT = 10
"""Every so many-th case is kept out, to choose the threshold on."""

HARDER, AS_HARD = np.array([1.1, 1.7]), np.array([1.0, 1.0])
"""Copies to learn from are corrupt_mask so many times as hard as the labels are: what is left of the labels' own faults must
be outvoted."""

LEAST_STRENGTH = 0.1
"""Labels that look corrupt_mask by less than this are smooth, and stay as they are."""

Image = npt.NDArray[np.float32]
Progress = Callable[[int, float], None]
"""ReportProgress now and then the step and the loss."""
Shown = Sequence[Image | None]
"""Scaled images, or nothing for each case."""


class ClassifierSettings(BaseModel):
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


@dataclass(frozen=True)
class Levels:
    """What images show about a structure: mean and deviation, from which a network's own scale is made."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, masks: Sequence[Mask], images: Sequence[Image]) -> Levels:
        """Over all voxels in doubt of all cases."""
        values = np.concatenate([image[uncertain_voxels(mask)] for mask, image in zip(masks, images, strict=True)])
        return cls(float(values.mean()), max(float(values.std()), 1e-6))

    def scaled(self, image: Image) -> Image:
        """The image about zero, of about unit scale."""
        scaled: Image = np.clip((image - self.mean) / self.deviation, -BRIGHTEST, BRIGHTEST).astype(np.float32)
        return scaled


@dataclass(frozen=True, eq=False)
class VoxelClassifier:
    """A network from windows (n, features) to logits (n,), and the logit beyond which a voxel is inside.

    levels: of the images that it learned from; None for one that looks at labels alone.
    """

    net: nn.Module
    threshold: float
    levels: Levels | None = None

    @torch.no_grad()
    def logits(self, mask: Mask, image: Image | None = None) -> npt.NDArray[np.float32]:
        """How sure each voxel is inside, above or below zero; far from the label's voxels they are surely not.

        mask, image: (x, y, z) on one grid. Without an image a judge that has learned from some takes everything to be
        as bright as the mean.
        """
        out = np.full(mask.shape, -10.0, dtype=np.float32)
        places = np.argwhere(uncertain_voxels(mask))
        shown = self._shown(mask, image)
        for part in np.array_split(places, max(len(places) // 8192, 1)):
            if len(part):
                out[tuple(part.T)] = self.net(windows(mask, part, shown).float())[:, 0].numpy() - self.threshold
        return out

    def mended(self, mask: Mask, image: Image | None = None) -> Mask:
        """The mask as its surroundings have it, without crumbs."""
        return without_small_components(self.logits(mask, image) > 0)

    def _shown(self, mask: Mask, image: Image | None) -> Image | None:
        if self.levels is None:
            return None
        return np.zeros(mask.shape, dtype=np.float32) if image is None else self.levels.scaled(image)


def new_net(seeing: bool = False) -> nn.Sequential:
    """The network before it learned anything: one for labels alone, or one that sees an image as well."""
    layers: list[nn.Module] = []
    for before, width in zip((FEATURES + IMAGE_FEATURES * seeing, *WIDTHS), WIDTHS, strict=False):
        layers += [nn.Linear(before, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(WIDTHS[-1], 1))


@torch.no_grad()
def label_keeping_classifier() -> VoxelClassifier:
    """A judge that says of a voxel what the label says of it."""
    net = new_net()
    *first, last = (layer for layer in net if isinstance(layer, nn.Linear))
    for layer, told in zip((*first, last), (CENTRE, 0, 0, 0), strict=True):
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[0, told] = 1
    last.bias.fill_(-0.5)
    return VoxelClassifier(net.eval(), 0.0)


def uncertain_voxels(mask: Mask) -> Mask:
    """Voxels that may be either: all of the label, and what lies so near to it that it may be missing there."""
    return mask | (gaussian_filter(mask.astype(np.float32), 1.3) > 0.06)


def windows(mask: Mask, places: npt.NDArray[np.int64], image: Image | None = None) -> Tensor:
    """(n, `FEATURES`) in half precision: what a mask shows about voxels (n, 3), 1 inside and -1 outside.

    First the single voxels about each, then means over cells of 3³ voxels about it, then, if there is one, an image's
    (x, y, z) single voxels (`IMAGE_FEATURES` more). What lies beyond the volume is taken to be as its border is.
    """
    padded = np.pad(mask, REACH, mode="edge").astype(np.float32) * 2 - 1
    columns = [
        _read(padded, places + REACH, np.arange(-NEAR, NEAR + 1)),
        _read(uniform_filter(padded, CELL), places + REACH, np.arange(-CELLS, CELLS + 1) * CELL),
    ]
    if image is not None:
        beyond = np.pad(image, IMAGE_REACH, mode="edge")
        columns.append(_read(beyond, places + IMAGE_REACH, np.arange(-IMAGE_REACH, IMAGE_REACH + 1)))
    return torch.from_numpy(np.concatenate(columns, axis=1))


def _read(values: Image, places: npt.NDArray[np.int64], steps: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
    """The values (n, steps³) at these steps from each place along all three axes."""
    strides = np.array([values.shape[1] * values.shape[2], values.shape[2], 1])
    x, y, z = np.ix_(*(steps * stride for stride in strides))
    flat = (places * strides).sum(axis=1)
    read: npt.NDArray[np.float16] = values.astype(np.float16).ravel()[flat[:, None] + (x + y + z).ravel()]
    return read


def learn(
    masks: Sequence[Mask], settings: ClassifierSettings, seed: int = 0, progress: Progress | None = None,
    images: Sequence[Image] | None = None,
) -> VoxelClassifier:  # fmt: skip
    """A judge for the masks of one structure, learned from these masks alone, or from them and their images.

    The truth is not known; so the masks are corrupt_mask once more, harder than they were, and the network is asked for
    what they were before. What it learns to take away it then takes away from the masks as they came: their own faults
    are like those added, and fewer. In the next round the masks mended so far are corrupt_mask, and less is learned from
    faults. The threshold is the one with the best Dice on cases that were kept out, corrupt_mask just as hard as labels are.
    Smooth masks are kept as they are.

    images: (x, y, z) each, on the grids of the masks. An image cannot tell where a label is at fault, only where the
    edge is; so what it adds to the answer is what labels and images have in common over the cohort.
    """
    strength = strength_of(masks, np.random.default_rng(seed))
    if strength < LEAST_STRENGTH:
        return label_keeping_classifier()
    levels = None if images is None else Levels.of(masks, images)
    shown: Shown = [None] * len(masks) if levels is None or images is None else [levels.scaled(i) for i in images]
    shapes, judge = list(masks), None
    for round in range(settings.rounds):
        rng = np.random.default_rng([seed, round])
        if judge is not None:
            whole = judge
            shapes = [whole.mended(mask, image) for mask, image in zip(masks, images or shown, strict=True)]
        judge = _round(shapes, shown, levels, strength, settings, rng, progress, round * settings.steps_of_round)
    assert judge is not None
    return judge


def _round(
    shapes: Sequence[Mask], shown: Shown, levels: Levels | None, strength: float, settings: ClassifierSettings,
    rng: np.random.Generator, progress: Progress | None, before: int,
) -> VoxelClassifier:  # fmt: skip
    torch.manual_seed(int(rng.integers(2**31)))
    each = -(-settings.examples // len(shapes))
    kept_out = range(0, len(shapes), HELD_OUT) if len(shapes) > HELD_OUT else range(len(shapes))
    learnt = [at for at in range(len(shapes)) if at not in kept_out] or list(kept_out)
    net = new_net(levels is not None)
    _fit(net, *_examples(shapes, shown, learnt, strength * HARDER, each, rng), settings, progress, before)
    seen, inside = _examples(shapes, shown, kept_out, strength * AS_HARD, each, rng)
    with torch.no_grad():
        logits = torch.cat([net(part.float())[:, 0] for part in seen.split(8192)]).numpy()
    return VoxelClassifier(net.eval(), best_threshold(logits, inside.numpy() > 0), levels)


def _examples(
    shapes: Sequence[Mask], shown: Shown, chosen: Sequence[int], strengths: npt.NDArray[np.float64], each: int,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Windows about uncertain_voxels voxels of corrupt_mask copies of the chosen shapes, and whether the voxels were inside
    before."""
    seen, inside = [], []
    for at in chosen:
        worse = corrupt_mask(shapes[at], float(rng.uniform(*strengths)), rng)
        places = np.argwhere(uncertain_voxels(worse))
        places = places[rng.permutation(len(places))[:each]]
        seen.append(windows(worse, places, shown[at]))
        inside.append(torch.from_numpy(shapes[at][tuple(places.T)]).float())
    return torch.cat(seen), torch.cat(inside)


def _fit(
    net: nn.Module, seen: Tensor, inside: Tensor, settings: ClassifierSettings, progress: Progress | None, before: int
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
