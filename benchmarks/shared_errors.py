"""Errors that all cases share: drawn at random, and corrected with CTs or with five trusted cases.

python benchmarks/shared_errors.py COHORT OUT [--seed 0] [--cases 20] [--trusted 5] [--none]

COHORT has labels_true/ and images/. All cases get the same errors, drawn by the seed: structures that are too wide or
too thin by 0.6 to 1.2 mm where they border on the background, and two planes between touching structures that are
displaced by 2 to 4 mm; and each case 0.4 mm of noise of its own. --none draws no errors: then nothing may change.
Three runs: labels alone, with trusted cases (scored on the others), and with CTs. An interrupted one continues.
The error is the mean signed distance of the label's surface outside the true one, on the part of the surface that an
error was drawn for; Dice error removed is that of the whole structure. 95 % intervals over the cases (bootstrap).
"""

from __future__ import annotations

import argparse
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from rich.console import Console
from scipy.ndimage import gaussian_filter, map_coordinates

import heartmend as hm
from heartmend.geometry.distance import DistanceMap, signed_distance_mm
from heartmend.metrics.summary import Worse
from heartmend.repair.shared_errors.surface import sample_surface

NAMES = {1: "Myocardium", 2: "LA", 3: "LV", 4: "RA", 5: "RV", 6: "Aorta", 7: "PA", 8: "LAA", 10: "PV"}
PLANES = ((2, 3, "mitral plane"), (4, 5, "tricuspid plane"), (3, 6, "aortic valve"), (5, 7, "pulmonary valve"))
NOISE_MM = 0.4
console = Console(width=200, highlight=False, markup=False)
ARMS = ("input", "labels alone", "with CTs", "trusted")


@dataclass(frozen=True)
class Errors:
    """Errors of a cohort: width of each structure, and displacement of each plane into its second structure, in mm."""

    widths_mm: dict[int, float]
    planes_mm: dict[tuple[int, int], float]


def draw_errors(rng: np.random.Generator) -> Errors:
    """Draw the errors of a cohort."""
    chosen = rng.permutation([1, 2, 4, 5, 6, 7, 8])[:5]
    widths = {int(id): float(rng.choice([-1, 1]) * rng.uniform(0.6, 1.2)) for id in chosen}
    planes = rng.permutation(len(PLANES))[:2]
    displaced = {PLANES[at][:2]: float(rng.choice([-1, 1]) * rng.uniform(2.0, 4.0)) for at in planes}
    return Errors(widths, displaced)


def with_errors(truth: np.ndarray, spacing: tuple[float, ...], errors: Errors, rng: np.random.Generator) -> np.ndarray:
    """A label map with the errors of its cohort and noise of its own."""
    distances = {id: signed_distance_mm(truth == id, spacing) for id in NAMES}
    labels = truth.copy()
    for (first, second), displacement in errors.planes_mm.items():
        grows, shrinks = (first, second) if displacement > 0 else (second, first)
        labels[(truth == shrinks) & (distances[grows] > -abs(displacement))] = grows
    outside = signed_distance_mm(truth == 0, spacing)
    for id, width in errors.widths_mm.items():
        if width > 0:
            labels[(truth == 0) & (labels == 0) & (distances[id] > -width)] = id
        else:
            labels[(labels == id) & (truth == id) & (distances[id] < -width) & (outside > width - 0.3)] = 0
    sigma = 2.0 / np.array(spacing)
    noisy = labels.copy()
    best = np.full(truth.shape, -np.inf, np.float32)
    for id in (0, *NAMES):
        field = gaussian_filter(rng.standard_normal(truth.shape).astype(np.float32), sigma)
        value = signed_distance_mm(labels == id, spacing) + field / field.std() * NOISE_MM
        np.copyto(noisy, id, where=value > best)
        best = np.maximum(best, value)
    noisy[truth == 9] = 9
    return noisy


def regions_of(errors: Errors) -> list[tuple[str, int, int]]:
    """Name, structure and neighbour of each part of a surface with an error."""
    found = [(f"{NAMES[id]} beside background", id, 0) for id in sorted(errors.widths_mm)]
    for first, second, name in PLANES:
        if (first, second) in errors.planes_mm:
            found += [(f"{name} of {NAMES[first]}", first, second)]
    return found


def score(job: tuple[Path, list[Path], list[tuple[str, int, int]]]) -> np.ndarray:
    """Signed error in mm of each region, then Dice of each structure; a row for each of the label maps."""
    truth_path, paths, regions = job
    image = nib.load(truth_path)
    truth, spacing = np.asarray(image.dataobj), tuple(float(v) for v in image.header.get_zooms()[:3])
    rows = []
    for path in paths:
        labels = np.asarray(nib.load(path).dataobj)
        row = []
        for _, id, neighbour in regions:
            rng = np.random.default_rng(0)
            samples = sample_surface(DistanceMap.of_mask(truth == id, spacing), truth, id, np.array(spacing), rng)
            if samples is None or not (labels == id).any():
                row.append(np.nan)
                continue
            chosen = (samples.neighbours == neighbour) & samples.in_contact
            distance = map_coordinates(
                signed_distance_mm(labels == id, spacing), samples.points[chosen].T, order=1, mode="nearest"
            )
            row.append(float(distance.mean()) if chosen.any() else np.nan)
        for id in NAMES:
            both = np.count_nonzero((truth == id) & (labels == id))
            row.append(2 * both / max(np.count_nonzero(truth == id) + np.count_nonzero(labels == id), 1))
        rows.append(row)
    return np.array(rows)


def interval(values: np.ndarray) -> str:
    """Mean and 95 % bootstrap interval over the cases."""
    values = values[np.isfinite(values)]
    if not len(values):
        return "-"
    means = np.random.default_rng(0).choice(values, (1000, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{values.mean():+.2f} ({low:+.2f} to {high:+.2f})"


def main() -> None:
    """Make the cohort, run it three times, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--trusted", type=int, default=5)
    parser.add_argument("--none", action="store_true")
    arguments = parser.parse_args()
    out: Path = arguments.out
    errors = Errors({}, {}) if arguments.none else draw_errors(np.random.default_rng(arguments.seed))
    console.print("errors in mm:", {NAMES[id]: round(w, 2) for id, w in errors.widths_mm.items()},
          {f"{NAMES[a]} into {NAMES[b]}": round(w, 2) for (a, b), w in errors.planes_mm.items()})  # fmt: skip
    truths = sorted((arguments.cohort / "labels_true").glob("*.nii.gz"))[: arguments.cases]
    for folder in ("labels", "trusted", "images"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for at, path in enumerate(truths):
        if not (out / "labels" / path.name).exists():
            image = nib.load(path)
            rng = np.random.default_rng([arguments.seed, at])
            spacing = tuple(float(v) for v in image.header.get_zooms()[:3])
            labels = with_errors(np.asarray(image.dataobj).astype(np.uint8), spacing, errors, rng)
            made = nib.Nifti1Image(labels, image.affine)
            made.header.set_xyzt_units("mm")
            nib.save(made, out / "labels" / path.name)
            shutil.copy(arguments.cohort / "images" / path.name, out / "images" / path.name)
            if at < arguments.trusted:
                shutil.copy(path, out / "trusted" / path.name)
    hm.run(out / "labels", out / "alone", stop_after="fuse")
    shutil.copytree(out / "alone" / "labels", out / "alone_labels", dirs_exist_ok=True)
    if arguments.trusted:
        hm.run(out / "labels", out / "alone", trusted=out / "trusted", stop_after="fuse")
        shutil.copytree(out / "alone" / "labels", out / "trusted_labels", dirs_exist_ok=True)
    hm.run(out / "labels", out / "ct", images=out / "images", stop_after="fuse")
    folders = [out / "labels", out / "alone_labels", out / "ct" / "labels"]
    folders += [out / "trusted_labels"] if arguments.trusted else []
    regions = regions_of(errors)
    jobs = [(path, [folder / path.name for folder in folders], regions) for path in truths]
    with ProcessPoolExecutor(2) as pool:
        found = np.array(list(pool.map(score, jobs)))
    report(found, regions, arguments.trusted)


def report(found: np.ndarray, regions: list[tuple[str, int, int]], n_trusted: int) -> None:
    """Print the tables of `found` (case, arm, value)."""
    arms, n = ARMS[: found.shape[1]], len(regions)
    console.print(
        f"\n| signed error, mm ({len(found)} cases) | " + " | ".join(arms) + " |\n|---" + "|---" * len(arms) + "|"
    )
    for at, (name, _, _) in enumerate(regions):
        cells = [interval(found[n_trusted if arm == "trusted" else 0 :, k, at]) for k, arm in enumerate(arms)]
        console.print(f"| {name} | " + " | ".join(cells) + " |")
    console.print(
        "\n| Dice, input > repaired (error removed; worse by more than 0.01) | " + " | ".join(arms[1:]) + " |"
    )
    console.print("|---" * len(arms) + "|")
    worse_in: dict[str, list[int]] = {arm: [] for arm in arms}
    pairs_of = dict.fromkeys(arms, 0)
    for at, name in enumerate(NAMES.values()):
        cells = []
        for k, arm in enumerate(arms[1:], start=1):
            dice = found[n_trusted if arm == "trusted" else 0 :, :, n + at]
            before, after = dice[:, 0].mean(), dice[:, k].mean()
            worse = int(np.count_nonzero(dice[:, k] < dice[:, 0] - 0.01))
            removed = 1 - (1 - after) / max(1 - before, 1e-9)
            worse_in[arm].append(worse)
            pairs_of[arm] += len(dice)
            cells.append(f"{before:.3f} > {after:.3f} ({removed:+.2f}; {worse}/{len(dice)})")
        console.print(f"| {name} | " + " | ".join(cells) + " |")
    totals = [str(Worse.of(sum(worse_in[arm]), pairs_of[arm])) for arm in arms[1:]]
    console.print("| worse in all | " + " | ".join(totals) + " |")


if __name__ == "__main__":
    main()
