#!/usr/bin/env python3
"""Hostile test: attacks of every kind; each must be held.

usage: attack.py [--kind server] [--count-scale 1] [--seed 0] [--keep FOLDER] [--table TABLE.md] [--rows ROWS.csv]

Small phantom hearts are repaired once undisturbed. Then the readers, the review server, the model files, the files of a
run, and running commands are attacked. "Held" is defined in the code of each attack: exit status, a message that names
the file, no traceback, at most 5 s and 500 MB for a refusal, and label maps with the same bytes as the undisturbed run.
All network traffic goes to 127.0.0.1. Full disks are small tmpfs mounts where these are permitted, otherwise a limit of
the file size. With --keep the attacks that were done are not repeated. Exits with 1 if an attack was not held. All
processes that it started end with it.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from importlib import import_module
from pathlib import Path

KINDS = (
    "readers", "forms", "given", "server", "browser", "models", "corruptions", "kills", "disks", "limits", "paths",
    "together", "many_files", "changing_files",
)  # fmt: skip
"""Modules of the package `attacks`."""
HEADINGS = ("kind", "attack", "count", "held", "skipped", "longest s", "peak MB")
COLUMNS = ("job", "attack", "held", "seconds", "peak_mb", "problem", "skipped")
# One thread: the processes of this script use all cores already, and threads change the last bits of a sum.
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def main() -> None:
    """Run the attacks, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind; may be repeated")
    parser.add_argument("--count-scale", type=float, default=1.0, help="factor of the number of attacks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="folder of all files; a second call continues")
    parser.add_argument("--table", type=Path, help="Markdown file for the table; it is also printed")
    parser.add_argument("--rows", type=Path, help="CSV file with one line for each attack")
    parser.add_argument("--jobs", type=int, default=2, help="processes that attack at once; 1: this one")
    parser.add_argument("--shard", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.update(THREADS)
    # As Ctrl-C: what was started is ended, mounted and written files are removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    kinds = arguments.kind or list(KINDS)
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="heartmend-attack-"))
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.shard:
        from heartmend.compute.process_lifetime import end_with_parent

        end_with_parent()
        index, of = map(int, arguments.shard.split("/"))
        work(kinds[0], folder, arguments, index, of)
        return
    try:
        started = time.monotonic()
        failed = conduct(kinds, folder, arguments) if arguments.jobs > 1 else work_alone(kinds, folder, arguments)
        rows = {kind: read_results(folder, kind) for kind in kinds}
        not_held = show(rows, time.monotonic() - started, arguments.table, arguments.rows)
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    if failed or not_held:
        raise SystemExit(1)


def conduct(kinds: list[str], folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Run every kind in its own processes, some at once; returns the processes that failed."""
    subprocess.run([sys.executable, "-c", PREPARE, str(folder)], check=True, cwd=Path(__file__).parent)
    shards = [(kind, index) for kind in kinds for index in range(arguments.jobs if is_divided(kind) else 1)]
    running: dict[subprocess.Popen[bytes], tuple[str, int]] = {}
    failed = []
    try:
        while shards or running:
            while shards and len(running) < arguments.jobs:
                kind, index = shards.pop(0)
                of = arguments.jobs if is_divided(kind) else 1
                words = [sys.executable, __file__, "--kind", kind, "--shard", f"{index}/{of}", "--keep", str(folder)]
                words += ["--seed", str(arguments.seed), "--count-scale", str(arguments.count_scale)]
                running[subprocess.Popen(words)] = (kind, index)
            for process in [p for p in running if p.poll() is not None]:
                kind, index = running.pop(process)
                if process.returncode:
                    failed.append(f"{kind} {index}")
                    print(f"{kind}, part {index}: the attacking process failed", file=sys.stderr)  # noqa: T201
            time.sleep(0.1)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
    return failed


def work_alone(kinds: list[str], folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Do all jobs in this process, which imports everything once."""
    from attacks.lab import Lab

    Lab(folder).prepare()
    for kind in kinds:
        work(kind, folder, arguments, 0, 1)
    return []


PREPARE = "import sys; from pathlib import Path; from attacks.lab import Lab; Lab(Path(sys.argv[1])).prepare()"


def is_divided(kind: str) -> bool:
    """Whether the attacks of a kind are divided among the processes."""
    return kind not in ("browser", "many_files")


def work(kind: str, folder: Path, arguments: argparse.Namespace, index: int, of: int) -> None:
    """Do every `of`-th job of a kind and write its outcomes."""
    from attacks.lab import Lab

    module, lab = import_module(f"attacks.{kind}"), Lab(folder, arguments.count_scale, arguments.seed)
    (folder / "results").mkdir(exist_ok=True)
    path = folder / "results" / f"{kind}-{index}.csv"
    done = {int(row["job"]) for row in read_results(folder, kind)}
    todo = [job for job in range(index, module.jobs(lab), of) if job not in done]
    if not todo:
        return
    with module.opened(lab) as target, open(path, "a", newline="", errors="backslashreplace") as file:
        writer = csv.writer(file)
        for job in todo:
            outcomes = list(module.attack(lab, target, job, lab.rng(kind, job)))
            writer.writerows(
                (job, o.attack, int(not o.problem), o.seconds, o.peak_mb, o.problem, o.skipped) for o in outcomes
            )
            file.flush()
            for outcome in outcomes:
                if outcome.problem:
                    print(f"not held: {kind} {job}: {outcome.attack}: {outcome.problem}", file=sys.stderr)  # noqa: T201


def read_results(folder: Path, kind: str) -> list[dict[str, str]]:
    """Read the outcomes of a kind."""
    rows = []
    for path in sorted((folder / "results").glob(f"{kind}-*.csv")):
        with open(path, newline="") as file:
            rows += list(csv.DictReader(file, COLUMNS))
    return rows


def show(
    rows: dict[str, list[dict[str, str]]], seconds: float, table_path: Path | None, rows_path: Path | None = None
) -> int:
    """Print the table; returns the number of attacks that were not held."""
    from rich.console import Console
    from rich.table import Table

    lines, not_held = summarise(rows)
    title = f"attacks, {seconds:.0f} s, {os.cpu_count()} cores"
    table = Table(title=title)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in ("kind", "attack") else "right")
    for number, cells in enumerate(lines, start=1):
        table.add_row(*cells, end_section=number == len(lines) - 1)
    console = Console(width=140, highlight=False)
    console.print(table)
    reasons = [
        f"skipped: {reason}" for reason in sorted({r["skipped"] for found in rows.values() for r in found} - {""})
    ]
    reasons += [
        f"not held: {kind} {row['job']}: {row['attack']}: {row['problem']}"
        for kind, found in rows.items()
        for row in [row for row in found if row["held"] == "0"][:20]
    ]
    for reason in reasons:
        console.print(reason, markup=False)
    if table_path:
        bars = "|".join("---" if heading in ("kind", "attack") else "---:" for heading in HEADINGS)
        written = [f"| {' | '.join(cells)} |" for cells in (HEADINGS, *lines)]
        text = "\n".join((title, "", written[0], f"|{bars}|", *written[1:], "", *reasons))
        table_path.write_text(f"{text.rstrip()}\n", encoding="utf-8")
    if rows_path:
        with open(rows_path, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("kind", *COLUMNS))
            writer.writerows((kind, *(row[c] for c in COLUMNS)) for kind, found in rows.items() for row in found)
    return not_held


def summarise(rows: dict[str, list[dict[str, str]]]) -> tuple[list[tuple[str, ...]], int]:
    """Count the attacks of each group; the last line is that of all. Returns also how many were not held."""
    lines, total, held = [], 0, 0
    for kind, found in rows.items():
        groups = defaultdict(list)
        for row in found:
            groups[row["attack"].split(":")[0]].append(row)
        for name, group in groups.items():
            real = [row for row in group if not row["skipped"]]
            good = sum(int(row["held"]) for row in real)
            longest, peak = (max((float(row[key]) for row in real), default=0) for key in ("seconds", "peak_mb"))
            cells = (len(real), good, len(group) - len(real), f"{longest:.1f}", f"{peak:.0f}")
            lines.append((kind, name, *map(str, cells)))
            total, held = total + len(real), held + good
    return [*lines, ("all", "", str(total), str(held), "", "", "")], total - held


if __name__ == "__main__":
    main()
