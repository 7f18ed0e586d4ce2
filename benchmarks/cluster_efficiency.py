"""Efficiency of a Dask cluster on this machine: the same run with one worker and with two."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from command_cost import measure
from distributed import Client
from rich.table import Table

WORKERS = (1, 2)
BY_CASE = ("prepare", "refine", "fuse")
STAGES = ("prepare", "fit", "refine", "fuse")
START_S = 60.0
SAMPLE_EVERY_S = 5.0
"""Rarely: nothing but the end of the command is wanted of it, and both cores have a worker."""
Turns = dict[str, dict[str, dict[str, float]]]
"""Elapsed seconds by turn, number of workers and stage."""


@contextmanager
def local_cluster(workers: int, folder: Path) -> Iterator[Path]:
    """Start a scheduler and its workers, of one thread each.

    Args:
        workers: number of workers.
        folder: for the scheduler file, the workers' files and the log.

    Yields:
        The path of the scheduler file.
    """
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    dask = [sys.executable, "-m", "dask"]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON__OMP_NUM_THREADS": "1",
    }
    with (folder / "dask.txt").open("ab") as log:
        commands = (
            [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)],
            [*dask, "worker", "--scheduler-file", str(file), "--nthreads", "1", "--nworkers", str(workers),
             "--no-dashboard", "--memory-limit", "0", "--local-directory", str(folder / "dask")],
        )  # fmt: skip
        running = [subprocess.Popen(words, stdout=log, stderr=log, env=environment) for words in commands]
        try:
            with Client(scheduler_file=str(file), timeout=START_S, set_as_default=False) as client:
                client.wait_for_workers(workers, timeout=START_S)
            yield file
        finally:
            # The workers first: they would try to reach a scheduler that has ended.
            for process in reversed(running):
                process.terminate()
                process.wait()


def measure_cluster(
    command: Callable[[Path, str], list[str]], folder: Path, repeat: int, turns: Turns, save: Callable[[], object]
) -> None:
    """Measure the turns that were not measured yet.

    Args:
        command: returns the command for OUT of a run and a stage.
        folder: for the runs, which are removed once they are measured, and the logs.
        repeat: number of turns.
        turns: the turns that were measured; grows.
        save: is called after each measured run.
    """
    for turn in map(str, range(1, repeat + 1)):
        for workers in WORKERS:
            if str(workers) in turns.setdefault(turn, {}):
                continue
            output = folder / f"run_{workers}"
            shutil.rmtree(output, ignore_errors=True)
            with local_cluster(workers, folder) as scheduler:
                words = [*command(output, STAGES[-1]), "--scheduler", str(scheduler)]
                measure(words, folder / "log.txt", sample_every_s=SAMPLE_EVERY_S)
            turns[turn][str(workers)] = stage_seconds((output / "run" / "heartmend.log").read_text(encoding="utf-8"))
            save()
            shutil.rmtree(output)


def stage_seconds(log: str) -> dict[str, float]:
    """Read the elapsed seconds of each stage of a run from its log, to a second.

    Args:
        log: text of OUT/run/heartmend.log.

    Returns:
        Seconds from the first line of a stage to its last one, by stage.
    """
    times: dict[str, list[datetime]] = {stage: [] for stage in STAGES}
    for line in log.splitlines():
        words = line.split()
        if len(words) > 4 and words[3] in times and "/" in words[4]:
            times[words[3]].append(datetime.fromisoformat(f"{words[0]} {words[1]}"))
    return {stage: (found[-1] - found[0]).total_seconds() for stage, found in times.items()}


def efficiency(turn: Mapping[str, Mapping[str, float]]) -> float:
    """Compute T(1) / (2 T(2)) of the stages that work case by case."""
    one, two = (sum(turn[str(workers)][stage] for stage in BY_CASE) for workers in WORKERS)
    return one / (2 * two)


def cluster_table(title: str, turns: Mapping[str, Any]) -> Table:
    """Make the table: elapsed seconds by stage and number of workers, and the efficiency of each turn."""
    table = Table(title=title)
    for heading in ("turn", "workers", *BY_CASE, "together", "efficiency", "fit, one job"):
        table.add_column(heading, justify="right")
    for turn, found in turns.items():
        for workers in map(str, WORKERS):
            seconds = found[workers]
            together = sum(seconds[stage] for stage in BY_CASE)
            last = f"{efficiency(found):.1%}" if workers == str(WORKERS[-1]) else ""
            cells = (f"{seconds[stage]:.1f}" for stage in BY_CASE)
            table.add_row(turn, workers, *cells, f"{together:.1f}", last, f"{seconds['fit']:.1f}")
    table.add_row("median", "", "", "", "", "", f"[bold]{median(map(efficiency, turns.values())):.1%}[/]", "")
    return table
