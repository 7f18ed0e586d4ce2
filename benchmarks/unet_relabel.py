#!/usr/bin/env python3
"""A U-Net as a mender: trained on the noisy labels and the images of one half of a cohort, it relabels the other half.

usage: unet_relabel.py COHORT --out LABELS [--noisy labels_noisy] [--images images] [--anatomy heart] [--steps 500]
       [--patch 96] [--folds 2] [--seed 0]

COHORT holds labels_noisy/ and images/. OUT gets a label map for each case, on exactly the grid that it came on; outside
the box about the heart it stays as it came. MONAI's UNet with residual units on patches at the images' own spacing,
Dice and cross entropy: what one would do who has a network and no better labels. Needs MONAI: pip install
'.[benchmarks]'. `relabel` does the same with arrays.
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
ReportProgress = Callable[[int, int, float], None]
"""ReportProgress now and then the fold, the step and the loss."""


@dataclass(frozen=True)
class UNetSettings:
    """How the network is made and trained. channels: of its levels; patch: voxels a side; centred: the share of the
    patches that are about a labelled voxel, drawn by structure, so that small ones are seen as often as large ones."""

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
    told: ReportProgress | None = None,
) -> list[Labels]:
    """New label maps, each predicted by a network that was trained without that case.

    images: (x, y, z) each, of about unit scale; labels: the noisy maps of the same shapes, 0 background, and as many
    classes as the largest number says.
    """
    settings = settings or UNetSettings()
    classes = int(max(map_.max() for map_ in labels)) + 1
    order = np.random.default_rng(settings.seed).permutation(len(labels))
    out: dict[int, Labels] = {}
    for fold in range(settings.folds):
        held_out = order[fold :: settings.folds]
        learnt = [case for case in order if case not in held_out]
        net = _trained([images[c] for c in learnt], [labels[c] for c in learnt], classes, settings, fold, told)
        out |= {int(case): _predicted(net, images[case], settings.patch) for case in held_out}
    return [out[case] for case in range(len(labels))]


def _trained(
    images: Sequence[Image], labels: Sequence[Labels], classes: int, settings: UNetSettings, fold: int,
    told: ReportProgress | None,
) -> torch.nn.Module:  # fmt: skip
    torch.manual_seed(settings.seed + fold)
    rng = np.random.default_rng([settings.seed, fold])
    net = UNet(3, 1, classes, settings.channels, strides=(2,) * (len(settings.channels) - 1), num_res_units=2)
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=1e-4)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    for step in range(1, settings.steps + 1):
        cases = rng.integers(len(labels), size=settings.batch)
        pairs = [_patch(images[c], labels[c], settings, rng) for c in cases]
        image, label = (torch.from_numpy(np.stack(part)[:, None]) for part in zip(*pairs, strict=True))
        loss = loss_of(net(image), label.long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rates.step()
        if told is not None and (step % 50 == 0 or step == settings.steps):
            told(fold, step, float(loss.detach()))
    return net.eval()


def _patch(image: Image, labels: Labels, settings: UNetSettings, rng: np.random.Generator) -> tuple[Image, Labels]:
    """A patch of both, padded where the volume is smaller, mirrored never: hearts have a left and a right."""
    shape, side = np.array(labels.shape), settings.patch
    if rng.random() < settings.centred and labels.any():
        at = np.argwhere(labels == rng.choice(np.unique(labels[labels > 0])))
        first = at[rng.integers(len(at))] - rng.integers(side // 4, side - side // 4, 3)
    else:
        first = rng.integers(np.maximum(shape - side, 0) + 1)
    first = np.clip(first, 0, np.maximum(shape - side, 0))
    box = tuple(slice(a, a + side) for a in first)
    lacking = [(0, max(side - count, 0)) for count in shape]
    turned = image[box] * rng.uniform(0.9, 1.1) + rng.uniform(-0.05, 0.05)
    return np.pad(turned, lacking).astype(np.float32), np.pad(labels[box], lacking)


@torch.no_grad()
def _predicted(net: torch.nn.Module, image: Image, patch: int) -> Labels:
    asked = torch.from_numpy(image)[None, None]
    scores = sliding_window_inference(asked, (patch,) * 3, 1, net, overlap=0.25, mode="gaussian")
    labels: Labels = scores[0].argmax(dim=0).numpy().astype(np.uint8)
    return labels


def relabel_cohort(
    labels_folder: Path,
    images_folder: Path,
    out: Path,
    anatomy_name: str,
    settings: UNetSettings,
    told: ReportProgress | None,
) -> None:
    """Relabel a folder of label maps with images, within the box about each case's structures."""
    anatomy = load_anatomy(anatomy_name)
    cohort = discover_cohort(labels_folder, images_folder, anatomy=anatomy)
    ids = np.array([0, *anatomy.ids], dtype=np.uint8)
    images, labels, boxes = [], [], []
    for case in cohort:
        volume = cohort.read_labels(case)
        image = cohort.read_image(case, volume.grid)
        if image is None:
            raise SystemExit(f"{images_folder}: no image of case {case.id}; the network needs one for every case")
        box = Roi.around(volume.labels, volume.grid, anatomy, 10).source_box()
        low, high = CT_WINDOW_HU
        images.append(np.clip((image.values[box].astype(np.float32) - low) / (high - low), 0, 1))
        labels.append(np.searchsorted(ids, volume.labels[box]).astype(np.uint8))
        boxes.append(box)
    out.mkdir(parents=True, exist_ok=True)
    for case, box, found in zip(cohort, boxes, relabel(images, labels, settings, told), strict=True):
        volume = cohort.read_labels(case)
        whole = volume.labels.copy()
        whole[box] = ids[found]
        cohort.write_labels(case, whole, out / case.labels_path.name, volume.unknown)


def main() -> None:
    """Relabel a cohort."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("cohort", type=Path)
    ask.add_argument("--out", type=Path, required=True)
    ask.add_argument("--noisy", default="labels_noisy")
    ask.add_argument("--images", default="images")
    ask.add_argument("--anatomy", default="heart")
    ask.add_argument("--steps", type=int, default=UNetSettings.steps)
    ask.add_argument("--patch", type=int, default=UNetSettings.patch)
    ask.add_argument("--folds", type=int, default=UNetSettings.folds)
    ask.add_argument("--seed", type=int, default=0)
    asked = ask.parse_args()
    console, began = Console(), time.monotonic()

    def told(fold: int, step: int, loss: float) -> None:
        console.print(f"fold {fold + 1}, step {step}: loss {loss:.3f}, {time.monotonic() - began:.0f} s")

    settings = UNetSettings(steps=asked.steps, patch=asked.patch, folds=asked.folds, seed=asked.seed)
    relabel_cohort(asked.cohort / asked.noisy, asked.cohort / asked.images, asked.out, asked.anatomy, settings, told)
    console.print(f"{asked.out}: done in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
