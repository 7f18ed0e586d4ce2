"""Cohorts whose noisy labels are the predictions of a small 3D U-Net, for `network_labels.py`. Needs MONAI.

In two folds a network learns the true label maps of one half of a cohort from their CTs and predicts the other half. A
prediction is taken when the network has reached a given Dice on two cases of the other half, so one training gives maps
of several strengths, whose errors are its own: they follow the image, and all cases of a fold share their tendency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from scipy.spatial.transform import Rotation
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.roi import CT_WINDOW_HU
from heartmend.io.dataset import Case, Cohort, discover_cohort
from heartmend.io.label_writing import write_labels_like
from heartmend.metrics.overlap import dice
from heartmend.release.case_layouts import link_or_copy
from heartmend.types import Labels

CHAMBERS = (1, 2, 3, 4, 5)
"""Structures whose mean Dice is the strength of a network: Myocardium, LA, LV, RA, RV."""
WATCHED_CASES = 2
EMA_DECAY = 0.98
"""The weights that predict are a running mean over about 1 / (1 - EMA_DECAY) steps."""
MAX_TURN_DEGREES, MAX_SCALE = 15.0, 1.15
"""A patch is turned and scaled by at most this: a network of ten hearts learns their poses otherwise."""
STRIDE = 8
"""The network needs a multiple of this number of voxels along each axis."""
Array = npt.NDArray[np.float32]
Report = Callable[[str], None]


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of the networks and their training.

    Attributes:
        spacing_mm: voxel size of the grid of the network of each fold, in mm.
        strengths: name of each strength and the mean Dice of the chambers at which it is taken, in ascending order.
        steps: largest number of training steps of a fold; a strength that is not reached is taken at the end.
        every: steps between two looks at the Dice.
        patch: voxels along each side of a patch.
        channels: channels of each level.
        rate: learning rate.
        seed: seed of all random numbers.
    """

    spacing_mm: tuple[float, float] = (1.5, 2.0)
    strengths: Mapping[str, float] = field(
        default_factory=lambda: {"early": 0.85, "middle": 0.92, "converged": 0.96}
    )  # fmt: skip
    steps: int = 1500
    every: int = 25
    patch: int = 64
    channels: tuple[int, ...] = (16, 32, 64, 128)
    rate: float = 4e-3
    seed: int = 0


@dataclass(frozen=True, eq=False)
class CoarseCase:
    """A case on the grid of a network, with its axes in the order and direction of the patient.

    Attributes:
        case: the case.
        inputs: (4, x, y, z) CT of about unit scale, and the place in the volume from -1 to 1 along each axis.
        classes: (x, y, z) int64, number of the structure in the anatomy, from 1; 0 is background.
        shape: shape of the label map, in the same order of axes.
        orientation: orientation of the axes of the file, as of nibabel.
    """

    case: Case
    inputs: Array
    classes: npt.NDArray[np.int64]
    shape: tuple[int, ...]
    orientation: npt.NDArray[np.float64]


def make_cohorts(
    source: Path, output: Path, anatomy: Anatomy, settings: NetworkSettings, report: Report = print
) -> dict[str, Path]:
    """Make a cohort of each strength: labels_noisy/ are predictions, labels_true/ and images/ those of the source.

    What is there stays, so an interrupted call continues: with the next fold, which is trained anew.

    Args:
        source: cohort with labels_true/ and images/.
        output: folder of the cohorts, one for each strength.
        anatomy: the structures.
        settings: settings of the networks.
        report: receives a line of text now and then.

    Returns:
        The folder of each strength.
    """
    cohort = discover_cohort(source / "labels_true", source / "images", anatomy=anatomy)
    folders = {name: output / name for name in settings.strengths}
    for folder in folders.values():
        _link(source, folder)
    ids = [case.id for case in cohort]
    for fold in (0, 1):
        wanted = [id for at, id in enumerate(ids) if at % 2 != fold]
        paths = [folder / "labels_noisy" / cohort[id].labels_path.name for folder in folders.values() for id in wanted]
        if all(path.exists() for path in paths):
            continue
        cases = [coarse_case(cohort, case, anatomy, settings.spacing_mm[fold]) for case in cohort]
        learned, predicted = cases[fold::2], cases[1 - fold :: 2]
        for name, network in train(learned, predicted[:WATCHED_CASES], len(anatomy.ids) + 1, settings, fold, report):
            for at, case in enumerate(predicted):
                labels = predict(network, case, anatomy, nearest=(at + fold) % 2 == 0)
                volume = cohort.read_labels(case.case)
                out = folders[name] / "labels_noisy" / case.case.labels_path.name
                write_labels_like(labels, case.case.labels_path, out, volume.meaning)
    return folders


def _link(source: Path, folder: Path) -> None:
    """Give the true label maps and the CTs of a cohort a second name in another folder."""
    (folder / "labels_noisy").mkdir(parents=True, exist_ok=True)
    for name in ("labels_true", "images"):
        (folder / name).mkdir(exist_ok=True)
        for path in sorted((source / name).iterdir()):
            if path.is_file() and not (folder / name / path.name).exists():
                link_or_copy(path, folder / name / path.name)


def coarse_case(cohort: Cohort, case: Case, anatomy: Anatomy, spacing_mm: float) -> CoarseCase:
    """Resample a case to the grid of a network.

    Args:
        cohort: the cohort, with CTs.
        case: one of its cases.
        anatomy: the structures.
        spacing_mm: voxel size of that grid, about.

    Returns:
        The case on that grid.
    """
    volume = cohort.read_labels(case)
    image = cohort.read_image(case, volume.grid)
    if image is None:
        raise SystemExit(f"{case.labels_path}: has no CT; the network needs one for every case")
    orientation = nib.io_orientation(volume.grid.affine)
    labels, values = (nib.apply_orientation(one, orientation) for one in (volume.labels, image.values))
    spacing = nib.affines.voxel_sizes(volume.grid.affine)[np.argsort(orientation[:, 0])]
    size = [max(round(n * step / spacing_mm), 1) for n, step in zip(labels.shape, spacing, strict=True)]
    low, high = CT_WINDOW_HU
    scaled = np.clip((values.astype(np.float32) - low) / (high - low), 0, 1)
    ct = F.interpolate(torch.from_numpy(np.ascontiguousarray(scaled))[None, None], size, mode="trilinear")[0, 0]
    numbers = np.zeros(256, np.int64)
    numbers[list(anatomy.ids)] = np.arange(1, len(anatomy.ids) + 1)
    # The voxel at the centre of each voxel of the coarse grid.
    centres = [((np.arange(m) + 0.5) * n / m).astype(int) for m, n in zip(size, labels.shape, strict=True)]
    places = np.meshgrid(*(np.linspace(-1, 1, m, dtype=np.float32) for m in size), indexing="ij")
    return CoarseCase(
        case, np.stack([ct.numpy(), *places]), numbers[labels[np.ix_(*centres)]], labels.shape, orientation
    )


def train(
    learned: Sequence[CoarseCase], watched: Sequence[CoarseCase], classes: int, settings: NetworkSettings, fold: int,
    report: Report = print,
) -> Iterator[tuple[str, torch.nn.Module]]:  # fmt: skip
    """Train a network, and stop at each strength.

    Args:
        learned: cases that it learns from.
        watched: cases on which its Dice is measured.
        classes: number of classes, the background included.
        settings: settings of the training.
        fold: number of the fold, part of the seed.
        report: receives the Dice now and then.

    Yields:
        The name of each strength, and the network when it has reached it.
    """
    torch.manual_seed(settings.seed * 2 + fold)
    rng = np.random.default_rng([settings.seed, fold])
    strides = (2,) * (len(settings.channels) - 1)
    network = UNet(3, 4, classes, settings.channels, strides, num_res_units=0, norm="INSTANCE")
    smooth = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY))
    loss_function = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.rate)
    waiting = list(settings.strengths.items())
    for step in range(1, settings.steps + 1):
        inputs, target = _patch(learned[rng.integers(len(learned))], settings.patch, rng)
        # The rate rises over the first steps and falls slowly, so that every strength is a network at rest.
        optimiser.param_groups[0]["lr"] = settings.rate * min(step / 40, 1.0) * (1 - 0.9 * step / settings.steps)
        loss = loss_function(network(inputs), target)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        smooth.update_parameters(network)
        if step % settings.every and step < settings.steps:
            continue
        reached = float(np.mean([chamber_dice(smooth.module, case) for case in watched]))
        report(f"fold {fold + 1}, step {step}: loss {float(loss.detach()):.3f}, Dice of the chambers {reached:.3f}")
        while waiting and (reached >= waiting[0][1] or step == settings.steps):
            yield waiting.pop(0)[0], smooth.module
        if not waiting:
            return


def _patch(case: CoarseCase, side: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a patch of a case, turned, scaled, with another contrast; not mirrored: hearts have a left and a right."""
    shape = np.array(case.classes.shape)
    first = rng.integers(np.maximum(shape - side, 0) + 1)
    turn = Rotation.from_rotvec(np.deg2rad(MAX_TURN_DEGREES) * rng.uniform(-1, 1, 3) / np.sqrt(3)).as_matrix()
    # From the voxels of the patch to those of the volume, and from there to -1 to 1, in the order z, y, x.
    linear = turn * np.exp(rng.uniform(-1, 1) * np.log(MAX_SCALE))
    corners = np.stack(np.meshgrid(*(np.arange(side) - (side - 1) / 2,) * 3, indexing="ij"), axis=-1)
    places = corners @ linear.T + first + (side - 1) / 2
    unit = torch.from_numpy(((2 * places + 1) / shape - 1)[..., ::-1].astype(np.float32).copy())[None]
    inputs = F.grid_sample(torch.from_numpy(case.inputs)[None], unit, padding_mode="border", align_corners=False)
    classes = torch.from_numpy(case.classes)[None, None].float()
    target = F.grid_sample(classes, unit, mode="nearest", padding_mode="zeros", align_corners=False)
    inputs[:, 0] = inputs[:, 0] * rng.uniform(0.85, 1.15) + rng.normal(0, 0.03)
    return inputs, target.long()


@torch.no_grad()
def probabilities(network: torch.nn.Module, case: CoarseCase) -> torch.Tensor:
    """Predict the probability of each class on the grid of the network.

    Args:
        network: the network.
        case: the case.

    Returns:
        (classes, x, y, z) float32.
    """
    network.eval()
    shape = case.classes.shape
    padded = np.pad(case.inputs, [(0, 0), *((0, -n % STRIDE) for n in shape)], mode="edge")
    found: torch.Tensor = network(torch.from_numpy(padded[None]))[0, :, : shape[0], : shape[1], : shape[2]].softmax(0)
    network.train()
    return found


def chamber_dice(network: torch.nn.Module, case: CoarseCase) -> float:
    """Measure the mean Dice of the chambers of a case on the grid of the network.

    Args:
        network: the network.
        case: the case.

    Returns:
        The mean Dice.
    """
    found = probabilities(network, case).argmax(0).numpy()
    return float(np.mean([dice(case.classes == number, found == number) for number in CHAMBERS]))


def predict(network: torch.nn.Module, case: CoarseCase, anatomy: Anatomy, *, nearest: bool) -> Labels:
    """Predict the label map of a case on its own grid.

    Args:
        network: the network.
        case: the case.
        anatomy: the structures.
        nearest: take the class of the nearest voxel of the network's grid, which makes steps; otherwise probabilities
            are interpolated.

    Returns:
        (x, y, z) uint8 in the order of the file.
    """
    found = probabilities(network, case)
    if nearest:
        labels = F.interpolate(found.argmax(0)[None, None].float(), case.shape, mode="nearest-exact")[0, 0].byte()
    else:
        best = torch.zeros(case.shape)
        labels = torch.zeros(case.shape, dtype=torch.uint8)
        for number, share in enumerate(found):
            fine = F.interpolate(share[None, None], case.shape, mode="trilinear")[0, 0]
            labels[fine > best] = number
            torch.maximum(best, fine, out=best)
    ids = np.array([0, *anatomy.ids], np.uint8)[labels.numpy()]
    turned = nib.orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), case.orientation)
    return np.ascontiguousarray(nib.apply_orientation(ids, turned))
