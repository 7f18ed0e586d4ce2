"""Training of a voxel classifier from the labels of a cohort, without a truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from heartmend.repair.voxel_classifier.classifier import (
    VOXELS_AT_ONCE,
    VoxelClassifier,
    identity_classifier,
    new_network,
)
from heartmend.repair.voxel_classifier.features import Image, IntensityScale, uncertain_voxels, window_features
from heartmend.repair.voxel_classifier.label_corruption import corrupt_mask, estimate_strength
from heartmend.training.schedule import MAX_RATE
from heartmend.types import Mask

BATCH = 512
"""Voxels in a training step."""
THRESHOLDS = np.linspace(-2.0, 1.0, 31)
"""Thresholds that are compared on the validation cases."""
VALIDATION_EVERY = 10
"""Every so many-th case is a validation case."""
TRAINING_STRENGTHS, VALIDATION_STRENGTHS = np.array([1.1, 1.7]), np.array([1.0, 1.0])
"""Strength of the corruption relative to that of the labels. Training copies are corrupted more strongly, because the
errors that the labels have themselves must be in the minority."""
MIN_STRENGTH = 0.1
"""Labels with a lower estimated corruption are smooth and stay as they are."""
REPORT_EVERY = 50
"""Steps between two reports of the loss."""

Report = Callable[[int, float], None]
"""Called with the number of steps done and the loss, every `REPORT_EVERY` steps."""


class ClassifierSettings(BaseModel):
    """Settings of the training of voxel classifiers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: Annotated[int, Field(strict=True, ge=1, le=100)] = 2
    """Training rounds: the first on the labels, each further one on the labels that the round before repaired."""
    examples: Annotated[int, Field(strict=True, ge=1000, le=100_000_000)] = 120_000
    """Voxels in each round, over all cases."""
    passes: Annotated[int, Field(strict=True, ge=1, le=1000)] = 2
    """Passes over the voxels of a round."""
    rate: Annotated[float, Field(strict=True, gt=0, le=MAX_RATE)] = 1e-3
    """Learning rate at the start of a round."""

    @property
    def steps_of_round(self) -> int:
        """Number of training steps in a round."""
        return -(-self.examples // BATCH) * self.passes

    @property
    def steps(self) -> int:
        """Number of training steps in all rounds."""
        return self.rounds * self.steps_of_round


@dataclass(frozen=True, eq=False)
class _Cohort:
    """Masks of a round, with scaled images or None for each, and the corruption of the labels."""

    masks: Sequence[Mask]
    images: Sequence[Image | None]
    strength: float


@dataclass(frozen=True, eq=False)
class _Examples:
    """Features (n, features) of voxels of corrupted masks, and whether the voxels are inside (n,) the given masks."""

    features: Tensor
    inside: Tensor


def train_classifier(
    masks: Sequence[Mask],
    settings: ClassifierSettings,
    seed: int = 0,
    report: Report | None = None,
    images: Sequence[Image] | None = None,
) -> VoxelClassifier:
    """Train the voxel classifier of one structure from its labels alone, or from labels and images.

    The truth is unknown. So the labels are corrupted more strongly than they are, and the network predicts the labels
    from the corrupted copies. It learns to remove such errors, and the labels' own errors are of the same kind, but
    fewer. In the next round the repaired labels are corrupted, which have fewer errors of their own. The threshold has
    the best Dice on validation cases that are corrupted as strongly as the labels. An image contains no information
    about the errors of its label; what it adds is the relation between labels and images over the cohort.

    Args:
        masks: (x, y, z) bool each, the labels of all cases on isotropic voxels.
        settings: settings of the training.
        seed: seed of all random draws.
        report: called with the steps done and the loss.
        images: (x, y, z) float32 each, on the voxels of the masks; None for a classifier of labels alone.

    Returns:
        The classifier; one that repeats the label if the labels are smooth.
    """
    strength = estimate_strength(masks, np.random.default_rng(seed))
    if strength < MIN_STRENGTH:
        return identity_classifier()
    intensity = None if images is None else IntensityScale.of(masks, images)
    scaled: list[Image | None] = [None] * len(masks)
    if intensity is not None and images is not None:
        scaled = [intensity.scaled(image) for image in images]
    given: Sequence[Image | None] = images or [None] * len(masks)
    targets, classifier = list(masks), None
    for round_index in range(settings.rounds):
        rng = np.random.default_rng([seed, round_index])
        if classifier is not None:
            repair = classifier.repair
            targets = [repair(mask, image) for mask, image in zip(masks, given, strict=True)]
        first_step = round_index * settings.steps_of_round
        net, threshold = _train_round(_Cohort(targets, scaled, strength), settings, rng, report, first_step)
        classifier = VoxelClassifier(net, threshold, intensity)
    assert classifier is not None
    return classifier


def _train_round(
    cohort: _Cohort, settings: ClassifierSettings, rng: np.random.Generator, report: Report | None, first_step: int
) -> tuple[nn.Module, float]:
    """Train a network and choose its threshold."""
    torch.manual_seed(int(rng.integers(2**31)))
    count = len(cohort.masks)
    per_case = -(-settings.examples // count)
    validation = range(0, count, VALIDATION_EVERY) if count > VALIDATION_EVERY else range(count)
    training = [index for index in range(count) if index not in validation] or list(validation)
    net = new_network(cohort.images[0] is not None)
    _fit(net, _examples(cohort, training, TRAINING_STRENGTHS, per_case, rng), settings, report, first_step)
    examples = _examples(cohort, validation, VALIDATION_STRENGTHS, per_case, rng)
    with torch.no_grad():
        logits = torch.cat([net(part.float())[:, 0] for part in examples.features.split(VOXELS_AT_ONCE)]).numpy()
    return net.eval(), best_threshold(logits, examples.inside.numpy() > 0)


def _examples(
    cohort: _Cohort,
    chosen: Sequence[int],
    strengths: npt.NDArray[np.float64],
    per_case: int,
    rng: np.random.Generator,
) -> _Examples:
    """Sample uncertain voxels of corrupted copies of the chosen masks. `strengths`: range relative to the labels'."""
    features, inside = [], []
    for index in chosen:
        mask = cohort.masks[index]
        corrupted = corrupt_mask(mask, float(rng.uniform(*(cohort.strength * strengths))), rng)
        voxels = np.argwhere(uncertain_voxels(corrupted))
        voxels = voxels[rng.permutation(len(voxels))[:per_case]]
        features.append(window_features(corrupted, voxels, cohort.images[index]))
        inside.append(torch.from_numpy(mask[tuple(voxels.T)]).float())
    return _Examples(torch.cat(features), torch.cat(inside))


def _fit(
    net: nn.Module, examples: _Examples, settings: ClassifierSettings, report: Report | None, first_step: int
) -> None:
    """Train a network in place by binary cross-entropy."""
    features, inside = examples.features, examples.inside
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, -(-len(features) // BATCH) * settings.passes)
    step = first_step
    for _ in range(settings.passes):
        for rows in torch.randperm(len(features)).split(BATCH):
            loss = F.binary_cross_entropy_with_logits(net(features[rows].float())[:, 0], inside[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            step += 1
            if report is not None and step % REPORT_EVERY == 0:
                report(step, float(loss.detach()))


def best_threshold(logits: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]) -> float:
    """Choose the threshold with the best Dice.

    Args:
        logits: (n,) float32.
        inside: (n,) bool, the reference classification.

    Returns:
        The first of the best of `THRESHOLDS`.
    """
    dice = [
        2 * int((inside & (logits > t)).sum()) / max(int(inside.sum()) + int((logits > t).sum()), 1) for t in THRESHOLDS
    ]
    return float(THRESHOLDS[int(np.argmax(dice))])
