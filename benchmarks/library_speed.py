#!/usr/bin/env python3
"""CPU time of reading and writing a NIfTI label map, and of the skeleton of coronary arteries, beside other libraries.

usage: library_speed.py [--repeat 5] [--spacing-mm 0.5]

A phantom heart of ten structures is written and read (.nii.gz) by Heartmend, nibabel and SimpleITK; Heartmend also
checks the values, and writes a temporary file that it renames. The coronaries of the same heart, in the box around
them, are reduced to their skeleton by Heartmend, scikit-image and, where it is installed, kimimaro (GPL-3.0, not a
dependency); Heartmend's centreline with the radius at each point is in the table too. All in one process of one thread:
each is called once before it is measured, then in turn, so that other load affects all of them. Ratios are medians over
the turns.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from rich.console import Console
from rich.table import Table
from skimage.morphology import skeletonize

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.boxes import bounding_box_mm
from heartmend.geometry.centrelines.measurement import measure_tree
from heartmend.geometry.skeletons import extract_skeleton
from heartmend.io.label_maps import read_labels
from heartmend.io.label_writing import write_labels_like
from heartmend.phantom.cohort import PhantomSettings, make_case
from heartmend.phantom.plan import Label

Calls = Mapping[str, Callable[[], Any]]


def files(folder: Path, labels: np.ndarray, affine: np.ndarray) -> tuple[Calls, Calls]:
    """Return the functions that read a label map, and those that write it."""
    anatomy, path = load_anatomy("heart"), folder / "map.nii.gz"
    image = nib.Nifti1Image(labels, affine)
    nib.save(image, path)
    volume, other = read_labels(path, anatomy), sitk.ReadImage(str(path))
    read = {
        "Heartmend": lambda: read_labels(path, anatomy).labels,
        "nibabel": lambda: np.asarray(nib.load(path).dataobj),
        "SimpleITK": lambda: sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T,
    }
    write = {
        "Heartmend": lambda: write_labels_like(volume.labels, path, folder / "heartmend.nii.gz", volume.meaning),
        "nibabel": lambda: nib.save(image, folder / "nibabel.nii.gz"),
        "SimpleITK": lambda: sitk.WriteImage(other, str(folder / "sitk.nii.gz"), useCompression=True),
    }
    for name, call in read.items():
        if not np.array_equal(call(), labels):
            raise SystemExit(f"{name} reads other values")
    return read, write


def skeletons(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> Calls:
    """Return the functions that compute the skeleton of a vessel."""
    found: dict[str, Callable[[], Any]] = {
        "Heartmend, skeleton": lambda: extract_skeleton(mask),
        "scikit-image, skeletonize": lambda: skeletonize(mask),
        "Heartmend, centreline with radii": lambda: measure_tree(mask, spacing_mm),
    }
    if importlib.util.find_spec("kimimaro") is not None:
        import kimimaro

        found["kimimaro, TEASAR"] = lambda: kimimaro.skeletonize(mask, anisotropy=spacing_mm, dust_threshold=0)
    return found


def measure(calls: Calls, repeat: int) -> dict[str, list[float]]:
    """Measure the CPU seconds of each function, in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeat + 1):
        for name, call in calls.items():
            started = time.process_time()
            call()
            if turn:
                seconds[name].append(time.process_time() - started)
    return seconds


def add_rows(table: Table, work: str, seconds: Mapping[str, list[float]]) -> None:
    """Add a row for each function: seconds, and the ratio to the first one in the same turn."""
    first = next(iter(seconds.values()))
    for name, turns in seconds.items():
        ratio = median(own / reference for own, reference in zip(turns, first, strict=True))
        milliseconds = [1000 * value for value in turns]
        table.add_row(
            work, name, f"{median(milliseconds):,.1f}", f"{min(milliseconds):,.1f} to {max(milliseconds):,.1f}",
            f"{ratio:.1f}",
        )  # fmt: skip
    table.add_section()


def main() -> None:
    """Make the heart, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--spacing-mm", type=float, default=0.5)
    arguments = parser.parse_args()
    case = make_case(0, 1, PhantomSettings(arguments.spacing_mm, vary_grid=False, images=False))
    labels = np.asfortranarray(case.noisy)
    coronaries = labels == Label.CORONARY
    box = bounding_box_mm(coronaries, 2.0, case.spacing_mm)
    table = Table(title=" x ".join(map(str, labels.shape)) + f" voxels, one thread, {arguments.repeat} turns")
    for heading in ("work", "library", "CPU, ms", "(range)", "relative"):
        table.add_column(heading, justify="left" if heading in ("work", "library") else "right")
    with tempfile.TemporaryDirectory(prefix="heartmend-") as folder:
        read, write = files(Path(folder), labels, case.affine)
        add_rows(table, "read a label map", measure(read, arguments.repeat))
        add_rows(table, "write it", measure(write, arguments.repeat))
        sizes = {path.stem: path.stat().st_size / 1e6 for path in sorted(Path(folder).glob("*.gz"))}
    tree = skeletons(np.ascontiguousarray(coronaries[box]), case.spacing_mm)
    add_rows(table, "skeleton of the coronaries", measure(tree, arguments.repeat))
    console = Console(width=130)
    console.print(table)
    console.print("sizes, MB: " + ", ".join(f"{name.split('.')[0]} {size:.2f}" for name, size in sizes.items()))


if __name__ == "__main__":
    main()
