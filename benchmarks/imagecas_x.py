#!/usr/bin/env python3
"""Repair of the original labels of ImageCAS, scored against those of ImageCAS-X.

usage: imagecas_x.py --imagecas DIR --imagecas-x DIR [--images] [--cases N] [--output OUT] [--workers N]
       imagecas_x.py --phantoms N [--spacing MM] [--output OUT] [--workers N]

Both sets are public and are brought by the user: ImageCAS (Zeng et al. 2023) with `N.label.nii.gz` and `N.img.nii.gz`
anywhere below its folder, ImageCAS-X (Bransby et al. 2026, doi 10.5281/zenodo.21887809) with
`segmentations/N.coronary.nii.gz`. Cases of one number are paired; scans in `filelist/exclude.txt` are left out. The
labels are repaired with `heartmend run --preset-ids imagecas` (with `--images` beside their CTs), and scored as lumen
(all segments as one) beside other methods: components of at least 100 and of 500 voxels, the two largest, Gaussian
smoothing of 0.4 mm with the volume kept.

With `--phantoms N` such folders are made from phantom trees (coronary_trees.py) in place of the sets.

Prints means over the cases with 95 % bootstrap intervals: Dice, HD95, Betti-0 and Betti-1 error (components, tunnels),
clDice, OV, OF and OT of the Rotterdam framework (without an aorta a tree begins at its thickest end), and the share of
Dice error removed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from coronary_corruption import NOISE, corrupt_tree
from coronary_trees import METHODS, NOISE_MM, classic, removed, removed_interval
from rich.console import Console
from rich.table import Table

import heartmend as hm
from heartmend.anatomy.load import load_anatomy
from heartmend.coronaries.segments import Segment
from heartmend.metrics.case import evaluate_case
from heartmend.metrics.metric_catalogue import catalogue
from heartmend.metrics.statistics import bootstrap_interval
from heartmend.phantom.coronary_tree import SEGMENTS, draw_tree, sample_tree
from heartmend.phantom.plan import Label

LABEL, IMAGE, REFERENCE = ".label.nii.gz", ".img.nii.gz", ".coronary.nii.gz"
KEYS = {
    "dice": "Dice", "hd95_mm": "HD95, mm",
    "component_count_error": "Betti-0 error", "tunnel_count_error": "Betti-1 error",
    "cldice": "clDice", "centreline_ov": "OV", "centreline_of": "OF", "centreline_ot": "OT",
}  # fmt: skip
NAMES = dict(zip(SEGMENTS, (1, 2, 3, 9, 4, 6, 10, 11, 14), strict=True))
"""Ids of ImageCAS-X of the vessels of a phantom; of two D or OM both have the id of the first."""


def make_phantoms(folder: Path, count: int, spacing_mm: float) -> None:
    """Write phantom trees as the two sets are laid out."""
    for name in ("imagecas/1-200", "imagecas-x/segmentations"):
        (folder / name).mkdir(parents=True)
    for seed in range(count):
        rng = np.random.default_rng(seed)
        phantom = draw_tree(sample_tree(rng), (spacing_mm,) * 3, rng)
        noisy = corrupt_tree(phantom, rng, NOISE[seed % len(NOISE)], float(rng.uniform(*NOISE_MM)))
        named = np.zeros(noisy.shape, np.uint8)
        for i, name in enumerate(SEGMENTS, start=1):
            named[phantom.segments == i] = NAMES[name]
        for path, values in (
            (folder / "imagecas" / "1-200" / f"{seed + 1}{LABEL}", noisy == Label.CORONARY),
            (folder / "imagecas-x" / "segmentations" / f"{seed + 1}{REFERENCE}", named),
        ):
            nib.save(nib.Nifti1Image(values.astype(np.uint8), phantom.affine), path)


def pairs(imagecas: Path, imagecas_x: Path) -> dict[str, tuple[Path, Path]]:
    """Find the label map and its reference of each case."""
    labels = {path.name.removesuffix(LABEL): path for path in sorted(imagecas.rglob(f"*{LABEL}"))}
    references = {path.name.removesuffix(REFERENCE): path for path in sorted(imagecas_x.rglob(f"*{REFERENCE}"))}
    listed = next(iter(imagecas_x.rglob("filelist/exclude.txt")), None)
    excluded = set(listed.read_text().split()) if listed is not None else set()
    ids = sorted(labels.keys() & references.keys() - excluded, key=lambda id: (len(id), id))
    if not ids:
        raise SystemExit(f"no N{LABEL} below {imagecas} has an N{REFERENCE} below {imagecas_x}")
    return {id: (labels[id], references[id]) for id in ids}


def place(path: Path, target: Path) -> None:
    """Link a file into a folder, or copy it where links are not possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def score(job: tuple[str, Path, Path, Path]) -> dict[str, Any]:
    """Score the input, the repair and the other methods of one case."""
    id, label_path, reference_path, repaired_path = job
    images = [nib.load(path) for path in (label_path, repaired_path, reference_path)]
    if len({image.shape for image in images}) > 1:
        raise SystemExit(f"{reference_path}: its shape differs from that of {label_path}")
    label, repaired, reference = (np.asarray(image.dataobj) > 0 for image in images)
    spacing = tuple(float(v) for v in images[0].header.get_zooms()[:3])
    masks = {"input": label, "Heartmend": repaired, **{method: classic(label, method, spacing) for method in METHODS}}
    truth = (reference * Label.CORONARY).astype(np.uint8)
    found: dict[str, Any] = {"case": id}
    methods = list(masks)
    for pair in zip(methods[::2], methods[1::2], strict=True):
        a, b = ((masks[method] * Label.CORONARY).astype(np.uint8) for method in pair)
        rows = evaluate_case(
            a, b, spacing, load_anatomy("heart"), truth, metrics=catalogue(keys=KEYS), structures=("Coronary",)
        )
        found |= {method: row.values for method, row in zip(pair, rows, strict=False)}
    return found


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    table = Table("method", *KEYS.values(), "Dice error removed")
    before = [row["input"]["dice"] for row in rows]
    for method in ("input", "Heartmend", *METHODS):
        cells = []
        for key in KEYS:
            values = np.array([row[method][key] for row in rows])
            low, high = bootstrap_interval(values)
            cells.append(f"{values.mean():.3f}\n({low:.3f} to {high:.3f})")
        after = [row[method]["dice"] for row in rows]
        low, high = removed_interval(before, after)
        gain = "" if method == "input" else f"{removed(before, after):.2f}\n({low:.2f} to {high:.2f})"
        table.add_row(method, *cells, gain)
    console = Console(width=200)
    console.print(table)
    console.print(f"{len(rows)} cases; segments of ImageCAS-X as one lumen: {', '.join(one.label for one in Segment)}")


def main() -> None:
    """Pair, repair and score the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imagecas", type=Path, help="folder of ImageCAS")
    parser.add_argument("--imagecas-x", type=Path, help="folder of ImageCAS-X")
    parser.add_argument("--phantoms", type=int, default=0, help="number of phantom trees in place of the sets")
    parser.add_argument("--spacing", type=float, default=0.5, help="voxel size of the phantoms in mm")
    parser.add_argument("--images", action="store_true", help="repair with the CTs of ImageCAS")
    parser.add_argument("--cases", type=int, default=0, help="first cases only")
    parser.add_argument("--output", type=Path, help="folder to keep the run in")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    if not arguments.phantoms and not (arguments.imagecas and arguments.imagecas_x):
        parser.error("give --imagecas and --imagecas-x, or --phantoms")
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.output or Path(temporary)
        imagecas, imagecas_x = arguments.imagecas, arguments.imagecas_x
        if arguments.phantoms:
            make_phantoms(work / "sets", arguments.phantoms, arguments.spacing)
            imagecas, imagecas_x = work / "sets" / "imagecas", work / "sets" / "imagecas-x"
        cases = dict(list(pairs(imagecas, imagecas_x).items())[: arguments.cases or None])
        for id, (label_path, _) in cases.items():
            place(label_path, work / "labels" / f"{id}.nii.gz")
            if arguments.images:
                image = label_path.with_name(f"{id}{IMAGE}")
                place(image, work / "images" / f"{id}.nii.gz")
        result = hm.run(
            work / "labels", work / "repaired", images=work / "images" if arguments.images else None,
            preset_ids="imagecas", stop_after="fuse", workers=arguments.workers,
        )  # fmt: skip
        for id, reason in result.skipped.items():
            Console(stderr=True).print(f"{id}: skipped: {reason}")
        jobs = [
            (id, label_path, reference, work / "repaired" / "labels" / f"{id}.nii.gz")
            for id, (label_path, reference) in cases.items()
            if id not in result.skipped
        ]
        with ProcessPoolExecutor(arguments.workers) as pool:
            show(list(pool.map(score, jobs)))


if __name__ == "__main__":
    main()
