#!/usr/bin/env python3
"""Rare anatomy and unusual scans among ordinary hearts: does the repair keep them, and is each of them named?

usage: variants.py COHORT OUT [--faults harsh] [--seed 0] [--with-ct] [--preset mend] [--workers 2] [--variants NAMES]

COHORT contains labels_true/. Each of its first hearts gets one variant of `heartmend phantom --variant`, all hearts get
errors of their own (of the phantoms), and the cohort is repaired as a whole, from labels alone or with synthetic CTs.
A row for each variant: structures of its case that became worse (Dice and surface Dice lower by more than 0.01), their
mean Dice before > after, and the Dice of the abnormal part in it and 3 mm around it, before > after. It must keep at
least 98 % of the Dice that it came with. The last columns are what `heartmend screen` and the change log, which the
review page shows, say of the structure that is abnormal. An interrupted call continues.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from rich.console import Console

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.metrics.evaluation import EvaluationSettings
from heartmend.metrics.summary import count_worse
from heartmend.phantom import ct
from heartmend.phantom.corruption.realistic import corrupt_as_network, draw_tendency
from heartmend.phantom.corruption.recipe import corrupt
from heartmend.phantom.variants import VARIANTS, make_variant, variant_names
from heartmend.pipelines.config import load_config
from heartmend.pipelines.evaluate import evaluate_folders
from heartmend.pipelines.open_run import OpenRun, open_run
from heartmend.pipelines.run import Request, run
from heartmend.quality.ranking import Ranking
from heartmend.quality.screen import screen_run
from heartmend.types import Labels, Mask

AROUND_MM = 3.0
KEPT = 0.98
"""Share of its Dice that an abnormal part must keep."""
ENDING = ".nii.gz"
ANATOMY = load_anatomy("heart").without_absent(())
console = Console(width=240, highlight=False, markup=False)


@dataclass(frozen=True)
class Told:
    """What must be said of a variant.

    Attributes:
        structure: name of the structure that is abnormal; empty: any.
        pattern: regular expression of the words.
    """

    structure: str
    pattern: str


TOLD: Mapping[str, Told] = {
    "mirrored": Told("", "mirrored"),
    "absent-laa": Told("LAA", "absent"),
    "absent-rv": Told("RV", "absent"),
    "apical-aneurysm": Told("LV", "unusual"),
    "giant-la": Told("LA", "unusual"),
    "extra-vein": Told("PV", "unusual"),
    "common-trunk": Told("PV", "unusual"),
    "one-coronary": Told("Coronary", "one coronary tree"),
    "ascending-aneurysm": Told("Aorta", "unusual"),
    "vein-graft": Told("Aorta", "unusual"),
    "cut-below-arch": Told("", "field of view"),
    "oblique-padding": Told("", "oblique"),
}


def make_cohort(
    source: Path, output: Path, names: tuple[str, ...], faults: Literal["realistic", "harsh"], seed: int,
    with_images: bool,
) -> dict[str, str]:  # fmt: skip
    """Write the cohort: labels_true/, labels_noisy/, images/ if wanted, and parts/, the abnormal part of each variant.

    Args:
        source: cohort with labels_true/.
        output: folder of the cohort; a case that is there stays.
        names: variants of the first hearts.
        faults: errors of the label maps.
        seed: seed of the errors.
        with_images: whether each case gets a synthetic CT.

    Returns:
        The variant of each of the first cases, by its id.
    """
    tendency, variants = draw_tendency(np.random.default_rng(seed)), {}
    folders = ("labels_true", "parts", *(("images",) if with_images else ()), "labels_noisy")
    for folder in folders:
        (output / folder).mkdir(parents=True, exist_ok=True)
    for index, path in enumerate(sorted((source / "labels_true").glob(f"*{ENDING}"))):
        name = names[index] if index < len(names) else ""
        if name:
            variants[path.name.removesuffix(ENDING)] = name
        # The noisy map is written last.
        if (output / "labels_noisy" / path.name).exists():
            continue
        stored = nib.load(path)
        truth, affine, part, outside = np.asarray(stored.dataobj).astype(np.uint8), stored.affine, None, None
        if name:
            heart = make_variant(name, truth, affine)
            truth, affine, part, outside = heart.labels, heart.affine, heart.part, heart.outside
        spacing = nib.affines.voxel_sizes(affine)
        rng = np.random.default_rng([seed, index])
        noisy, _ = (
            corrupt(truth, spacing, rng) if faults == "harsh" else corrupt_as_network(truth, spacing, rng, tendency)
        )
        if outside is not None:
            noisy[outside] = 0
        volumes = {"labels_true": truth, "labels_noisy": noisy}
        if part is not None:
            volumes["parts"] = part.astype(np.uint8)
        if with_images:
            volumes["images"] = ct.scan(truth, spacing, np.random.default_rng([seed, index, 1]))
        for folder in folders:
            if folder in volumes:
                image = nib.Nifti1Image(volumes[folder], affine)
                image.header.set_xyzt_units("mm")
                nib.save(image, output / folder / path.name)
    return variants


def part_dice(labels: Labels, truth: Labels, part: Mask, spacing_mm: tuple[float, ...]) -> float:
    """Dice of an abnormal part, in it and `AROUND_MM` around it, over all structures that it has.

    The same structures beside the part count where the truth does not have them: what grows there is an error too.

    Args:
        labels: (x, y, z) the label map.
        truth: (x, y, z) the true label map.
        part: (x, y, z) bool, the abnormal part.
        spacing_mm: voxel spacing.

    Returns:
        The Dice.
    """
    near = distance_transform_mm(~part, spacing_mm) <= AROUND_MM
    both = sizes = 0
    for id in np.unique(truth[part]):
        true = part & (truth == id)
        found = near & (labels == id) & (true | (truth != id))
        both += 2 * int((found & true).sum())
        sizes += int(found.sum()) + int(true.sum())
    return both / sizes if sizes else 1.0


def told_by_screen(ranking: Ranking, case: str, told: Told) -> str:
    """What the screen says of the abnormal structure of a case; empty if nothing."""
    found = next(one for one in ranking.cases if one.case == case)
    texts = [text for ranked in found.structures if told.structure in ("", ranked.structure) for text in ranked.reasons]
    return next((text for text in texts if re.search(told.pattern, text)), "")


def told_by_log(finished: OpenRun, case: str, told: Told) -> str:
    """What the change log says of the abnormal structure of a case; empty if nothing."""
    changes = finished[case].changes.changes
    notes = [one.note for one in changes if not told.structure or one.structure in ("", told.structure)]
    return next((note for note in notes if re.search(told.pattern, note)), "")


def rows(cohort: Path, output: Path, variants: Mapping[str, str], workers: int) -> list[str]:
    """Rows of the table, as Markdown."""
    settings = EvaluationSettings(metrics=("dice", "nsd_1mm"), workers=workers, parts=False)
    evaluation = evaluate_folders(cohort / "labels_noisy", output, ANATOMY, cohort / "labels_true", settings)
    finished, ranking = open_run(output), screen_run(output, workers=workers)
    worse = {s.structure: s.worse_cases or () for s in evaluation.summary}
    headings = ("variant", "worse structures", "mean Dice", "Dice of the abnormal part", "kept", "screen", "change log")
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    for case, name in variants.items():
        truth, noisy, found = (
            np.asarray(nib.load(folder / f"{case}{ENDING}").dataobj).astype(np.uint8)
            for folder in (cohort / "labels_true", cohort / "labels_noisy", output / "labels")
        )
        values = [
            np.mean([row.values["dice"] for row in evaluation.rows
                     if (row.case, row.labels) == (case, which) and row.expected and "dice" in row.values])
            for which in ("a", "b")
        ]  # fmt: skip
        part_path, dice, kept = cohort / "parts" / f"{case}{ENDING}", "", ""
        if part_path.exists():
            image = nib.load(part_path)
            spacing = tuple(float(step) for step in image.header.get_zooms()[:3])
            part = np.asarray(image.dataobj) > 0
            before, after = (part_dice(one, truth, part, spacing) for one in (noisy, found))
            dice, kept = f"{before:.3f} > {after:.3f}", "yes" if after >= KEPT * before else "**no**"
        lost = ", ".join(structure for structure, cases in worse.items() if case in cases)
        told = TOLD[name]
        cells = [
            name, lost or "none", f"{values[0]:.3f} > {values[1]:.3f}", dice, kept,
            told_by_screen(ranking, case, told), told_by_log(finished, case, told),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    others = sorted({row.case for row in evaluation.rows} - set(variants))
    lines.append(f"\nworse: {count_worse(evaluation.summary)}; {len(others)} ordinary hearts beside the variants")
    return lines


def main() -> None:
    """Make the cohort, repair it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("--faults", choices=("realistic", "harsh"), default="harsh")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--with-ct", action="store_true")
    parser.add_argument("--preset", default="mend")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--variants", default=",".join(VARIANTS), help="names with commas; all twelve if not given")
    arguments = parser.parse_args()
    output: Path = arguments.output
    count = len(list((arguments.cohort / "labels_true").glob(f"*{ENDING}")))
    names = variant_names(arguments.variants.split(","), count)
    made = output / "cohort"
    variants = make_cohort(arguments.cohort, made, names, arguments.faults, arguments.seed, arguments.with_ct)
    images = made / "images" if arguments.with_ct else None
    request = Request(
        made / "labels_noisy", output / "run", images, stop_after="fuse", workers=arguments.workers
    )  # fmt: skip
    run(request, load_config(arguments.preset))
    console.print("\n".join(rows(made, output / "run", variants, arguments.workers)), soft_wrap=True)


if __name__ == "__main__":
    main()
