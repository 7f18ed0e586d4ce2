#!/usr/bin/env python3
"""Accuracy and CPU time of Heartmend beside the post-processing of other tools, on the same label maps.

usage: peers.py COHORT OUT [--cases 20] [--workers 2] [--preset mend] [--config FILE] [--networks] [--post-dae]

COHORT contains labels_true/ and labels_noisy/, and images/ for --networks. The methods, each described in
peer_methods.py and peer_networks.py:

  Heartmend                  `heartmend run --stop-after fuse`, the CPU time of all its processes, the fit included
  joint smoothing            as 3D Slicer, with its default factor of 0.5 and with 0.2 (needs VTK; left out without)
  joint Gaussian             each structure and the background blurred by 1.2 mm; the largest value decides
  nnU-Net                    all but the largest component removed where that raises the mean Dice of these very cases
  largest blob, small blobs  as TotalSegmentator: the largest component of each structure; components above 200 mm³
  filters by size            components of 100, and of 500 voxels and more
  ShapeKit                   its rules, with neighbours of the heart

With --networks also, on the CTs and the noisy labels:

  Heartmend with CTs         `heartmend run --images --stop-after fuse`
  U-Net relabel              a small U-Net in two folds, trained until twice the steps gain no more (needs MONAI)
  confident learning         the labels that cleanlab finds wrong by its probabilities, replaced (needs cleanlab)

With --post-dae also, fitted to corrupted phantoms (needs MONAI):

  Post-DAE                   what a denoising auto-encoder of label maps at 3 mm returns (post_dae.py)
  Post-DAE, its changes      the same; voxels of the label keep their place where its 3 mm say nothing else

CPU seconds of a case include reading and writing the label map (by Heartmend's own functions for all), but not what is
done once: the decision of nnU-Net's rule, the training of Post-DAE. Prints the mean share of the Dice error removed and
the mean NSD (1 mm) over the structures, with 95 % intervals over the cases, the pairs of case and structure that became
worse, and the error removed in a second of CPU time; then the error removed by structure, with intervals.
An interrupted benchmark continues: OUT/measured.json has the finished methods.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from cohort_score import METRICS, Score, score
from peer_methods import (
    Method,
    joint_smoothing,
    keep_largest_blobs,
    nnunet,
    nnunet_rule,
    remove_small_blobs,
    remove_small_components,
    shapekit,
)
from repair_cohort import joint_gaussian
from rich.console import Console
from rich.table import Table
from thousand import Measured, RunSettings

from heartmend.anatomy.load import load_anatomy
from heartmend.io.dataset import discover_cohort
from heartmend.io.label_maps import LabelVolume, read_labels
from heartmend.io.label_writing import write_labels_like
from heartmend.metrics.evaluation import EvaluationSettings
from heartmend.metrics.overlap import dice
from heartmend.pipelines.evaluate import evaluate_folders
from heartmend.release.case_layouts import link_or_copy
from heartmend.types import Labels

ANATOMY = load_anatomy("heart").without_absent(())
WEAKER_SMOOTHING = 0.2
FINISHED = "methods"
"""Key of the finished methods in OUT/measured.json."""
NETWORK_MM = 2.0
"""Voxels of the networks."""
POST_DAE = {"Post-DAE, 3 mm": False, "Post-DAE, 3 mm, its changes": True}
"""Whether only the changes are applied."""
UNSEEN = 6
"""Phantoms that Post-DAE is tested on."""
console = Console(width=170, highlight=False, markup=False)


def first_cases(cohort: Path, folder: Path, cases: int) -> tuple[Path, Path]:
    """Give the first cases of the true and of the noisy maps a second name in folders of their own."""
    folders = folder / f"true_{cases}", folder / f"noisy_{cases}"
    for name, target in zip(("labels_true", "labels_noisy"), folders, strict=True):
        target.mkdir(parents=True, exist_ok=True)
        for source in sorted(path for path in (cohort / name).iterdir() if path.is_file())[:cases]:
            if not (target / source.name).exists():
                link_or_copy(source, target / source.name)
    return folders


def apply(method: Method, noisy: Path, out: Path) -> float:
    """Apply a method to every label map of a folder; returns its CPU seconds a case."""
    return apply_on_grid(lambda volume: method(volume.labels, volume.grid.spacing_mm), noisy, out)


def apply_on_grid(method: Callable[[LabelVolume], Labels], noisy: Path, out: Path) -> float:
    """Apply a method that needs the place of the voxels as well."""
    out.mkdir(parents=True, exist_ok=True)
    cohort = discover_cohort(noisy, anatomy=ANATOMY)
    started = time.process_time()
    for case in cohort:
        volume = read_labels(case.labels_path, ANATOMY)
        found = method(volume)
        write_labels_like(found, case.labels_path, out / case.labels_path.name, volume.meaning)
    return (time.process_time() - started) / len(cohort)


def peer_methods(true: Path, noisy: Path) -> dict[str, Callable[[], Method]]:
    """List the methods, as functions that prepare them."""
    methods: dict[str, Method] = {
        "joint Gaussian, 1.2 mm": joint_gaussian_in_box,
        "TotalSegmentator, largest blob": keep_largest_blobs,
        "TotalSegmentator, small blobs": remove_small_blobs,
        **{f"filter by size, {n} voxels": partial(remove_small_components, min_voxels=n) for n in (100, 500)},
        "ShapeKit, its rules": shapekit,
    }
    if importlib.util.find_spec("vtk") is None:
        console.print("3D Slicer's joint smoothing is left out: pip install '.[benchmarks]'")
    else:
        methods["3D Slicer, joint smoothing"] = joint_smoothing
        methods[f"3D Slicer, factor {WEAKER_SMOOTHING}"] = partial(joint_smoothing, factor=WEAKER_SMOOTHING)
    makers = {name: partial(_ready, method) for name, method in methods.items()}
    return {"nnU-Net, its rule": partial(_decided_nnunet, true, noisy), **makers}


def _ready(method: Method) -> Method:
    return method


def _decided_nnunet(true: Path, noisy: Path) -> Method:
    """Decide nnU-Net's rule on these cases."""
    truths, maps = (list(_labels(folder)) for folder in (true, noisy))
    rule = nnunet_rule(list(zip(truths, maps, strict=True)), ANATOMY.ids)
    names = [", ".join(ANATOMY.by_id(id).name for id in ids) for ids in rule]
    console.print(f"nnU-Net's rule: all but the largest component of {'; of '.join(names) or 'nothing'}")
    return nnunet(rule)


def apply_networks(noisy: Path, images: Path, output: Path, max_steps: int) -> dict[str, tuple[Path, float]]:
    """Correct the label maps with networks that were trained on them; returns each method's folder and CPU seconds."""
    from peer_networks import RelabelNetwork
    from small_unet import NetworkSettings

    cohort = discover_cohort(noisy, images, anatomy=ANATOMY)
    network = RelabelNetwork(cohort.cases, ANATOMY.ids, NetworkSettings(spacing_mm=NETWORK_MM), output / "network")
    network.train(max_steps, console.print)
    folders = {name: output / name for name in (f"U-Net relabel, {NETWORK_MM:g} mm", "confident learning")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    relabel_s, started = 0.0, time.process_time()
    issues = network.issues()
    correct_s = time.process_time() - started
    for case, wrong in zip(cohort, issues, strict=True):
        started = time.process_time()
        volume = read_labels(case.labels_path, ANATOMY)
        found = network.relabelled(case, volume)
        relabel_s += time.process_time() - started
        started = time.process_time()
        corrected = network.corrected(volume, found, wrong)
        correct_s += time.process_time() - started
        for labels, folder in zip((found, corrected), folders.values(), strict=True):
            write_labels_like(labels, case.labels_path, folder / case.labels_path.name, volume.meaning)
    seconds = (network.cpu_s + relabel_s, network.cpu_s + relabel_s + correct_s)
    return {name: (folder, cpu_s / len(cohort)) for (name, folder), cpu_s in zip(folders.items(), seconds, strict=True)}


def apply_post_dae(true: Path, noisy: Path, output: Path) -> dict[str, tuple[Path, float, float]]:
    """Fit Post-DAE to phantoms and apply it; returns each method's folder, CPU seconds a case, and those of the fit.

    Also prints the Dice of phantoms that it has not seen, and what its voxels cost: the Dice of the true maps that are
    resampled to the cube and back.
    """
    from heart_cube import through_cube
    from post_dae import DaeSettings, fitted, unseen_phantoms

    settings = DaeSettings()
    method = fitted(settings, output / "post_dae", console.print)
    before, after = unseen_phantoms(method, UNSEEN)
    console.print(
        f"Post-DAE: {method.steps} steps, {method.cpu_s:.0f} CPU s with the phantoms; mean Dice of {UNSEEN} phantoms "
        f"that it has not seen {before:.3f} > {after:.3f}"
    )
    found = {}
    for name, changes in POST_DAE.items():
        folder = output / name.replace(",", "").replace(" ", "_")
        cpu_s = apply_on_grid(
            lambda volume, changes=changes: method(volume.labels, volume.grid, changes), noisy, folder
        )
        found[name] = folder, cpu_s, method.cpu_s
    kept: dict[str, list[float]] = {name: [] for name in ANATOMY.names}
    for case in discover_cohort(true, anatomy=ANATOMY):
        volume = read_labels(case.labels_path, ANATOMY)
        coarse = through_cube(volume.labels, volume.grid, settings.spacing_mm)
        for s in ANATOMY.structures:
            kept[s.name].append(dice(volume.labels == s.id, coarse == s.id))
    texts = (f"{name} {np.mean(values):.3f}" for name, values in kept.items())
    console.print(f"Dice of the true maps at {settings.spacing_mm:g} mm and back: {', '.join(texts)}")
    return found


def _labels(folder: Path) -> Iterator[Labels]:
    for case in discover_cohort(folder, anatomy=ANATOMY):
        yield read_labels(case.labels_path, ANATOMY).labels


def joint_gaussian_in_box(labels: Labels, spacing_mm: tuple[float, float, float]) -> Labels:
    """Blur the box of the heart alone."""
    box = tuple(slice(max(int(at.min()) - 6, 0), int(at.max()) + 7) for at in np.nonzero(labels))
    out = np.zeros_like(labels)
    out[box] = joint_gaussian(labels[box], spacing_mm, ANATOMY)
    return out


def peers_table(title: str, found: Mapping[str, tuple[float, float, Score]]) -> Table:
    """Make the table: a row for each method, by the error that it removes."""
    given = next((scored.nsd[0] for *_, scored in found.values() if scored.nsd), float("nan"))
    table = Table(title=f"{title}; NSD (1 mm) of the labels as given {given:.3f}")
    headings = (
        "method", "CPU, s a case", "once, s", "Dice error removed (95 % interval)", "NSD (95 % interval)", "worse",
        "removed in a CPU second",
    )  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for name, (seconds, once_s, scored) in sorted(found.items(), key=lambda item: -item[1][2].mean):
        table.add_row(
            name, f"{seconds:.2f}", f"{once_s:.0f}" if once_s else "",
            f"{scored.mean:.3f} ({scored.low:.3f} to {scored.high:.3f})",
            "{1:.3f} ({2:.3f} to {3:.3f})".format(*scored.nsd) if scored.nsd else "", scored.worse,
            f"{scored.mean / seconds:.3f}",
        )  # fmt: skip
    return table


def structure_table(found: Mapping[str, tuple[float, float, Score]]) -> Table:
    """Make the table of the Dice error removed by structure, a row for each method."""
    table = Table("method", title="Dice error removed by structure (95 % interval)")
    for name in ANATOMY.names:
        table.add_column(name, justify="right")
    for name, (*_, scored) in sorted(found.items(), key=lambda item: -item[1][2].mean):
        table.add_row(name, *(_removed(scored, structure) for structure in ANATOMY.names))
    return table


def _removed(scored: Score, structure: str) -> str:
    if structure not in scored.removed:
        return ""
    span = scored.spans.get(structure)
    return f"{scored.removed[structure]:.2f}" + (f" ({span[0]:.2f} to {span[1]:.2f})" if span else "")


def main() -> None:
    """Apply the methods, score them, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--preset", default="mend")
    parser.add_argument("--config", type=Path, help="settings file in place of the preset")
    parser.add_argument("--networks", action="store_true", help="methods that need CTs, and Heartmend with CTs")
    parser.add_argument("--post-dae", action="store_true", help="a denoising auto-encoder that is fitted to phantoms")
    parser.add_argument("--max-steps", type=int, default=3200, help="limit of the training of the networks")
    arguments = parser.parse_args()
    output = arguments.output
    true, noisy = first_cases(arguments.cohort, output, arguments.cases)
    count = len(discover_cohort(noisy, anatomy=ANATOMY))
    config = str(arguments.config.resolve()) if arguments.config else ""
    settings = RunSettings(arguments.workers, arguments.preset, config)
    measured = Measured(output / "measured.json", settings)
    images = arguments.cohort / "images"
    runs: dict[str, list[str]] = {"Heartmend": []}
    if arguments.networks:
        runs["Heartmend with CTs"] = ["--images", str(images)]
    for name, options in runs.items():
        stage = name.replace("Heartmend", "run")
        run = output / f"{stage.replace(' ', '_')}_{count}"
        command = [*settings.command(noisy, run, "fuse"), *options]
        cost = measured.cost(count, stage) or measured.measure(count, stage, command, output / "log.txt")
        keep_score(measured, name, cost.cpu_s / count, run, (true, noisy))
    for name, maker in peer_methods(true, noisy).items():
        if name not in measured.table.get(FINISHED, {}):
            folder = output / name.replace(",", "").replace(" ", "_")
            keep_score(measured, name, apply(maker(), noisy, folder), folder, (true, noisy))
    if arguments.networks:
        for name, (folder, cpu_s) in apply_networks(noisy, images, output, arguments.max_steps).items():
            keep_score(measured, name, cpu_s, folder, (true, noisy))
    if arguments.post_dae and not set(POST_DAE) <= set(measured.table.get(FINISHED, {})):
        for name, (folder, cpu_s, once_s) in apply_post_dae(true, noisy, output).items():
            keep_score(measured, name, cpu_s, folder, (true, noisy), once_s)
    found = {
        name: (entry["cpu_s"], entry.get("once_s", 0.0), Score(**entry["score"]))
        for name, entry in measured.table[FINISHED].items()
    }
    console.print(peers_table(f"{arguments.cohort.name}: {count} cases", found))
    console.print(structure_table(found))


def keep_score(
    measured: Measured, name: str, cpu_s: float, folder: Path, maps: tuple[Path, Path], once_s: float = 0.0
) -> None:
    """Score the label maps of a method, once, and keep the score with its CPU seconds a case and those of its fit."""
    finished = measured.table.setdefault(FINISHED, {})
    if name in finished:
        return
    true, noisy = maps
    evaluation = EvaluationSettings(metrics=METRICS, workers=measured.table["settings"]["workers"], parts=False)
    rows = evaluate_folders(noisy, folder, ANATOMY, true, evaluation).rows
    finished[name] = {"cpu_s": cpu_s, "once_s": once_s, "score": score(rows).to_dict()}
    measured.save()
    console.print(f"{name}: {cpu_s:.2f} CPU s a case, {finished[name]['score']['mean']:.3f} of the Dice error removed")


if __name__ == "__main__":
    main()
