"""Post-DAE: label maps passed through a denoising auto-encoder that was fitted to corrupted phantoms, for `peers.py`.

Larrazabal et al. ("Post-DAE: anatomically plausible segmentation via post-processing with denoising autoencoders", IEEE
TMI 2020, arXiv:2006.13791): an auto-encoder with a narrow code learns to return the clean map of a corrupted one, so
that what it returns for the map of any method looks like the anatomy that it was fitted to. It uses no image. As in the
paper: convolutions with a stride of 2, a code of 512 numbers between dense layers, the Dice loss. Other than there:
three dimensions, ten structures, cross entropy beside Dice, and clean maps that are phantoms, not those of the data
set, whose truth nobody has.

It is coarse: voxels of 3 mm, because minutes of a processor allow no more. What goes in and is learned are the shares
of the classes in each voxel, and the shares that come out are interpolated linearly, so that surfaces lie between the
voxels. Written anew from the paper, with MONAI's blocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from heart_cube import (
    CLASSES,
    FINER,
    SIDE,
    Places,
    Shares,
    cube_grid,
    from_cube,
    samples_in_cube,
    shares_of,
    usual_places,
)
from monai.networks.blocks import Convolution
from safetensors.torch import load_file, save_file
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation
from torch import nn

from heartmend.geometry.grid import Grid
from heartmend.io.atomic import read_json, write_json
from heartmend.metrics.overlap import dice
from heartmend.phantom.cohort import PhantomCase, PhantomSettings, make_case
from heartmend.phantom.corruption.realistic import corrupt_as_network, draw_tendency
from heartmend.phantom.corruption.recipe import CorruptionRecipe, corrupt
from heartmend.types import Labels

Report = Callable[[str], None]
Pair = tuple[Labels, Labels]
"""Samples of a corrupted and of the clean map in the same cube."""


@dataclass(frozen=True)
class DaeSettings:
    """Settings of the auto-encoder and its training.

    Attributes:
        spacing_mm: side of a voxel of the cube.
        phantoms: number of phantom hearts, whose voxels are as large as the samples.
        versions: corrupted maps of each kind, realistic and harsh, of each heart.
        code: numbers of the code.
        channels: channels of the four levels.
        batch: cubes in a step.
        cpu_s: CPU seconds of the training.
        rate: highest learning rate.
        seed: seed of all random numbers.
    """

    spacing_mm: float = 3.0
    phantoms: int = 80
    versions: int = 2
    code: int = 512
    channels: tuple[int, ...] = (24, 48, 96, 96)
    batch: int = 2
    cpu_s: float = 600.0
    rate: float = 2e-3
    seed: int = 0


def training_pairs(settings: DaeSettings) -> Iterator[Pair]:
    """Yield samples of corrupted and of clean maps of phantoms, in cubes around the corrupted map."""
    for index in range(settings.phantoms):
        case = _phantom(index, settings)
        grid = Grid(case.truth.shape, case.affine)
        for noisy in _corrupted(case.truth, np.array(case.spacing_mm), settings, index):
            # The clean map is cut by the cube of the corrupted one, as a map that is corrected will be.
            cube = cube_grid(noisy, grid, settings.spacing_mm)
            yield samples_in_cube(noisy, grid, cube), samples_in_cube(case.truth, grid, cube)


def _phantom(index: int, settings: DaeSettings) -> PhantomCase:
    phantom = PhantomSettings(spacing_mm=settings.spacing_mm / FINER, vary_grid=False, images=False, faults="harsh")
    return make_case(index, settings.seed + 90_000, phantom)


def _corrupted(
    truth: Labels, spacing_mm: npt.NDArray[np.float64], settings: DaeSettings, index: int
) -> Iterator[Labels]:
    for version in range(settings.versions):
        rng = np.random.default_rng([settings.seed, index, version])
        yield corrupt_as_network(truth, spacing_mm, rng, draw_tendency(rng))[0]
        yield corrupt(truth, spacing_mm, rng, CorruptionRecipe())[0]


def dae(settings: DaeSettings) -> nn.Module:
    """Make the auto-encoder: four convolutions with a stride of 2, the code, and four that enlarge again."""
    levels = settings.channels
    narrow = (SIDE // 2 ** len(levels)) ** 3
    layers: list[nn.Module] = []
    for before, after in zip((CLASSES, *levels), levels, strict=False):
        layers.append(Convolution(3, before, after, strides=2, norm="INSTANCE"))
    layers += [
        nn.Flatten(), nn.Linear(levels[-1] * narrow, settings.code), nn.PReLU(),
        nn.Linear(settings.code, levels[-1] * narrow), nn.Unflatten(1, (levels[-1], *(round(narrow ** (1 / 3)),) * 3)),
    ]  # fmt: skip
    ends = [*levels[::-1], CLASSES]
    for number, (before, after) in enumerate(pairwise(ends)):
        last = number == len(levels) - 1
        layers.append(Convolution(3, before, after, strides=2, is_transposed=True, conv_only=last, norm="INSTANCE"))
    return nn.Sequential(*layers)


class PostDae:
    """A denoising auto-encoder of label maps.

    Attributes:
        net: the network.
        settings: its settings.
        cpu_s: CPU seconds of the training, the phantoms included.
        steps: number of steps.
        places: usual places of the structures in the hearts that it was fitted to; None if they are not known.
    """

    def __init__(self, settings: DaeSettings) -> None:
        """Make it with random weights."""
        torch.manual_seed(settings.seed)
        self.net, self.settings, self.cpu_s, self.steps = dae(settings), settings, 0.0, 0
        self.places: Places | None = None

    def train(self, pairs: Sequence[Pair], report: Report | None = None) -> None:
        """Train it for `cpu_s` seconds of this process, with cross entropy and Dice (the paper: Dice).

        Args:
            pairs: corrupted and clean cubes; both are turned, scaled and moved alike by a random amount.
            report: is called every 100 steps.
        """
        settings, started = self.settings, time.process_time()
        rng = np.random.default_rng(settings.seed + self.steps)
        optimiser = torch.optim.AdamW(self.net.parameters(), lr=settings.rate, weight_decay=1e-4)
        self.net.train()
        while (share := (time.process_time() - started) / settings.cpu_s) < 1:
            for group in optimiser.param_groups:
                # Up for a twentieth of the time, and down to zero along a cosine.
                group["lr"] = settings.rate * min(share * 20 + 0.05, 1.0) * (0.5 + 0.5 * np.cos(np.pi * share))
            drawn = [varied(pairs[int(rng.integers(len(pairs)))], rng) for _ in range(settings.batch)]
            corrupted, clean = (
                torch.from_numpy(np.stack([shares_of(one) for one in part])) for part in zip(*drawn, strict=True)
            )
            with torch.autocast("cpu", torch.bfloat16):
                scores = self.net(corrupted)
            loss = entropy_and_dice(scores.float(), clean)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
            optimiser.step()
            self.steps += 1
            if report is not None and self.steps % 100 == 0:
                report(f"step {self.steps}: loss {float(loss.detach()):.3f}, {time.process_time() - started:.0f} CPU s")
        self.net.eval()
        self.cpu_s += time.process_time() - started

    @torch.no_grad()
    def __call__(self, labels: Labels, grid: Grid, changes_alone: bool = False) -> Labels:
        """Return the map that the auto-encoder gives for a label map, on its own grid.

        The heart is turned to the pose of those that it was fitted to, as the paper has images in a standard pose.

        Args:
            labels: (x, y, z) label map, 0 to `CLASSES` - 1.
            grid: its grid.
            changes_alone: add to the label map how the shares that come out differ from those that go in. So a map that
                the auto-encoder returns as it is stays as it is, however coarse the cube.

        Returns:
            The label map, same shape; outside the cube background, or the label map itself with `changes_alone`.
        """
        cube = cube_grid(labels, grid, self.settings.spacing_mm, self.places)
        given = shares_of(samples_in_cube(labels, grid, cube))
        shares: Shares = self.net(torch.from_numpy(given)[None]).softmax(dim=1)[0].numpy()
        return from_cube(shares - given, cube, grid, labels) if changes_alone else from_cube(shares, cube, grid)


def fitted(settings: DaeSettings, folder: Path, report: Report) -> PostDae:
    """Train it on phantoms, or read what was trained in this folder.

    Args:
        settings: settings of the training.
        folder: folder of the weights.
        report: is called every 100 steps.

    Returns:
        The auto-encoder; `cpu_s` includes the phantoms.
    """
    method, weights, done = PostDae(settings), folder / "weights.safetensors", folder / "training.json"
    if done.is_file():
        table = read_json(done)
        method.net.load_state_dict(load_file(weights))
        method.net.eval()
        method.steps, method.cpu_s, method.places = table["steps"], table["cpu_s"], np.array(table["places_mm"])
        return method
    started = time.process_time()
    pairs = list(training_pairs(settings))
    method.places = usual_places((clean for _, clean in pairs), settings.spacing_mm)
    method.cpu_s = time.process_time() - started
    report(f"Post-DAE: {len(pairs)} corrupted maps of phantoms, {method.cpu_s:.0f} CPU s")
    method.train(pairs, report)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(method.net.state_dict(), weights)
    places = method.places.round(2).tolist()
    write_json(done, {"steps": method.steps, "cpu_s": round(method.cpu_s, 1), "places_mm": places})
    return method


def unseen_phantoms(method: PostDae, count: int) -> tuple[float, float]:
    """Compute the mean Dice of phantoms that it was not fitted to, with harsh faults: before and after."""
    found = []
    for index in range(method.settings.phantoms, method.settings.phantoms + count):
        case = _phantom(index, method.settings)
        after = method(case.noisy, Grid(case.truth.shape, case.affine))
        for id in range(1, CLASSES):
            true = case.truth == id
            found.append([dice(case.noisy == id, true), dice(after == id, true)])
    before, repaired = np.mean(found, axis=0)
    return float(before), float(repaired)


def varied(pair: Pair, rng: np.random.Generator) -> Pair:
    """Turn, scale and move the samples of both maps alike: hearts lie and grow differently."""
    turn = Rotation.from_rotvec(rng.normal(0, np.radians(7), 3)).as_matrix()
    matrix = turn @ np.diag(rng.uniform(0.88, 1.14, 3))
    middle = np.full(3, (pair[0].shape[0] - 1) / 2)
    offset = middle - matrix @ (middle + rng.normal(0, FINER, 3))
    corrupted, clean = (affine_transform(one, matrix, offset, one.shape, np.uint8, order=0) for one in pair)
    return corrupted, clean


def entropy_and_dice(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Compute cross entropy and Dice (without the background) of scores before the softmax.

    Args:
        scores: (cube, class, x, y, z).
        wanted: (cube, class, x, y, z) shares of the classes.

    Returns:
        Their sum, as a tensor without axes.
    """
    logs = scores.log_softmax(dim=1)
    shares, axes = logs.exp(), (0, 2, 3, 4)
    dice = (2 * (shares * wanted).sum(axes) + 1) / ((shares**2).sum(axes) + (wanted**2).sum(axes) + 1)
    return -(logs * wanted).sum(dim=1).mean() + 1 - dice[1:].mean()
