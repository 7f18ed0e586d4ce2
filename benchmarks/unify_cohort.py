#!/usr/bin/env python3
"""What one function for all hearts is worth: how well it holds them, what it weighs, how fast it is, and what it does
for hearts that it never saw.

usage: unify_cohort.py COHORT [--run RUN] [--out OUT] [--held-out 16-20]

COHORT holds labels_true/ and labels_noisy/. RUN is a run on labels_noisy that is mended and unified; it is made when
not given. Dice against the fused maps and against truth is measured on the grid that each case came on, whole volume.
Held out: the model is fitted to the other cases, mended from their noisy maps alone, and meets the noisy maps of these.
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
from heartmend.metrics.evaluation import evaluate_folders
from heartmend.metrics.overlap import dice
from heartmend.models.heart_model import HeartModel, evaluate_labels
from heartmend.models.model_file import load_heart_model
from heartmend.models.surfaces import extract_surfaces
from heartmend.pipelines.config import load_config
from heartmend.pipelines.embed import embed
from heartmend.pipelines.render import unified_model
from heartmend.pipelines.run import Request, run

WANTED = {"Myocardium": 0.98, "LA": 0.98, "LV": 0.98, "RA": 0.98, "RV": 0.98, "Aorta": 0.98, "PA": 0.96, "LAA": 0.94,
          "PV": 0.94, "Coronary": 0.90}  # fmt: skip
ANATOMY = load_anatomy("heart")


def measured(work):
    """What came of some work, the seconds on the clock and the seconds of CPU, other processes included."""
    began, spent = time.monotonic(), _cpu()
    return work(), time.monotonic() - began, _cpu() - spent


def _cpu() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def frozen(model: HeartModel, cohort: Path, out: Path) -> tuple[dict, list[float], int]:
    """Dice of the rendered maps by structure, the seconds that 128 cubed takes, bytes of the gzipped maps at 128."""
    found, seconds, packed = {name: [] for name in ANATOMY.names}, [], 0
    true = discover_cohort(cohort / "labels_true", anatomy=ANATOMY)
    for id in model.codes.ids:
        heart = model.heart(id)
        truth = read_labels(true[id].labels_path, ANATOMY)
        fused = read_labels(out / "labels" / true[id].labels_path.name, ANATOMY).labels
        said = evaluate_labels(model, heart, truth.grid)
        for s in ANATOMY.structures:
            masks = [labels == s.id for labels in (said, fused, truth.labels)]
            found[s.name].append((dice(masks[0], masks[1]), dice(masks[0], masks[2]), dice(masks[1], masks[2])))
        _, wall, _ = measured(lambda heart=heart: evaluate_labels(model, heart, heart.frame.grid_at(128)))
        seconds.append(wall)
        cells = np.where((at := heart.frame.resample_labels(fused, 128)) == 255, 0, at).astype(np.uint8)
        packed += len(gzip.compress(nib.Nifti1Image(cells, np.eye(4)).to_bytes(), 9))
    return {name: np.mean(rows, axis=0) for name, rows in found.items()}, seconds, packed


def main() -> None:
    """Measure and print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("cohort", type=Path)
    ask.add_argument("--run", type=Path, help="a unified run on labels_noisy, so that none is made")
    ask.add_argument("--out", type=Path, help="where to work; a temporary folder otherwise")
    ask.add_argument("--held-out", default="16-20", help="first and last of the cases to embed, by place; 0 for none")
    asked = ask.parse_args()
    console = Console(width=120)
    keep_freed_memory()
    torch.set_num_threads(available_cores())
    out = asked.out or Path(tempfile.mkdtemp(prefix="heartmend-"))
    noisy = asked.cohort / "labels_noisy"
    whole = asked.run or out / "run"
    config = load_config()
    run(Request(noisy, whole, until="fuse"), config)
    _, wall, cpu = measured(lambda: run(Request(noisy, whole), config))
    file = unified_model(whole)
    model = load_heart_model(file)
    dices, seconds, packed = frozen(model, asked.cohort, whole)

    reduction: dict[str, tuple[float, float, float]] = {}
    if asked.held_out != "0":
        reduction = embedded(asked.cohort, out, asked.held_out, config)
    table = Table(title=f"{asked.cohort.name}: one function for {len(model.codes.ids)} hearts (Dice, source grids)")
    new = ("new hearts: noisy > repaired", "Dice error removed") if reduction else ()
    for heading in ("structure", "wanted", "model, fused", "fused, truth", "model, truth", "lost", *new):
        table.add_column(heading, justify="left" if heading == "structure" else "right")
    met = {name: (f"{before:.3f} > {after:.3f}", f"{share:.2f}") for name, (before, after, share) in reduction.items()}
    for name, (to_fused, to_truth, fused_to_truth) in dices.items():
        table.add_row(
            name, f"{WANTED[name]:.2f}", f"[{'green' if to_fused >= WANTED[name] else 'red'}]{to_fused:.4f}[/]",
            f"{fused_to_truth:.4f}", f"{to_truth:.4f}", f"{fused_to_truth - to_truth:+.4f}",
            *met.get(name, ()),
        )  # fmt: skip
    console.print(table)
    heart = model.heart(model.codes.ids[0])
    meshes = extract_surfaces(model, heart)
    console.print(f"model {file.stat().st_size:,} bytes; the fused maps at 128 cubed, gzipped: {packed:,} bytes")
    console.print(f"unify: {wall:.0f} s on the clock, {cpu:.0f} s of CPU on {available_cores()} cores (0: it was done before)")
    console.print(f"a case at 128 cubed: median {np.median(seconds):.2f} s, slowest {max(seconds):.2f} s")
    tight = sum(mesh.is_watertight for mesh in meshes.values())
    console.print(f"surfaces of case {model.codes.ids[0]}: {tight} of {len(meshes)} watertight")
    large = [share for name, (_, _, share) in reduction.items() if ANATOMY.by_name(name).id <= 6]
    if large:
        console.print(f"new hearts, structures 1 to 6: {np.mean(large):.2f} of the Dice error removed")


def embedded(cohort: Path, out: Path, places: str, config) -> dict[str, tuple[float, float, float]]:
    """Dice before and after, and the share of the Dice error removed, of hearts that the model was not fitted to."""
    first, last = (int(place) for place in places.split("-"))
    paths = sorted((cohort / "labels_noisy").glob("*.nii.gz"))
    new = paths[first - 1 : last]
    for folder, chosen in (("seen", [p for p in paths if p not in new]), ("new", new)):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for path in chosen:
            shutil.copy(path, out / folder / path.name)
    (out / "new_true").mkdir(exist_ok=True)
    for path in new:
        shutil.copy(cohort / "labels_true" / path.name, out / "new_true" / path.name)
    run(Request(out / "seen", out / "seen_run"), config)
    embed(unified_model(out / "seen_run"), out / "new", out / "new_run")
    found = evaluate_folders(out / "new", out / "new_run" / "labels", ANATOMY, out / "new_true").summary
    dice = {s.structure: {which: spread.mean for which, spread in s.spreads["dice"].items()} for s in found}
    return {s.structure: (*(dice[s.structure][w] for w in ("a", "b")), s.dice_error_reduction) for s in found}


if __name__ == "__main__":
    main()
