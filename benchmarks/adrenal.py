#!/usr/bin/env python3
"""Accuracy of Heartmend, NeAR, a U-Net and classical filters in the experiment of the NeAR paper on adrenal shapes.

usage: adrenal.py SHAPES [--trials 5] [--count 100] [--epochs 60] [--validate-every 20] [--lattice 32]
       [--unet-steps 400] [--methods filters,near,unet,heartmend] [--with-image] [--compile] [--state FOLDER]

The experiment is that of section 3.2 of Yang et al., MICCAI 2022. SHAPES is adrenalmnist3d_64.npz of MedMNIST v2 (its
train and val shapes are used). In each trial shapes are drawn and distorted (shape_distortion.py); then each method
repairs them without the truth: the filters of repair_cohort.py, the published NeAR (near_training.py), and `heartmend
run` with the anatomy adrenal on label maps of 1 mm voxels. DSC is Dice, NSD the share of both surfaces within one
voxel, in per cent: mean over the shapes of a trial, then mean and standard deviation over the trials. NeAR is trained
for `epochs` on lattices of `lattice`³ points and evaluated on 64³; it is validated every `validate-every` epochs, and
the epoch with the best true DSC counts, which favours it. --compile halves the time of an epoch; with --state an
interrupted training is continued. With --with-image the methods use an image too: NeAR with appearance, a U-Net that
relabels (unet_relabel.py), and Heartmend. The shapes have no CT, so the image is synthesised from the true shape: a
gland in fat, with blur and noise. It contains more information than a real CT.
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
from near_shape import NearShape
from near_training import fit_near, near_masks
from repair_cohort import FILTERS
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter
from shape_distortion import distort

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


def read_shapes(path: Path) -> npt.NDArray[np.bool_]:
    """Read the train and val shapes (case, 64, 64, 64) of an AdrenalMNIST3D file."""
    with np.load(path) as stored:
        return np.concatenate([stored["train_images"], stored["val_images"]]) > 0


def synthetic_image(mask: Mask, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Synthesise an image of a gland in fat, with blur and correlated noise, of about unit scale."""
    hu = gaussian_filter(np.where(mask, GLAND_HU, FAT_HU), BLUR_VOXELS)
    noise = gaussian_filter(rng.standard_normal(mask.shape), BLUR_VOXELS)
    hu += noise * (NOISE_HU / noise.std())
    return ((hu - FAT_HU) / (GLAND_HU - FAT_HU)).astype(np.float32)


def repair_with_filter(name: str, noisy: Masks) -> list[Mask]:
    """Repair shapes with a classical filter."""
    anatomy = load_anatomy("adrenal")
    return [FILTERS[name](mask.astype(np.uint8), VOXEL_MM, anatomy) > 0 for mask in noisy]


def repair_with_near(
    noisy: Masks, images: Sequence[npt.NDArray[np.float32]] | None, truth: Masks,
    arguments: argparse.Namespace, trial: int,    report: Callable[[str], None],
) -> list[Mask]:  # fmt: skip
    """Repair shapes with NeAR, with or without images; returns the validation with the best true DSC."""
    best: list[tuple[float, list[Mask]]] = []

    def validate(epoch: int, shape: NearShape, book: CodeBook) -> None:
        if epoch % arguments.validate_every == 0 or epoch == arguments.epochs:
            predicted = near_masks(shape, book, noisy[0].shape[0])
            (dsc, nsd), noisy_dsc = score(truth, predicted), score(noisy, predicted)[0]
            report(
                f"trial {trial}, NeAR, epoch {epoch}: DSC {dsc:.2f}, NSD {nsd:.2f}; "
                f"DSC with the noisy labels {noisy_dsc:.2f}"
            )
            best[:] = [max([*best, (dsc, predicted)], key=lambda one: one[0])]

    stacked = None if images is None else np.stack(images)
    state = arguments.state and arguments.state / f"near-{trial}{'' if images is None else '-image'}.pt"
    labels = np.stack(noisy)
    fitted = fit_near(
        labels, stacked, arguments.epochs, arguments.lattice, trial, validate, compiled=arguments.compile, state=state
    )  # fmt: skip
    if not best:  # the stored training was complete
        validate(arguments.epochs, *fitted)
    return best[0][1]


def repair_with_heartmend(noisy: Masks, images: Sequence[npt.NDArray[np.float32]] | None, seed: int) -> list[Mask]:
    """Repair shapes with `heartmend run` on files, with or without images."""
    with tempfile.TemporaryDirectory(prefix="heartmend-") as folder:
        labels, cts = Path(folder) / "labels", Path(folder) / "images"
        _save(labels, [mask.astype(np.uint8) for mask in noisy])
        if images is not None:
            _save(cts, [np.round(FAT_HU + image * (GLAND_HU - FAT_HU)).astype(np.int16) for image in images])
        config = load_config().model_copy(update={"seed": seed})
        request = Request(
            labels, Path(folder) / "out", images=None if images is None else cts, anatomy="adrenal", stop_after="fuse"
        )  # fmt: skip
        result = run(request, config)
        if result.skipped:
            raise SystemExit(f"skipped: {result.skipped}")
        maps = [nib.load(result.output / "labels" / f"{case:04d}.nii.gz") for case in range(len(noisy))]
        return [np.asarray(image.dataobj) > 0 for image in maps]


def _save(folder: Path, volumes: Sequence[npt.NDArray[np.generic]]) -> None:
    folder.mkdir()
    for case, volume in enumerate(volumes):
        nib.save(nib.Nifti1Image(volume, np.diag([*VOXEL_MM, 1.0])), folder / f"{case:04d}.nii.gz")


def repair_with_unet(noisy: Masks, images: Sequence[npt.NDArray[np.float32]], steps: int, seed: int) -> list[Mask]:
    """Relabel shapes with a U-Net that was trained on the other half of them."""
    from unet_relabel import UNetSettings, relabel

    settings = UNetSettings(steps=steps, patch=noisy[0].shape[0], batch=2, seed=seed)
    return [labels > 0 for labels in relabel(images, [mask.astype(np.uint8) for mask in noisy], settings)]


def score(truth: Masks, predicted: Masks) -> Scores:
    """Compute the mean DSC and NSD in per cent; both are 0 for an empty mask."""
    anatomy, metrics = load_anatomy("adrenal"), catalogue(keys=["dice", "nsd_1mm"])
    rows = []
    for true, mask in zip(truth, predicted, strict=True):
        maps = (mask.astype(np.uint8), mask.astype(np.uint8), VOXEL_MM, anatomy, true.astype(np.uint8))
        values = next(row.values for row in evaluate_case(*maps, metrics=metrics) if row.labels == "b")
        rows.append([100 * values.get(key, 0.0) for key in ("dice", "nsd_1mm")])
    dsc, nsd = np.mean(rows, axis=0)
    return float(dsc), float(nsd)


def methods(
    arguments: argparse.Namespace, truth: Masks, noisy: Masks, images: Sequence[npt.NDArray[np.float32]], trial: int,
    report: Callable[[str], None],
) -> dict[str, Callable[[], Masks]]:  # fmt: skip
    """Return the chosen methods by their name in the table."""
    near = partial(repair_with_near, noisy, truth=truth, arguments=arguments, trial=trial, report=report)
    chosen: dict[str, Callable[[], Masks]] = {"noisy": lambda: noisy}
    if "filters" in arguments.methods:
        chosen |= {name: partial(repair_with_filter, name, noisy) for name in FILTERS}
    if "near" in arguments.methods:
        chosen["NeAR, shape only"] = partial(near, None)
    if "heartmend" in arguments.methods:
        chosen["Heartmend, shape only"] = partial(repair_with_heartmend, noisy, None, trial)
    if arguments.with_image:
        if "unet" in arguments.methods:
            chosen["U-Net, with image"] = partial(repair_with_unet, noisy, images, arguments.unet_steps, trial)
        if "near" in arguments.methods:
            chosen["NeAR, with image"] = partial(near, images)
        if "heartmend" in arguments.methods:
            chosen["Heartmend, with image"] = partial(repair_with_heartmend, noisy, images, trial)
    return chosen


@contextmanager
def _timer(seconds: list[float]) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds.append(time.monotonic() - started)


def main() -> None:
    """Run the trials, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", type=Path)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--validate-every", type=int, default=20, help="epochs between two validations of NeAR")
    parser.add_argument("--lattice", type=int, default=32)
    parser.add_argument("--unet-steps", type=int, default=400)
    parser.add_argument(
        "--methods", type=lambda text: text.split(","), default=["filters", "near", "unet", "heartmend"]
    )  # fmt: skip
    parser.add_argument("--with-image", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="folder of the state of NeAR's training")
    arguments = parser.parse_args()
    console, pool = Console(width=120), read_shapes(arguments.shapes)
    found: dict[str, list[Scores]] = {}
    seconds: dict[str, list[float]] = {}
    for trial in range(arguments.first, arguments.first + arguments.trials):
        rng = np.random.default_rng(trial)
        truth = list(pool[rng.permutation(len(pool))[: arguments.count]])
        noisy = [distort(mask, rng) for mask in truth]
        images = [synthetic_image(mask, rng) for mask in truth]
        for name, method in methods(arguments, truth, noisy, images, trial, console.print).items():
            with _timer(seconds.setdefault(name, [])):
                repaired = method()
            found.setdefault(name, []).append(score(truth, repaired))
            dsc, nsd = found[name][-1]
            console.print(f"trial {trial}, {name}: DSC {dsc:.2f}, NSD {nsd:.2f}; {seconds[name][-1]:.0f} s")
    table = Table(
        title=f"{arguments.count} adrenal glands, {arguments.trials} trials, NeAR for {arguments.epochs} epochs"
    )
    for heading in ("", "DSC", "NSD, 1 voxel", "seconds a trial"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, scores in found.items():
        (dsc, nsd), (dsc_sd, nsd_sd) = np.mean(scores, axis=0), np.std(scores, axis=0, ddof=len(scores) > 1)
        table.add_row(name, f"{dsc:.2f} ± {dsc_sd:.2f}", f"{nsd:.2f} ± {nsd_sd:.2f}", f"{np.mean(seconds[name]):.0f}")
    console.print(table)


if __name__ == "__main__":
    main()
