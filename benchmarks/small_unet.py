"""A small 3D U-Net that is trained on coarse volumes in about a minute of one processor core.

MONAI's UNet (instance norm, strides of 2) on patches, with Dice and cross entropy, the CT and the place in the volume
as inputs. What is drawn (cases, places, brightness) depends on the seed alone and never on the labels, so that
networks of one seed differ by their labels only. Needs MONAI: pip install '.[benchmarks]'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from coarse_cases import Image
from monai.inferers import sliding_window_inference
from monai.networks.nets import UNet
from torch.nn import functional

from heartmend.types import Labels

OVERLAP = 0.4
ReportStep = Callable[[int, float], None]
"""Called every 50 steps with the step and the loss."""


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of the network and its training.

    Attributes:
        spacing_mm: side of a voxel.
        steps: number of steps.
        patch: voxels along each side of a patch.
        batch: patches in a step.
        channels: channels of each level.
        residual_units: residual units of each level.
        rate: highest learning rate; it rises and falls in one cycle.
        bfloat16: whether convolutions are computed with 16 bits, which halves the time where the processor has
            instructions for it (AVX512_BF16, AMX).
    """

    spacing_mm: float = 2.5
    steps: int = 400
    patch: int = 48
    batch: int = 1
    channels: tuple[int, ...] = (16, 32, 64, 128)
    residual_units: int = 0
    rate: float = 1e-2
    bfloat16: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Convert into a mapping, for a JSON file."""
        return {**asdict(self), "channels": list(self.channels)}


def train_network(
    images: Sequence[Image],
    labels: Sequence[Labels],
    classes: int,
    settings: NetworkSettings,
    seed: int,
    report: ReportStep | None = None,
) -> torch.nn.Module:
    """Train a network.

    Args:
        images: (x, y, z) float32 each, 0 to 1.
        labels: (x, y, z) uint8 each, 0 to classes - 1; voxels of the number `classes` are not trained on.
        classes: number of classes, with the background.
        settings: settings.
        seed: seed of the weights and of all that is drawn.
        report: is called during the training.

    Returns:
        The network, in evaluation mode.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = _network(classes, settings)
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=1e-4)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, total_steps=settings.steps)
    inputs = [with_place(image) for image in images]
    order = np.concatenate([rng.permutation(len(images)) for _ in range(_epochs(len(images), settings))])
    for step in range(settings.steps):
        cases = order[step * settings.batch : (step + 1) * settings.batch]
        patches = [draw_patch(inputs[case], labels[case], settings.patch, rng) for case in cases]
        image, label = (torch.from_numpy(np.stack(part)) for part in zip(*patches, strict=True))
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
            scores = net(image)
        loss = known_loss(scores.float(), label.long(), classes)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        rates.step()
        if report is not None and (step + 1) % 50 == 0:
            report(step + 1, float(loss.detach()))
    return net.eval()


def _epochs(cases: int, settings: NetworkSettings) -> int:
    return -(-settings.steps * settings.batch // cases)


def _network(classes: int, settings: NetworkSettings) -> torch.nn.Module:
    strides = (2,) * (len(settings.channels) - 1)
    return UNet(
        3, 4, classes, settings.channels, strides, num_res_units=settings.residual_units, norm="INSTANCE"
    )  # fmt: skip


def with_place(image: Image) -> Image:
    """Add the place in the volume, -1 to 1 along each axis, as three more channels: (4, x, y, z)."""
    axes = [np.linspace(-1, 1, length, dtype=np.float32) for length in image.shape]
    return np.stack([image, *np.meshgrid(*axes, indexing="ij")]).astype(np.float32)


def draw_patch(inputs: Image, labels: Labels, side: int, rng: np.random.Generator) -> tuple[Image, Labels]:
    """Draw a patch of the inputs (channel, x, y, z) and of the labels, padded where the volume is smaller.

    It is not mirrored: hearts have a left and a right. The brightness and contrast of the CT are varied.
    """
    lengths = labels.shape
    first = [int(rng.integers(max(length - side, 0) + 1)) for length in lengths]
    box = tuple(slice(at, at + side) for at in first)
    scale, shift = rng.uniform(0.85, 1.15), rng.normal(0, 0.05)
    padding = [(0, max(side - length, 0)) for length in lengths]
    patch = np.pad(inputs[(slice(None), *box)], [(0, 0), *padding], mode="edge")
    patch[0] = patch[0] * scale + shift
    return patch.astype(np.float32), np.pad(labels[box], padding)


def known_loss(scores: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Compute Dice and cross entropy over the voxels that are not ignored.

    Args:
        scores: (patch, class, x, y, z), before the softmax.
        labels: (patch, x, y, z) int64, 0 to classes - 1; the number `classes` is ignored.
        classes: number of classes, with the background.

    Returns:
        The loss; that of the Dice without the background, over all patches together.
    """
    known = labels != classes
    targets = labels.where(known, 0)
    entropy = functional.cross_entropy(scores, targets, reduction="none")[known].sum() / known.sum().clamp(min=1)
    shares = scores.softmax(dim=1) * known[:, None]
    wanted = functional.one_hot(targets, classes).movedim(-1, 1) * known[:, None]
    axes = (0, 2, 3, 4)
    dice = (2 * (shares * wanted).sum(axes) + 1) / (shares.sum(axes) + wanted.sum(axes) + 1)
    return entropy + 1 - dice[1:].mean()


@torch.no_grad()
def predict(net: torch.nn.Module, image: Image, patch: int) -> npt.NDArray[np.float32]:
    """Predict the probabilities of the classes for a whole volume, in overlapping patches of the size of the training.

    Args:
        net: the network.
        image: (x, y, z) float32, 0 to 1.
        patch: voxels along each side of a patch.

    Returns:
        (class, x, y, z) float32.
    """
    inputs = torch.from_numpy(with_place(image)[None])
    scores = sliding_window_inference(inputs, (patch,) * 3, 1, net, OVERLAP, "gaussian", padding_mode="replicate")
    found: npt.NDArray[np.float32] = scores[0].softmax(dim=0).numpy()
    return found
