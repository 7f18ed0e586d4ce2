#!/usr/bin/env python3
"""Make small cohorts of hearts, each with faults of another kind and known truth.

usage: fault_families.py OUT [--cohort COHORT ...] [--hearts 6] [--seed 1] [--only NAMES]

OUT/FAMILY-HEARTS-alone gets labels_true/, labels_noisy/ and cases.csv. The hearts are phantoms; with COHORT (a folder
with labels_true/) the families take phantoms and hearts of these cohorts in turn. `fit_trust.py` leaves out one kind
after the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from rich.console import Console
from scipy.ndimage import gaussian_filter, shift

from heartmend.geometry.distance import signed_distance_mm
from heartmend.io.tables import format_csv
from heartmend.metrics.overlap import dice
from heartmend.phantom.cohort import PhantomSettings, make_case
from heartmend.phantom.corruption.patches import hole, label_swap, leak, small_component, speckle
from heartmend.phantom.corruption.slices import missing_slices, slice_shift, slice_staircase
from heartmend.phantom.corruption.surfaces import bias, rough_surfaces
from heartmend.phantom.corruption.vessel_faults import missing_end, vessel_gap
from heartmend.phantom.plan import STRUCTURES, Label
from heartmend.phantom.sdf import bounds, smooth_noise
from heartmend.types import Labels

Vector = npt.NDArray[np.float64]
SOLID = tuple(label for label in STRUCTURES if label != Label.CORONARY)


@dataclass(frozen=True)
class Draw:
    """Random numbers of one case of a family.

    Attributes:
        spacing_mm: (3,) voxel spacing.
        rng: generator of the case.
        family: generator of the family, the same in each of its cases.
    """

    spacing_mm: Vector
    rng: np.random.Generator
    family: np.random.Generator

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel spacing as numbers."""
        x, y, z = (float(step) for step in self.spacing_mm)
        return x, y, z

    def size(self, low: float, high: float) -> float:
        """Draw a number for this case."""
        return float(self.rng.uniform(low, high))


def warp(labels: Labels, draw: Draw) -> Labels:
    """Smooth displacement of all surfaces together, by some millimetres over a centimetre or more."""
    return rough_surfaces(labels, draw.spacing_mm, draw.rng, draw.size(0.7, 2.0), draw.size(8.0, 16.0))


def white(labels: Labels, draw: Draw) -> Labels:
    """Noise from voxel to voxel."""
    labels = rough_surfaces(labels, draw.spacing_mm, draw.rng, draw.size(0.4, 0.9), draw.size(1.0, 1.6))
    return speckle(labels, draw.rng, draw.size(0.005, 0.03))


def steps(labels: Labels, draw: Draw) -> Labels:
    """Thick slices, some shifted, and some without a label."""
    labels = slice_staircase(labels, draw.spacing_mm, [0.0, 0.0, draw.size(2.5, 6.0)])
    for _ in range(int(draw.rng.integers(1, 4))):
        labels = slice_shift(labels, draw.spacing_mm, draw.rng, draw.size(1.0, 3.0))
    return missing_slices(labels, draw.rng) if draw.rng.random() < 0.3 else labels


def coarse(labels: Labels, draw: Draw) -> Labels:
    """A grid of 1.8 to 3.2 mm, put back by the nearest voxel."""
    return slice_staircase(labels, draw.spacing_mm, [draw.size(1.8, 3.2)] * 3)


def width(labels: Labels, draw: Draw) -> Labels:
    """Structures too wide or too thin, each case in its own way, and not everywhere the same."""
    offsets_mm = draw.rng.uniform(-1.4, 1.4, len(SOLID)) * (draw.rng.random(len(SOLID)) < 0.7)
    labels = _with_offsets(labels, draw, offsets_mm, 0.4, 18.0)
    return bias(labels, draw.spacing_mm, draw.rng, Label.CORONARY, draw.size(-0.3, 0.5))


def convention(labels: Labels, draw: Draw) -> Labels:
    """Structures too wide or too thin, all cases in the same way."""
    return _convention(labels, draw, 1)


def annotators(labels: Labels, draw: Draw) -> Labels:
    """Two persons with a convention of their own each."""
    return _convention(labels, draw, 2)


def _convention(labels: Labels, draw: Draw, persons: int) -> Labels:
    offsets_mm = draw.family.uniform(-1.2, 1.2, (persons, len(SOLID) + 1))[int(draw.rng.integers(persons))]
    labels = _with_offsets(labels, draw, offsets_mm[:-1], draw.size(0.2, 0.5), draw.size(2.0, 5.0))
    return bias(labels, draw.spacing_mm, draw.rng, Label.CORONARY, float(offsets_mm[-1]) / 2)


def _with_offsets(labels: Labels, draw: Draw, offsets_mm: Vector, noise_mm: float, length_mm: float) -> Labels:
    """Move the surface of each structure outwards, with smooth noise: between two by the difference of both."""

    def distance_mm(mask: npt.NDArray[np.bool_], at: int) -> npt.NDArray[np.float32]:
        noise = noise_mm * smooth_noise(mask.shape, draw.spacing_mm, length_mm, draw.rng)
        # Twice: the background, to which the surface is compared, falls as the structure rises.
        return signed_distance_mm(mask, draw.spacing) + 2 * (np.float32(offsets_mm[at]) + noise)

    return _deepest(labels, draw, distance_mm)


def _deepest(
    labels: Labels, draw: Draw, distance_mm: Callable[[npt.NDArray[np.bool_], int], npt.NDArray[np.float32]]
) -> Labels:
    """The label in which each voxel is deepest; the background has its own distances, and coronaries stay."""
    box = bounds(labels > 0, labels.shape, 6)
    part = labels[box]
    vessel = part == Label.CORONARY
    best, found = signed_distance_mm((part == 0) | vessel, draw.spacing), np.zeros_like(part)
    for at, label in enumerate(SOLID):
        if (part == label).any():
            mm = distance_mm(part == label, at)
            found[mm > best] = label
            np.maximum(best, mm, out=best)
    found[vessel] = Label.CORONARY
    result = np.zeros_like(labels)
    result[box] = found
    return result


def pieces(labels: Labels, draw: Draw) -> Labels:
    """Parts that are missing, swapped or too much, between surfaces that are right."""
    at: tuple[Vector, np.random.Generator] = (draw.spacing_mm, draw.rng)
    for _ in range(int(draw.rng.integers(2, 9))):
        labels = leak(labels, *at, draw.size(3.0, 9.0))
        labels = hole(labels, *at, draw.size(2.0, 7.0))
    for _ in range(int(draw.rng.integers(0, 4))):
        labels = label_swap(labels, *at, draw.size(4.0, 10.0))
        labels = small_component(labels, *at, draw.size(1.5, 7.0))
        labels = vessel_gap(labels, *at, Label.CORONARY, draw.size(2.0, 7.0))
    for label in (Label.CORONARY, Label.PV, Label.LAA):
        if draw.rng.random() < 0.35:
            labels = missing_end(labels, *at, label, draw.size(6.0, 18.0))
    return labels


def melted(labels: Labels, draw: Draw) -> Labels:
    """Blurred structures with smooth noise, of which the largest value counts: as of a network at a coarse spacing."""
    box = bounds(labels > 0, labels.shape, 8)
    part, sigma_mm = labels[box], draw.size(1.0, 2.6)
    noise, length_mm = draw.size(0.1, 0.35), draw.size(4.0, 9.0)
    best, found = np.full(part.shape, -np.inf, np.float32), np.zeros_like(part)
    for label in (Label.BACKGROUND, *STRUCTURES):
        blurred = gaussian_filter((part == label).astype(np.float32), sigma_mm / draw.spacing_mm, truncate=3)
        value = blurred * (1 + noise * smooth_noise(part.shape, draw.spacing_mm, length_mm, draw.rng))
        found[value > best] = label
        np.maximum(best, value, out=best)
    result = np.zeros_like(labels)
    result[box] = found
    return result


def nearly(labels: Labels, draw: Draw) -> Labels:
    """Careful labels: hardly any error."""
    return rough_surfaces(labels, draw.spacing_mm, draw.rng, draw.size(0.1, 0.3), draw.size(1.5, 5.0))


def moved(labels: Labels, draw: Draw) -> Labels:
    """Each structure somewhere else, by up to 2 mm."""

    def distance_mm(mask: npt.NDArray[np.bool_], at: int) -> npt.NDArray[np.float32]:
        away = draw.rng.standard_normal(3)
        mm = draw.size(0.3, 2.0) * away / np.linalg.norm(away)
        still = signed_distance_mm(mask, draw.spacing)
        # The background is as deep as the structure was far before: what is above it is inside the moved structure.
        return 2 * shift(still, mm / draw.spacing_mm, order=1, mode="nearest") - still

    return _deepest(labels, draw, distance_mm)


def sparse(labels: Labels, draw: Draw) -> Labels:
    """Drawn on each slice of 3 to 8 mm by a hand that wobbles, and interpolated between by distances."""
    step = max(round(draw.size(3.0, 8.0) / float(draw.spacing_mm[2])), 2)
    box = bounds(labels > 0, labels.shape, 4)
    part = labels[box]
    drawn = np.unique(np.append(np.arange(0, part.shape[2], step), part.shape[2] - 1))
    lower = np.clip(np.searchsorted(drawn, np.arange(part.shape[2]), side="right") - 1, 0, len(drawn) - 2)
    share = ((np.arange(part.shape[2]) - drawn[lower]) / np.diff(drawn)[lower]).astype(np.float32)
    in_plane = (float(draw.spacing_mm[0]), float(draw.spacing_mm[1]), 1e3)
    wobble_mm, sheet = draw.size(0.2, 0.8), (*part.shape[:2], len(drawn))
    best, found = np.zeros(part.shape, np.float32), np.zeros_like(part)
    for label in STRUCTURES:
        mask = part[:, :, drawn] == label
        if not mask.any():
            continue
        # Slices count as 1 m apart, so that each has its own distances.
        mm = np.clip(signed_distance_mm(mask, in_plane), -20, 20)
        mm += wobble_mm * smooth_noise(sheet, (*draw.spacing_mm[:2], 1e3), 6.0, draw.rng)
        between = mm[:, :, lower] * (1 - share) + mm[:, :, lower + 1] * share
        found[between > best] = label
        np.maximum(best, between, out=best)
    result = np.zeros_like(labels)
    result[box] = found
    return result


FAMILIES: tuple[Callable[[Labels, Draw], Labels], ...] = (
    warp, white, steps, coarse, width, convention, annotators, pieces, melted, nearly, moved, sparse,
)  # fmt: skip


def hearts(cohort: Path | None, count: int, seed: tuple[int, int]) -> Iterator[tuple[str, Labels, npt.NDArray]]:
    """Yield id, true label map and affine of some hearts of a cohort, or of phantoms."""
    if cohort is None:
        for index in range(count):
            case = make_case(index, sum(seed) * 1000 + 17, PhantomSettings(images=False))
            yield case.id, case.truth, case.affine
        return
    paths = sorted((cohort / "labels_true").glob("*.nii.gz"))
    for at in sorted(np.random.default_rng(seed).permutation(len(paths))[:count]):
        image = nib.load(paths[at])
        yield paths[at].name.removesuffix(".nii.gz"), np.asarray(image.dataobj).astype(np.uint8), image.affine


def make(family: int, cohort: Path | None, folder: Path, count: int, seed: int) -> None:
    """Write the cohort of a family."""
    fault = FAMILIES[family]
    for name in ("labels_true", "labels_noisy"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (case, truth, affine) in enumerate(hearts(cohort, count, (seed, family))):
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        streams = (np.random.default_rng([seed, family, 1, number]), np.random.default_rng([seed, family, 2]))
        noisy = fault(truth, Draw(spacing, *streams))
        for name, labels in (("labels_true", truth), ("labels_noisy", noisy)):
            image = nib.Nifti1Image(labels, affine)
            image.header.set_xyzt_units("mm")
            nib.save(image, folder / name / f"{case}.nii.gz")
        present = [label for label in STRUCTURES if (truth == label).any()]
        rows.append((case, fault.__name__, round(float(np.mean([dice(truth == s, noisy == s) for s in present])), 4)))
    (folder / "cases.csv").write_text(format_csv(("case", "family", "dice"), rows))


def make_all(output: Path, cohorts: Sequence[Path], count: int, seed: int, only: Sequence[str]) -> Iterator[Path]:
    """Make the cohorts that are not there yet, and yield the folder of each, FAMILY-HEARTS-alone."""
    bases = [None, *cohorts]
    for family, fault in enumerate(FAMILIES):
        base, name = bases[family % len(bases)], fault.__name__
        # The phantoms of each family are other ones.
        hearts_name = f"phantom_{name}" if base is None else base.name.replace("-", "_")
        folder = output / f"{name}-{hearts_name}-alone"
        if only and name not in only:
            continue
        if not (folder / "cases.csv").exists():
            make(family, base, folder, count, seed)
        yield folder


def main() -> None:
    """Make the cohorts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("--cohort", type=Path, action="append", default=[], help="further hearts; can be repeated")
    parser.add_argument("--hearts", type=int, default=6, help="hearts of each family")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="families, such as warp,white")
    arguments = parser.parse_args()
    for folder in make_all(arguments.output, arguments.cohort, arguments.hearts, arguments.seed, arguments.only):
        Console().print(str(folder))


if __name__ == "__main__":
    main()
