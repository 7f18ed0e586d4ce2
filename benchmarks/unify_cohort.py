#!/usr/bin/env python3
"""Accuracy, size and speed of the model of all hearts, and accuracy of the repair of new hearts with it.

usage: unify_cohort.py COHORT [--run RUN] [--output OUT] [--held-out 16-20]

COHORT contains labels_true/ and labels_noisy/. RUN is the output folder of a run of labels_noisy; it is made if not
given. Dice with the fused maps and with the truth is measured on the original grids, over whole volumes. For the
held-out cases the model is fitted to the repaired noisy maps of the other cases, and the noisy maps of these are
embedded.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import shutil
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from heartmend.anatomy.load import load_anatomy
from heartmend.compute.workers import available_cores, keep_freed_memory
from heartmend.io.dataset import discover_cohort
from heartmend.io.label_maps import read_labels
from heartmend.metrics.overlap import dice
from heartmend.models.heart_model import HeartModel, evaluate_labels
from heartmend.models.model_file import load_heart_model
from heartmend.models.surfaces import extract_surfaces
from heartmend.pipelines.config import Config, load_config
from heartmend.pipelines.embed import EmbedRequest, embed
from heartmend.pipelines.evaluate import evaluate_folders
from heartmend.pipelines.run import Request, run
from heartmend.run_folder.folder import model_file

TARGET_DICE = {"Myocardium": 0.98, "LA": 0.98, "LV": 0.98, "RA": 0.98, "RV": 0.98, "Aorta": 0.98, "PA": 0.96,
               "LAA": 0.94,          "PV": 0.94, "Coronary": 0.90}  # fmt: skip
ANATOMY = load_anatomy("heart").without_absent(())


def measure(work):
    """Call a function; returns its result, the elapsed seconds and the CPU seconds, with those of other processes."""
    started, before = time.monotonic(), _cpu_seconds()
    return work(), time.monotonic() - started, _cpu_seconds() - before


def _cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def reconstruction(model: HeartModel, cohort: Path, out: Path) -> tuple[dict, list[float], int]:
    """Measure the Dice of rendered maps by structure, the seconds for 128³, and the bytes of gzipped maps of 128³."""
    found, seconds, packed = {name: [] for name in ANATOMY.names}, [], 0
    true = discover_cohort(cohort / "labels_true", anatomy=ANATOMY)
    for id in model.codes.ids:
        heart = model.heart(id)
        truth = read_labels(true[id].labels_path, ANATOMY)
        fused = read_labels(out / "labels" / true[id].labels_path.name, ANATOMY).labels
        rendered = evaluate_labels(model, heart, truth.grid)
        for s in ANATOMY.structures:
            masks = [labels == s.id for labels in (rendered, fused, truth.labels)]
            found[s.name].append((dice(masks[0], masks[1]), dice(masks[0], masks[2]), dice(masks[1], masks[2])))
        _, wall, _ = measure(lambda heart=heart: evaluate_labels(model, heart, heart.frame.grid_at(128)))
        seconds.append(wall)
        cells = np.where((at := heart.frame.resample_labels(fused, 128)) == 255, 0, at).astype(np.uint8)
        packed += len(gzip.compress(nib.Nifti1Image(cells, np.eye(4)).to_bytes(), 9))
    return {name: np.mean(rows, axis=0) for name, rows in found.items()}, seconds, packed


def main() -> None:
    """Measure the model, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--run", type=Path, help="output folder of a run of labels_noisy")
    parser.add_argument("-o", "--output", type=Path, help="working folder; temporary if not given")
    parser.add_argument(
        "--held-out", default="16-20", help="first and last of the cases to embed, by position; 0 for none"
    )
    arguments = parser.parse_args()
    console = Console(width=120)
    keep_freed_memory()
    torch.set_num_threads(available_cores())
    out = arguments.output or Path(tempfile.mkdtemp(prefix="heartmend-"))
    noisy = arguments.cohort / "labels_noisy"
    finished = arguments.run or out / "run"
    config = load_config()
    run(Request(noisy, finished, stop_after="fuse"), config)
    _, wall, cpu = measure(lambda: run(Request(noisy, finished), config))
    file = model_file(finished)
    model = load_heart_model(file)
    dices, seconds, packed = reconstruction(model, arguments.cohort, finished)

    reduction: dict[str, tuple[float, float, float]] = {}
    if arguments.held_out != "0":
        reduction = repair_new_hearts(arguments.cohort, out, arguments.held_out, config)
    table = Table(title=f"{arguments.cohort.name}: one model of {len(model.codes.ids)} hearts (Dice, original grids)")
    new = ("new hearts: noisy > repaired", "Dice error removed") if reduction else ()
    for heading in ("structure", "target", "model, fused", "fused, truth", "model, truth", "difference", *new):
        table.add_column(heading, justify="left" if heading == "structure" else "right")
    embedded_cells = {
        name: (f"{before:.3f} > {after:.3f}", f"{share:.2f}") for name, (before, after, share) in reduction.items()
    }
    for name, (to_fused, to_truth, fused_to_truth) in dices.items():
        table.add_row(
            name, f"{TARGET_DICE[name]:.2f}",
            f"[{'green' if to_fused >= TARGET_DICE[name] else 'red'}]{to_fused:.4f}[/]",
            f"{fused_to_truth:.4f}", f"{to_truth:.4f}", f"{fused_to_truth - to_truth:+.4f}",
            *embedded_cells.get(name, ()),
        )  # fmt: skip
    console.print(table)
    heart = model.heart(model.codes.ids[0])
    meshes = extract_surfaces(model, heart)
    console.print(f"model {file.stat().st_size:,} bytes; the fused maps at 128 cubed, gzipped: {packed:,} bytes")
    console.print(f"unify: {wall:.0f} s elapsed, {cpu:.0f} s of CPU on {available_cores()} cores (0: done before)")
    console.print(f"rendering of a case at 128 cubed: median {np.median(seconds):.2f} s, slowest {max(seconds):.2f} s")
    closed = sum(mesh.is_watertight for mesh in meshes.values())
    console.print(f"surfaces of case {model.codes.ids[0]}: {closed} of {len(meshes)} watertight")
    large = [share for name, (_, _, share) in reduction.items() if ANATOMY.by_name(name).id <= 6]
    if large:
        console.print(f"new hearts, structures 1 to 6: {np.mean(large):.2f} of the Dice error removed")


def repair_new_hearts(cohort: Path, out: Path, positions: str, config: Config) -> dict[str, tuple[float, float, float]]:
    """Measure the Dice before and after, and the Dice error removed, of hearts that the model was not fitted to."""
    first, last = (int(position) for position in positions.split("-"))
    paths = sorted((cohort / "labels_noisy").glob("*.nii.gz"))
    new = paths[first - 1 : last]
    for folder, chosen in (("training", [p for p in paths if p not in new]), ("new", new)):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for path in chosen:
            shutil.copy(path, out / folder / path.name)
    (out / "new_true").mkdir(exist_ok=True)
    for path in new:
        shutil.copy(cohort / "labels_true" / path.name, out / "new_true" / path.name)
    run(Request(out / "training", out / "training_run"), config)
    embed(EmbedRequest(model_file(out / "training_run"), out / "new", out / "new_run"))
    found = evaluate_folders(out / "new", out / "new_run" / "labels", ANATOMY, out / "new_true").summary
    dice = {s.structure: {which: spread.mean for which, spread in s.spreads["dice"].items()} for s in found}
    return {s.structure: (*(dice[s.structure][w] for w in ("a", "b")), s.dice_error_reduction) for s in found}


if __name__ == "__main__":
    main()
