#!/usr/bin/env python3
"""A U-Net for comparison: trained on images and noisy labels of one half of a cohort, it relabels the other half.

usage: unet_relabel.py COHORT --output LABELS [--noisy labels_noisy] [--images images] [--anatomy heart] [--steps 500]
       [--patch 96] [--folds 2] [--seed 0]

COHORT contains labels_noisy/ and images/. LABELS gets a label map for each case, on its original grid; outside the box
around the heart the original labels are kept. MONAI's UNet with residual units on patches at the spacing of the
images, with Dice and cross entropy. Needs MONAI: pip install '.[benchmarks]'. `relabel` does the same with arrays.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from rich.console import Console

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.roi import CT_WINDOW_HU, Roi
from heartmend.io.dataset import discover_cohort
from heartmend.types import Labels

Image = npt.NDArray[np.float32]
ReportStep = Callable[[int, int, float], None]
"""Called every 50 steps with the fold, the step and the loss."""


@dataclass(frozen=True)
class UNetSettings:
    """Settings of the network and its training.

    Attributes:
        steps: number of training steps.
        patch: voxels along each side of a patch.
        batch: patches in each step.
        channels: channels of each level.
        rate: learning rate.
        centred: share of the patches around a labelled voxel, drawn by structure, so that small structures are drawn as
            often as large ones.
        folds: number of parts of the cohort; each is relabelled by a network that was trained on the others.
        seed: seed of all random numbers.
    """

    steps: int = 500
    patch: int = 96
    batch: int = 1
    channels: tuple[int, ...] = (16, 32, 64, 128)
    rate: float = 2e-3
    centred: float = 0.8
    folds: int = 2
    seed: int = 0


def relabel(
    images: Sequence[Image],
    labels: Sequence[Labels],
    settings: UNetSettings | None = None,
    report: ReportStep | None = None,
) -> list[Labels]:
    """Predict label maps, each with a network that was trained without that case.

    Args:
        images: (x, y, z) float32 each, of about unit scale.
        labels: noisy label maps (uint8) of the same shapes; 0 is background, the largest value determines the classes.
        settings: settings of the network.
        report: is called during the training.

    Returns:
        The predicted label maps.
    """
    settings = settings or UNetSettings()
    classes = int(max(map_.max() for map_ in labels)) + 1
    order = np.random.default_rng(settings.seed).permutation(len(labels))
    out: dict[int, Labels] = {}
    for fold in range(settings.folds):
        held_out = order[fold :: settings.folds]
        training = [case for case in order if case not in held_out]
        net = _train([images[c] for c in training], [labels[c] for c in training], classes, settings, fold, report)
        out |= {int(case): _predict(net, images[case], settings.patch) for case in held_out}
    return [out[case] for case in range(len(labels))]


def _train(
    images: Sequence[Image], labels: Sequence[Labels], classes: int, settings: UNetSettings, fold: int,
    report: ReportStep | None,
) -> torch.nn.Module:  # fmt: skip
    torch.manual_seed(settings.seed + fold)
    rng = np.random.default_rng([settings.seed, fold])
    net = UNet(3, 1, classes, settings.channels, strides=(2,) * (len(settings.channels) - 1), num_res_units=2)
    loss_function = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=1e-4)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    for step in range(1, settings.steps + 1):
        cases = rng.integers(len(labels), size=settings.batch)
        pairs = [_patch(images[c], labels[c], settings, rng) for c in cases]
        image, label = (torch.from_numpy(np.stack(part)[:, None]) for part in zip(*pairs, strict=True))
        loss = loss_function(net(image), label.long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rates.step()
        if report is not None and (step % 50 == 0 or step == settings.steps):
            report(fold, step, float(loss.detach()))
    return net.eval()


def _patch(image: Image, labels: Labels, settings: UNetSettings, rng: np.random.Generator) -> tuple[Image, Labels]:
    """Draw a patch of both, padded where the volume is smaller. It is not mirrored: hearts have a left and a right."""
    shape, side = np.array(labels.shape), settings.patch
    if rng.random() < settings.centred and labels.any():
        at = np.argwhere(labels == rng.choice(np.unique(labels[labels > 0])))
        first = at[rng.integers(len(at))] - rng.integers(side // 4, side - side // 4, 3)
    else:
        first = rng.integers(np.maximum(shape - side, 0) + 1)
    first = np.clip(first, 0, np.maximum(shape - side, 0))
    box = tuple(slice(a, a + side) for a in first)
    padding = [(0, max(side - count, 0)) for count in shape]
    augmented = image[box] * rng.uniform(0.9, 1.1) + rng.uniform(-0.05, 0.05)
    return np.pad(augmented, padding).astype(np.float32), np.pad(labels[box], padding)


@torch.no_grad()
def _predict(net: torch.nn.Module, image: Image, patch: int) -> Labels:
    batch = torch.from_numpy(image)[None, None]
    scores = sliding_window_inference(batch, (patch,) * 3, 1, net, overlap=0.25, mode="gaussian")
    labels: Labels = scores[0].argmax(dim=0).numpy().astype(np.uint8)
    return labels


def relabel_cohort(
    labels_folder: Path,
    images_folder: Path,
    output: Path,
    anatomy_name: str,
    settings: UNetSettings,
    report: ReportStep | None,
) -> None:
    """Relabel a folder of label maps with images, within the box around each case's structures."""
    anatomy = load_anatomy(anatomy_name).without_absent(())
    cohort = discover_cohort(labels_folder, images_folder, anatomy=anatomy)
    ids = np.array([0, *anatomy.ids], dtype=np.uint8)
    images, labels, boxes = [], [], []
    for case in cohort:
        volume = cohort.read_labels(case)
        image = cohort.read_image(case, volume.grid)
        if image is None:
            raise SystemExit(f"{images_folder}: case {case.id} has no image; the network needs one for every case")
        box = Roi.around(volume.labels, volume.grid, anatomy, 10).source_box()
        low, high = CT_WINDOW_HU
        images.append(np.clip((image.values[box].astype(np.float32) - low) / (high - low), 0, 1))
        labels.append(np.searchsorted(ids, volume.labels[box]).astype(np.uint8))
        boxes.append(box)
    output.mkdir(parents=True, exist_ok=True)
    for case, box, found in zip(cohort, boxes, relabel(images, labels, settings, report), strict=True):
        volume = cohort.read_labels(case)
        full_volume = volume.labels.copy()
        full_volume[box] = ids[found]
        cohort.write_labels(case, full_volume, output / case.labels_path.name, volume.unknown)


def main() -> None:
    """Relabel a cohort."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the new label maps")
    parser.add_argument("--noisy", default="labels_noisy")
    parser.add_argument("--images", default="images")
    parser.add_argument("--anatomy", default="heart")
    parser.add_argument("--steps", type=int, default=UNetSettings.steps)
    parser.add_argument("--patch", type=int, default=UNetSettings.patch)
    parser.add_argument("--folds", type=int, default=UNetSettings.folds)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    console, started = Console(), time.monotonic()

    def report(fold: int, step: int, loss: float) -> None:
        console.print(f"fold {fold + 1}, step {step}: loss {loss:.3f}, {time.monotonic() - started:.0f} s")

    settings = UNetSettings(steps=arguments.steps, patch=arguments.patch, folds=arguments.folds, seed=arguments.seed)
    relabel_cohort(
        arguments.cohort / arguments.noisy,
        arguments.cohort / arguments.images,
        arguments.output,
        arguments.anatomy,
        settings,
        report,
    )
    console.print(f"{arguments.output}: done in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
