#!/usr/bin/env python3
"""Do repaired labels train better networks? The same small U-Net on noisy, repaired and clean labels, tested on others.

usage: train_proof.py COHORT OUT [--labels NAME=FOLDER ...] [--train 12] [--other COHORT] [--seeds 5]
       [--preset mend] [--alone] [--steps 400] [--spacing-mm 2.5] [--minutes 60] [--table]

COHORT has labels_true/, images/ and the noisy labels: labels_noisy/, or any folder of label maps of the same cases for
each --labels. The first --train cases are trained on, the others are test cases; --other adds the cases of a second
cohort (labels_true/, images/) as a test group of its own. For each kind of noisy labels `heartmend run` repairs the
training cases alone, with their CTs; nothing of the test cases is used. The arms of a kind are

  noisy             the labels as they are
  repaired          the label maps of the run
  repaired, ignore  the same, exported with --ignore-above: nnU-Net's ignore label where an error is likely
  repaired, alone   with --alone: repaired without the CTs

and one arm of clean labels for all kinds. All networks of a seed have the same weights at the start and draw the same
cases, places and brightness. All arms of the first seed come first, so a table can be made at any time (--table).
Every finished training is kept in OUT/trainings; an interrupted benchmark continues, and --minutes ends it between two
trainings. OUT/results.csv has the Dice and NSD of every training, test case and structure, on the coarse lattice.
A gap is the difference of clean and noisy; where its 95 % interval contains 0 there is none to close.
Needs MONAI: pip install '.[benchmarks]'.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from coarse_cases import CoarseFolder
from rich.console import Console
from small_unet import NetworkSettings, predict, train_network
from training_gap import Closed, Scores, gap_closed

from heartmend.anatomy.load import load_anatomy
from heartmend.io.atomic import read_json, write_json
from heartmend.io.dataset import Case, discover_cohort
from heartmend.io.tables import NO_UNIT, Column, write_csv
from heartmend.metrics.overlap import dice
from heartmend.metrics.segment import segments
from heartmend.metrics.surface import surface_distances
from heartmend.release.case_layouts import link_or_copy
from heartmend.types import Labels

ANATOMY = load_anatomy("heart").without_absent(())
CLASSES = len(ANATOMY.ids) + 1
CLEAN, NOISY, REPAIRED, IGNORE, ALONE = "clean", "noisy", "repaired", "repaired, ignore", "repaired, alone"
OWN, OTHER = "held-out hearts", "another person"
PLACES = {OWN: "own", OTHER: "other"}
IGNORE_ABOVE = 0.3
TOLERANCE_MM = 1.0
METRICS = ("dice", "nsd_1mm", "nsd_1voxel")
SHOWN = {"dice": "Dice", "nsd_1mm": "NSD, 1 mm"}
COLUMNS = (
    Column("kind", str), Column("arm", str), Column("seed", int), Column("group", str), Column("case", str),
    Column("structure", str), *(Column(metric, float, NO_UNIT) for metric in METRICS),
)  # fmt: skip
console = Console(width=220, highlight=False, markup=False)


@dataclass(frozen=True)
class Training:
    """One training: labels of a kind, an arm of it, and a seed."""

    kind: str
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its file."""
        return "-".join(part.replace(", ", "_") for part in (self.kind, self.arm, str(self.seed)) if part)


def trainings(kinds: Sequence[str], arms: Sequence[str], seeds: int) -> Iterator[Training]:
    """List the trainings, all arms of the first seed first; the clean labels are of no kind."""
    for seed in range(seeds):
        yield Training("", CLEAN, seed)
        for arm in arms:
            yield from (Training(kind, arm, seed) for kind in kinds)


class Results:
    """The finished trainings, in OUT/trainings; they must be of the same settings."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], preset: str) -> None:
        """Open the folder; the preset matters for repaired labels alone."""
        self.folder, self._settings, self._preset = folder, dict(settings), preset

    def settings(self, training: Training) -> dict[str, Any]:
        """Return the settings with which a training must have been made."""
        return self._settings | ({} if training.arm in (CLEAN, NOISY) else {"preset": self._preset})

    def read(self, training: Training) -> list[dict[str, Any]] | None:
        """Read the rows of a training; None if it is not finished."""
        path = self._path(training)
        if not path.is_file():
            return None
        table = read_json(path)
        if table["settings"] != self.settings(training):
            raise SystemExit(f"{path}: was trained with {table['settings']}; give these, or another OUT")
        return list(table["rows"])

    def write(self, training: Training, rows: Sequence[Mapping[str, Any]], cpu_s: float) -> None:
        """Keep a finished training."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(
            self._path(training), {"settings": self.settings(training), "cpu_s": round(cpu_s, 1), "rows": [*rows]}
        )

    def _path(self, training: Training) -> Path:
        return self.folder / f"{training.name}.json"

    def rows(self, planned: Sequence[Training]) -> list[dict[str, Any]]:
        """Collect the rows of the finished ones of the planned trainings."""
        return [
            {"kind": one.kind, "arm": one.arm, "seed": one.seed, **row}
            for one in planned for row in self.read(one) or ()
        ]  # fmt: skip


class Proof:
    """The cohort, its split, and the volumes on the coarse lattice."""

    def __init__(
        self, cohort: Path, output: Path, train: int, other: Path | None, settings: NetworkSettings, preset: str
    ) -> None:
        """Find the cases."""
        self.cohort, self.output, self.settings, self.preset = cohort, output, settings, preset
        cases = discover_cohort(cohort / "labels_true", cohort / "images", anatomy=ANATOMY).cases
        if not 0 < train < len(cases):
            raise SystemExit(f"{cohort}: {len(cases)} cases cannot be split into {train} for training and others")
        self.training = cases[:train]
        self.tests = {OWN: cases[train:]}
        if other is not None:
            self.tests[OTHER] = discover_cohort(other / "labels_true", other / "images", anatomy=ANATOMY).cases
        self.coarse = CoarseFolder(output / f"coarse_{settings.spacing_mm:g}mm", settings.spacing_mm)

    def image(self, group: str, case: Case) -> np.ndarray:
        """Return the CT of a case."""
        if case.image_path is None:
            raise SystemExit(f"{case.labels_path}: has no CT in the folder images/ beside its folder")
        return self.coarse.image(case.image_path, f"{PLACES[group]}/images/{case.id}")

    def labels(self, training: Training, folder: Path) -> list[Labels]:
        """Return the label maps of an arm, for the training cases."""
        name = f"training/{training.kind or CLEAN}/{training.arm}"
        return [self._numbers(folder / case.labels_path.name, f"{name}/{case.id}") for case in self.training]

    def truth(self, group: str, case: Case) -> Labels:
        """Return the true label map of a test case."""
        return self._numbers(case.labels_path, f"{PLACES[group]}/truth/{case.id}")

    def _numbers(self, path: Path, name: str) -> Labels:
        """Read a label map; ids become consecutive numbers, and the ignore label is the last one."""
        lookup = np.zeros(256, np.uint8)
        lookup[list(ANATOMY.ids)] = np.arange(1, CLASSES)
        lookup[CLASSES] = CLASSES
        return np.asarray(lookup[self.coarse.labels(path, name)])

    def folder(self, training: Training, noisy: Mapping[str, Path]) -> Path:
        """Return the folder of the label maps of an arm; they are repaired and exported where they are not yet."""
        if training.arm == CLEAN:
            return self.training[0].labels_path.parent
        labels = noisy[training.kind]
        if training.arm == NOISY:
            return labels
        run = self.repaired(training.kind, labels, with_images=training.arm != ALONE)
        return self._exported(run) if training.arm == IGNORE else run / "labels"

    def repaired(self, kind: str, labels: Path, with_images: bool) -> Path:
        """Repair the training cases alone; a finished run has nothing left to do."""
        folder = self.output / "repair" / kind
        names = [case.labels_path.name for case in self.training]
        link_files([labels / name for name in names], folder / "labels")
        images = [case.image_path for case in self.training if case.image_path is not None]
        link_files(images, folder / "images")
        run = folder / ("run" if with_images else "run_alone")
        options = ["--images", str(folder / "images")] if with_images else []
        heartmend("run", folder / "labels", "--output", run, *options, "--uncertainty", "--stop-after", "fuse",
                  "--preset", self.preset, "--workers", "1", "--device", "cpu", "--quiet")  # fmt: skip
        return run

    def _exported(self, run: Path) -> Path:
        """Export a run for nnU-Net with ignore labels; returns the folder of the label maps."""
        release = run.with_name("release")
        if not release.is_dir():
            heartmend("export", run, "--output", release, "--formats", "nnunet", "--undecided", "accept",
                      "--ignore-above", str(IGNORE_ABOVE), "--no-images")  # fmt: skip
        return next(release.glob("nnunet/*/labelsTr"))

    def train(self, training: Training, noisy: Mapping[str, Path]) -> list[dict[str, Any]]:
        """Train a network and test it; returns a row for each test case and structure."""
        labels = self.labels(training, self.folder(training, noisy))
        images = [self.image(OWN, case) for case in self.training]
        net = train_network(images, labels, CLASSES, self.settings, training.seed)
        rows = []
        for group, cases in self.tests.items():
            for case in cases:
                shares = predict(net, self.image(group, case), self.settings.patch)
                found = shares.argmax(axis=0).astype(np.uint8)
                scored = score_case(found, self.truth(group, case), self.settings.spacing_mm)
                rows += [{"group": group, "case": case.id, **row} for row in scored]
        return rows


def heartmend(*arguments: object) -> None:
    """Run a command of Heartmend."""
    done = subprocess.run([sys.executable, "-m", "heartmend", *(str(one) for one in arguments)], check=False)
    if done.returncode != 0:
        raise SystemExit(f"heartmend {arguments[0]} ended with status {done.returncode}")


def link_files(paths: Sequence[Path], folder: Path) -> None:
    """Give files a second name in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        if not (folder / path.name).exists():
            link_or_copy(path, folder / path.name)


def score_case(found: Labels, truth: Labels, spacing_mm: float) -> list[dict[str, Any]]:
    """Score a prediction: Dice, and NSD at 1 mm and at one voxel, of each structure that the truth has."""
    rows = []
    for number, name in zip(range(1, CLASSES), ANATOMY.names, strict=True):
        true = truth == number
        if not true.any():
            continue
        distances = surface_distances(*segments((found == number, true), (spacing_mm,) * 3))
        values = (dice(found == number, true), distances.within(TOLERANCE_MM), distances.within(1.001 * spacing_mm))
        rows.append({"structure": name, **{m: round(v, 5) for m, v in zip(METRICS, values, strict=True)}})
    return rows


def print_tables(rows: Sequence[Mapping[str, Any]], kinds: Sequence[str], arms: Sequence[str]) -> None:
    """Print the tables, as Markdown."""
    for group in dict.fromkeys(row["group"] for row in rows):
        own = [row for row in rows if row["group"] == group]
        headings = ["labels", "trained on", "seeds"]
        for title in SHOWN.values():
            headings += [title, f"{title} less noisy", "of the gap closed"]
        _print_table(group, headings, (line for kind in kinds for line in _arm_lines(own, kind, arms)))
        headings = ["labels", "structure", *arms, CLEAN, f"of the gap closed, {REPAIRED}"]
        _print_table(f"Dice, {group}", headings, (line for kind in kinds for line in _structure_lines(own, kind, arms)))


def _print_table(title: str, headings: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    console.print(f"\n{title}\n")
    for cells in (headings, ["---"] * len(headings), *lines):
        console.print(f"| {' | '.join(cells)} |")


def _scores(rows: Sequence[Mapping[str, Any]], kind: str, metric: str) -> Scores:
    """Scores of a kind of labels, with those of clean labels, which are of no kind."""
    return Scores([row for row in rows if row["kind"] in ("", kind)], metric)


def _arm_lines(rows: Sequence[Mapping[str, Any]], kind: str, arms: Sequence[str]) -> Iterator[list[str]]:
    """Lines of the arms, each over the seeds that it shares with noisy and clean labels."""
    for arm in (*arms, CLEAN):
        cells = []
        for metric in SHOWN:
            scores = _scores(rows, kind, metric)
            seeds = scores.seeds((NOISY, arm, CLEAN))
            if not seeds:
                break
            noisy, own, clean = (scores.table(one, seeds) for one in (NOISY, arm, CLEAN))
            closed = gap_closed(noisy, own, clean)
            gain = "" if arm == NOISY else closed.gain.text(sign=True)
            share = "" if arm in (NOISY, CLEAN) else share_text(closed)
            cells += [f"{own.mean():.3f}", gain, share]
        if cells:
            yield [kind, arm, str(len(seeds)), *cells]


def share_text(closed: Closed) -> str:
    """Format the share of the gap that is closed."""
    if closed.share is None:
        return f"no gap ({closed.gap.text(sign=True)})"
    return closed.share.text(2)


def _structure_lines(rows: Sequence[Mapping[str, Any]], kind: str, arms: Sequence[str]) -> Iterator[list[str]]:
    """Lines of the structures, over the seeds that all arms have."""
    scores = _scores(rows, kind, "dice")
    present = [arm for arm in (*arms, CLEAN) if arm in scores.arms]
    seeds = scores.seeds(present)
    if not seeds or not {NOISY, CLEAN} <= set(present):
        return
    for structure in scores.structures:
        tables = {arm: scores.table(arm, seeds, structure) for arm in present}
        cells = [f"{tables[arm].mean():.3f}" if arm in tables else "" for arm in (*arms, CLEAN)]
        noisy, repaired, clean = (tables.get(arm, tables[NOISY]) for arm in (NOISY, REPAIRED, CLEAN))
        share = share_text(gap_closed(noisy, repaired, clean)) if REPAIRED in tables else ""
        yield [kind, structure, *cells, share]


def main() -> None:
    """Train what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("--labels", action="append", metavar="NAME=FOLDER", help="a kind of noisy labels")
    parser.add_argument("--train", type=int, default=12, help="number of training cases")
    parser.add_argument("--other", type=Path, help="a second cohort to test on")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--preset", default="mend", help="preset of the repair")
    parser.add_argument("--alone", action="store_true", help="also repair without the CTs")
    parser.add_argument("--clean-noisy", action="store_true", help="no repaired arms, to choose the settings")
    parser.add_argument("--steps", type=int, default=NetworkSettings.steps)
    parser.add_argument("--patch", type=int, default=NetworkSettings.patch)
    parser.add_argument("--width", type=int, default=NetworkSettings.channels[0], help="channels of the first level")
    parser.add_argument("--rate", type=float, default=NetworkSettings.rate)
    parser.add_argument("--residual-units", type=int, default=NetworkSettings.residual_units)
    parser.add_argument("--spacing-mm", type=float, default=NetworkSettings.spacing_mm)
    parser.add_argument("--float32", action="store_true", help="for a processor without instructions for bfloat16")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no training begins after this time")
    parser.add_argument("--table", action="store_true", help="print the tables of what is finished")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    noisy = dict(_named_folder(text) for text in arguments.labels or [f"noisy={arguments.cohort / 'labels_noisy'}"])
    channels = tuple(arguments.width * 2**level for level in range(4))
    settings = NetworkSettings(
        arguments.spacing_mm, arguments.steps, arguments.patch, 1, channels, arguments.residual_units, arguments.rate,
        not arguments.float32,
    )  # fmt: skip
    proof = Proof(arguments.cohort, arguments.output, arguments.train, arguments.other, settings, arguments.preset)
    kept = Results(arguments.output / "trainings", {**settings.to_dict(), "train": arguments.train}, arguments.preset)
    arms = [NOISY] if arguments.clean_noisy else [NOISY, REPAIRED, IGNORE] + [ALONE] * arguments.alone
    planned = list(trainings([*noisy], arms, arguments.seeds))
    started = time.monotonic()
    for training in () if arguments.table else planned:
        if kept.read(training) is not None:
            continue
        if time.monotonic() - started > 60 * arguments.minutes:
            break
        cpu = time.process_time()
        rows = proof.train(training, noisy)
        kept.write(training, rows, time.process_time() - cpu)
        mean = np.mean([row["dice"] for row in rows if row["group"] == OWN])
        console.print(f"{training.name}: mean Dice {mean:.3f}, {time.process_time() - cpu:.0f} s of CPU")
    rows = kept.rows(planned)
    write_csv(arguments.output / "results.csv", COLUMNS, rows)
    print_tables(rows, [*noisy], arms)


def _named_folder(text: str) -> tuple[str, Path]:
    name, found, folder = text.partition("=")
    if not found or not Path(folder).is_dir():
        raise SystemExit(f"--labels {text}: give NAME=FOLDER with an existing folder of label maps")
    return name, Path(folder)


if __name__ == "__main__":
    main()
