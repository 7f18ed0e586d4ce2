#!/usr/bin/env python3
"""Cost of each stage of a run for 20 to 998 hearts, as a curve, with the accuracy; or the efficiency of a Dask cluster.

usage: thousand.py COHORT OUT [--counts 20,60,200,998] [--workers 2] [--score-cases 50] [--config FILE]
       thousand.py COHORT OUT --scheduler [--counts 60] [--repeat 3]

COHORT has labels_true/NNN.nii.gz and labels_noisy/NNN.nii.gz; the phantom hearts that are missing are made there first
(as `heartmend phantom --faults harsh` makes them, without CTs; 998 of 0.9 mm take an hour on two cores and 0.3 GB).

The first form runs `heartmend run --stop-after STAGE` for each stage in turn as a command of its own, so that each has
its own time, CPU time of all processes, and peak memory; each includes the start of the program and the check of what
the stages before it have done. "nothing left" is the same command once more. An interrupted benchmark continues:
OUT/measured.json has the stages that were measured, and every ten seconds the cost so far of the one that runs.
The first --score-cases cases of each run are compared with the truth. Exit status 1, with a note, if the CPU time of a
case grows by more than 10 % in a stage, from the last count but one to the last.

The second form runs all stages in one command on a Dask cluster of one worker and of two on this machine, in turn. The
efficiency is T(1) / (2 T(2)), where T is the elapsed time of prepare, refine and fuse together, by the log of the run:
the fit is one job, shown apart, and the start of the program is the same for any number of workers.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cluster_efficiency import STAGES, cluster_table, measure_cluster
from cohort_score import METRICS, Score, score
from command_cost import Cost, measure
from rich.console import Console
from rich.table import Table

from heartmend.anatomy.load import load_anatomy
from heartmend.compute.workers import each
from heartmend.io.atomic import write_json
from heartmend.metrics.evaluation import EvaluationSettings
from heartmend.phantom.cohort import PhantomSettings, case_id, write_case
from heartmend.pipelines.evaluate import evaluate_folders
from heartmend.release.case_layouts import link_or_copy

REPEATED = "nothing left"
MAX_GROWTH = 0.10
SEED = 1
console = Console(width=150, highlight=False)


@dataclass(frozen=True)
class RunSettings:
    """Settings of the measured runs, with which the stored costs must agree."""

    workers: int
    preset: str
    config: str

    def command(self, labels: Path, output: Path, stage: str) -> list[str]:
        """Return the command that runs the stages up to one of them."""
        options = ["--config", self.config] if self.config else ["--preset", self.preset]
        return [
            sys.executable, "-m", "heartmend", "run", str(labels), "--output", str(output), "--stop-after", stage,
            "--workers", str(self.workers), "--device", "cpu", "--quiet", *options,
        ]  # fmt: skip


class Measured:
    """The costs that were measured, in OUT/measured.json."""

    def __init__(self, path: Path, settings: RunSettings) -> None:
        """Read the file; it must be of the same settings."""
        self.path = path
        empty: dict[str, Any] = {"settings": asdict(settings), "stages": {}, "scores": {}, "cluster": {}}
        self.table = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else empty
        if self.table["settings"] != asdict(settings):
            raise SystemExit(f"{path}: was measured with {self.table['settings']}; give these, or another OUT")

    def save(self) -> None:
        """Write the file."""
        write_json(self.path, self.table)

    def cost(self, count: int, stage: str) -> Cost | None:
        """Return the cost of a stage that is done."""
        entry = self.table["stages"].get(str(count), {}).get(stage)
        return Cost(**entry["cost"]) if entry and entry["done"] else None

    def measure(self, count: int, stage: str, command: Sequence[str], log: Path) -> Cost:
        """Measure a stage, or what an interruption has left of it."""
        entry = self.table["stages"].setdefault(str(count), {}).get(stage)
        before = Cost(**entry["cost"]) if entry else None

        def note(cost: Cost, done: bool = False) -> None:
            total = cost if before is None else before.then(cost)
            self.table["stages"][str(count)][stage] = {"done": done, "cost": total.to_dict()}
            self.save()

        note(measure(command, log, note), done=True)
        found = self.cost(count, stage)
        assert found is not None
        return found


def make_cohort(cohort: Path, count: int, spacing_mm: float, workers: int) -> None:
    """Make the hearts that are missing."""
    missing = [index for index in range(count) if not all(path.is_file() for path in _paths(cohort, index))]
    if not missing:
        return
    console.print(f"{cohort}: makes {len(missing)} of {count} hearts")
    settings = PhantomSettings(spacing_mm, faults="harsh", images=False)
    work = partial(_make, cohort=cohort, settings=settings)
    for _, _, error in each(work, missing, workers):
        if error is not None:
            raise error


def _make(index: int, cohort: Path, settings: PhantomSettings) -> None:
    write_case(cohort, index, SEED, settings)


def _paths(cohort: Path, index: int) -> tuple[Path, Path]:
    name = f"{case_id(index)}.nii.gz"
    return cohort / "labels_true" / name, cohort / "labels_noisy" / name


def link_cases(cohort: Path, folder: Path, count: int, which: int = 1) -> Path:
    """Give the first cases a second name in a folder: the noisy maps, or the true ones (0)."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        source = _paths(cohort, index)[which]
        if not (folder / source.name).exists():
            link_or_copy(source, folder / source.name)
    return folder


def score_run(cohort: Path, output: Path, cases: int, folder: Path, workers: int) -> Score:
    """Score the first cases of a run."""
    truth, noisy = (link_cases(cohort, folder / f"{name}_{cases}", cases, which)
                    for which, name in enumerate(("true", "noisy")))  # fmt: skip
    settings = EvaluationSettings(metrics=METRICS, workers=workers, parts=False)
    return score(evaluate_folders(noisy, output, load_anatomy("heart").without_absent(()), truth, settings).rows)


def growth(measured: Measured, counts: Sequence[int], stage: str) -> float | None:
    """Growth of the CPU time a case of a stage from the last count but one to the last."""
    if len(counts) < 2:
        return None
    fewer, more = (measured.cost(count, stage) for count in counts[-2:])
    if fewer is None or more is None:
        return None
    return (more.cpu_s / counts[-1]) / (fewer.cpu_s / counts[-2]) - 1


def cost_table(measured: Measured, counts: Sequence[int], workers: int) -> Table:
    """Make the table of the costs."""
    table = Table(title=f"Cost of each stage, {workers} workers")
    headings = ("cases", "stage", "elapsed, s", "CPU, s a case", "peak MiB, main", "peak MiB, all", "growth", "parts")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for count in counts:
        costs = {stage: measured.cost(count, stage) for stage in (*STAGES, REPEATED)}
        rows = {stage: cost for stage, cost in costs.items() if cost is not None}
        for stage, cost in rows.items():
            grown = growth(measured, counts, stage) if count == counts[-1] and stage in STAGES else None
            table.add_row(
                f"{count:,}", stage, f"{cost.wall_s:,.0f}", f"{cost.cpu_s / count:.2f}", f"{cost.main_mib:,.0f}",
                f"{cost.all_mib:,.0f}", "" if grown is None else f"{grown:+.0%}", str(cost.parts),
            )  # fmt: skip
        work = [rows[stage] for stage in STAGES if stage in rows]
        table.add_row(
            f"{count:,}", "[bold]together[/]", f"[bold]{sum(c.wall_s for c in work):,.0f}[/]",
            f"[bold]{sum(c.cpu_s for c in work) / count:.2f}[/]", f"{max(c.main_mib for c in work):,.0f}",
            f"{max(c.all_mib for c in work):,.0f}", end_section=True,
        )  # fmt: skip
    return table


def score_table(scores: dict[int, Score]) -> Table:
    """Make the table of the accuracy."""
    table = Table(title="Dice error removed, first cases of each run")
    table.add_column("structure")
    for count, found in scores.items():
        table.add_column(f"{count:,} ({found.cases} scored)", justify="right")
    for name in dict.fromkeys(name for found in scores.values() for name in found.removed):
        table.add_row(name, *(f"{found.removed.get(name, float('nan')):.3f}" for found in scores.values()))
    means = (f"[bold]{found.mean:.3f}[/] ({found.low:.3f} to {found.high:.3f})" for found in scores.values())
    table.add_row("mean (95 % interval)", *means)
    table.add_row("worse", *(found.worse for found in scores.values()))
    return table


def notes(measured: Measured, counts: Sequence[int]) -> Iterable[str]:
    """Name the stages whose cost of a case grows too much."""
    for stage in STAGES:
        grown = growth(measured, counts, stage)
        if grown is not None and grown > MAX_GROWTH:
            yield f"{stage}: the CPU time a case grows by {grown:.0%} from {counts[-2]} to {counts[-1]} cases"


def measure_runs(arguments: argparse.Namespace, settings: RunSettings, measured: Measured, counts: list[int]) -> None:
    """Measure the stages for each count, score the runs, print the tables."""
    scores = {}
    for count in counts:
        folder = arguments.output / f"{count:04d}"
        labels = link_cases(arguments.cohort, folder / "labels", count)
        for stage in (*STAGES, REPEATED):
            if measured.cost(count, stage) is None:
                command = settings.command(labels, folder / "run", STAGES[-1] if stage == REPEATED else stage)
                cost = measured.measure(count, stage, command, folder / "log.txt")
                console.print(f"{count} cases, {stage}: {cost.wall_s:.0f} s, {cost.cpu_s / count:.2f} CPU s a case")
        stored = measured.table["scores"].get(str(count))
        cases = min(arguments.score_cases, count)
        if stored is None or stored["cases"] != cases:
            found = score_run(arguments.cohort, folder / "run", cases, arguments.output / "scored", settings.workers)
            stored = measured.table["scores"][str(count)] = found.to_dict()
            measured.save()
        scores[count] = Score(**stored)
    console.print(cost_table(measured, counts, settings.workers))
    console.print(score_table(scores))
    if found := list(notes(measured, counts)):
        raise SystemExit("\n".join(found))


def main() -> None:
    """Make the cohort, measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("--counts", default="", help="numbers of cases; default 20,60,200,998, on a cluster 60")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--spacing-mm", type=float, default=0.9, help="voxel size of hearts that are made")
    parser.add_argument("--score-cases", type=int, default=50)
    parser.add_argument("--preset", default="mend")
    parser.add_argument("--config", type=Path, help="settings file in place of the preset")
    parser.add_argument("--scheduler", action="store_true", help="measure the efficiency of a local Dask cluster")
    parser.add_argument("--repeat", type=int, default=3, help="turns on the cluster")
    arguments = parser.parse_args()
    # An end by SIGTERM is one by an exception, so that the command that is measured ends too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    given = arguments.counts or ("60" if arguments.scheduler else "20,60,200,998")
    counts = sorted({int(count) for count in given.split(",")})
    make_cohort(arguments.cohort, counts[-1], arguments.spacing_mm, arguments.workers)
    arguments.output.mkdir(parents=True, exist_ok=True)
    config = str(arguments.config.resolve()) if arguments.config else ""
    settings = RunSettings(arguments.workers, arguments.preset, config)
    measured = Measured(arguments.output / "measured.json", settings)
    if not arguments.scheduler:
        measure_runs(arguments, settings, measured, counts)
        return
    for count in counts:
        folder = arguments.output / f"cluster_{count:04d}"
        labels = link_cases(arguments.cohort, folder / "labels", count)
        turns = measured.table["cluster"].setdefault(str(count), {})
        command = partial(settings.command, labels)
        measure_cluster(command, folder, arguments.repeat, turns, measured.save)
        console.print(cluster_table(f"{count} cases, Dask workers on this machine", turns))


if __name__ == "__main__":
    main()
