#!/usr/bin/env python3
"""The experiment of the NeAR paper (Yang et al., MICCAI 2022, section 3.2) on real adrenal shapes: corrupt, mend, score.

usage: adrenal.py SHAPES [--trials 5] [--count 100] [--epochs 60] [--look 20] [--lattice 32]
       [--unet-steps 400] [--arms classics,near,unet,heartmend] [--appearance] [--compile] [--keep FOLDER]

SHAPES is adrenalmnist3d_64.npz of MedMNIST v2 (its train and val shapes are used). In each trial so many shapes are
drawn and distorted anew (distort.py); then each arm mends them without the truth: the classics of mend_cohort.py, NeAR
as published (near_training.py), and `heartmend run` with anatomy adrenal on label maps of 1 mm voxels. DSC is Dice, NSD
the share of both surfaces within a voxel, in per cent: mean over a trial's shapes, then mean and standard deviation
over the trials. NeAR is fitted for `epochs` passes on lattices of `lattice`³ points and asked on 64³; it is looked at
after every `look` epochs, and what counts is the look with the best DSC by the truth, which nobody would know: more
than its due. --compile halves the time of its epochs; with --keep its state is kept and it goes on where it was cut
off. With --appearance the arms see an image as well: NeAR with appearance, a U-Net that relabels (unet_relabel.py),
Heartmend. The shapes have no CT, so the image is made from the true shape: a gland among fat, blurred, noisy. It says
more than a CT would.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from distort import distorted
from mend_cohort import CLASSICS
from near_shape import NearShape
from near_training import fit_near, near_masks
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter

from heartmend.anatomy.load import load_anatomy
from heartmend.metrics.case import evaluate_case
from heartmend.metrics.metric_catalogue import catalogue
from heartmend.models.code_book import CodeBook
from heartmend.pipelines.config import load_config
from heartmend.pipelines.run import Request, run
from heartmend.types import Mask

VOXEL_MM = (1.0, 1.0, 1.0)
GLAND_HU, FAT_HU, NOISE_HU, BLUR_VOXELS = 40.0, -90.0, 30.0, 0.7
Masks = Sequence[Mask]
Scores = tuple[float, float]


def shapes_of(path: Path) -> npt.NDArray[np.bool_]:
    """The train and val shapes (case, 64, 64, 64) of an AdrenalMNIST3D file."""
    with np.load(path) as frozen:
        return np.concatenate([frozen["train_images"], frozen["val_images"]]) > 0


def synthetic_image(mask: Mask, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A gland among fat, blurred by the scanner, with correlated noise; about unit scale."""
    hu = gaussian_filter(np.where(mask, GLAND_HU, FAT_HU), BLUR_VOXELS)
    noise = gaussian_filter(rng.standard_normal(mask.shape), BLUR_VOXELS)
    hu += noise * (NOISE_HU / noise.std())
    return ((hu - FAT_HU) / (GLAND_HU - FAT_HU)).astype(np.float32)


def by_classic(name: str, noisy: Masks) -> list[Mask]:
    """Mended by one of the classics."""
    anatomy = load_anatomy("adrenal")
    return [CLASSICS[name](mask.astype(np.uint8), VOXEL_MM, anatomy) > 0 for mask in noisy]


def by_near(
    noisy: Masks, images: Sequence[npt.NDArray[np.float32]] | None, truth: Masks, asked: argparse.Namespace, trial: int,
    tell: Callable[[str], None],
) -> list[Mask]:  # fmt: skip
    """Mended by NeAR, shape only or with images: the best of its looks."""
    best: list[tuple[float, list[Mask]]] = []

    def told(epoch: int, shape: NearShape, book: CodeBook) -> None:
        if epoch % asked.look == 0 or epoch == asked.epochs:
            found = near_masks(shape, book, noisy[0].shape[0])
            (dsc, nsd), own = scored(truth, found), scored(noisy, found)[0]
            tell(f"trial {trial}, NeAR, epoch {epoch}: DSC {dsc:.2f}, NSD {nsd:.2f}; DSC with its labels {own:.2f}")
            best[:] = [max([*best, (dsc, found)], key=lambda look: look[0])]

    seen = None if images is None else np.stack(images)
    kept = asked.keep and asked.keep / f"near-{trial}{'' if images is None else '-image'}.pt"
    labels = np.stack(noisy)
    fitted = fit_near(labels, seen, asked.epochs, asked.lattice, trial, told, compiled=asked.compile, kept=kept)
    if not best:  # it was kept, and whole
        told(asked.epochs, *fitted)
    return best[0][1]


def by_heartmend(noisy: Masks, images: Sequence[npt.NDArray[np.float32]] | None, seed: int) -> list[Mask]:
    """Mended by `heartmend run` on files, by shape only or with images."""
    with tempfile.TemporaryDirectory(prefix="heartmend-") as folder:
        labels, cts = Path(folder) / "labels", Path(folder) / "images"
        _save(labels, [mask.astype(np.uint8) for mask in noisy])
        if images is not None:
            _save(cts, [np.round(FAT_HU + image * (GLAND_HU - FAT_HU)).astype(np.int16) for image in images])
        config = load_config().model_copy(update={"seed": seed})
        seen = None if images is None else cts
        done = run(Request(labels, Path(folder) / "out", images=seen, anatomy="adrenal", until="fuse"), config)
        if done.skipped:
            raise SystemExit(f"skipped: {done.skipped}")
        maps = [nib.load(done.out / "labels" / f"{case:04d}.nii.gz") for case in range(len(noisy))]
        return [np.asarray(image.dataobj) > 0 for image in maps]


def _save(folder: Path, volumes: Sequence[npt.NDArray[np.generic]]) -> None:
    folder.mkdir()
    for case, volume in enumerate(volumes):
        nib.save(nib.Nifti1Image(volume, np.diag([*VOXEL_MM, 1.0])), folder / f"{case:04d}.nii.gz")


def by_unet(noisy: Masks, images: Sequence[npt.NDArray[np.float32]], steps: int, seed: int) -> list[Mask]:
    """Relabelled by a U-Net that was trained on the other half."""
    from unet_relabel import UNetSettings, relabel

    settings = UNetSettings(steps=steps, patch=noisy[0].shape[0], batch=2, seed=seed)
    return [found > 0 for found in relabel(images, [mask.astype(np.uint8) for mask in noisy], settings)]


def scored(truth: Masks, found: Masks) -> Scores:
    """Mean DSC and NSD in per cent. Where nothing is left both are 0."""
    anatomy, metrics = load_anatomy("adrenal"), catalogue(keys=["dice", "nsd_1mm"])
    rows = []
    for true, mended in zip(truth, found, strict=True):
        as_labels = (mended.astype(np.uint8), mended.astype(np.uint8), VOXEL_MM, anatomy, true.astype(np.uint8))
        values = next(row.values for row in evaluate_case(*as_labels, metrics=metrics) if row.labels == "b")
        rows.append([100 * values.get(key, 0.0) for key in ("dice", "nsd_1mm")])
    dsc, nsd = np.mean(rows, axis=0)
    return float(dsc), float(nsd)


def arms(
    asked: argparse.Namespace, truth: Masks, noisy: Masks, images: Sequence[npt.NDArray[np.float32]], trial: int,
    tell: Callable[[str], None],
) -> dict[str, Callable[[], Masks]]:  # fmt: skip
    """What is asked for, by the name that the table gives it."""
    near = partial(by_near, noisy, truth=truth, asked=asked, trial=trial, tell=tell)
    chosen: dict[str, Callable[[], Masks]] = {"noisy": lambda: noisy}
    if "classics" in asked.arms:
        chosen |= {name: partial(by_classic, name, noisy) for name in CLASSICS}
    if "near" in asked.arms:
        chosen["NeAR, shape only"] = partial(near, None)
    if "heartmend" in asked.arms:
        chosen["Heartmend, shape only"] = partial(by_heartmend, noisy, None, trial)
    if asked.image_edges:
        if "unet" in asked.arms:
            chosen["U-Net, with image"] = partial(by_unet, noisy, images, asked.unet_steps, trial)
        if "near" in asked.arms:
            chosen["NeAR, with image"] = partial(near, images)
        if "heartmend" in asked.arms:
            chosen["Heartmend, with image"] = partial(by_heartmend, noisy, images, trial)
    return chosen


@contextmanager
def _clock(seconds: list[float]) -> Iterator[None]:
    began = time.monotonic()
    yield
    seconds.append(time.monotonic() - began)


def main() -> None:
    """Run the trials, print each as it is done, and the table."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("shapes", type=Path)
    ask.add_argument("--trials", type=int, default=5)
    ask.add_argument("--first", type=int, default=0, help="number of the first trial")
    ask.add_argument("--count", type=int, default=100)
    ask.add_argument("--epochs", type=int, default=60)
    ask.add_argument("--look", type=int, default=20)
    ask.add_argument("--lattice", type=int, default=32)
    ask.add_argument("--unet-steps", type=int, default=400)
    ask.add_argument("--arms", type=lambda text: text.split(","), default=["classics", "near", "unet", "heartmend"])
    ask.add_argument("--appearance", action="store_true")
    ask.add_argument("--compile", action="store_true")
    ask.add_argument("--keep", type=Path, metavar="FOLDER")
    asked = ask.parse_args()
    console, pool = Console(width=120), shapes_of(asked.shapes)
    found: dict[str, list[Scores]] = {}
    seconds: dict[str, list[float]] = {}
    for trial in range(asked.first, asked.first + asked.trials):
        rng = np.random.default_rng(trial)
        truth = list(pool[rng.permutation(len(pool))[: asked.count]])
        noisy = [distorted(mask, rng) for mask in truth]
        images = [synthetic_image(mask, rng) for mask in truth]
        for name, arm in arms(asked, truth, noisy, images, trial, console.print).items():
            with _clock(seconds.setdefault(name, [])):
                mended = arm()
            found.setdefault(name, []).append(scored(truth, mended))
            dsc, nsd = found[name][-1]
            console.print(f"trial {trial}, {name}: DSC {dsc:.2f}, NSD {nsd:.2f}; {seconds[name][-1]:.0f} s")
    table = Table(title=f"{asked.count} adrenal glands, {asked.trials} trials, NeAR for {asked.epochs} epochs")
    for heading in ("", "DSC", "NSD, 1 voxel", "seconds a trial"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, scores in found.items():
        (dsc, nsd), (dsc_sd, nsd_sd) = np.mean(scores, axis=0), np.std(scores, axis=0, ddof=len(scores) > 1)
        table.add_row(name, f"{dsc:.2f} ± {dsc_sd:.2f}", f"{nsd:.2f} ± {nsd_sd:.2f}", f"{np.mean(seconds[name]):.0f}")
    console.print(table)


if __name__ == "__main__":
    main()
