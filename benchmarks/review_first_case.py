#!/usr/bin/env python3
"""Time until `heartmend review` shows the first case of a data set of which no case is prepared, in Chromium.

usage: review_first_case.py [--cases 200] [--side 160] [--runs 3] [--out OUT]

The data set has CASES copies, under other ids, of one phantom heart of SIDE³ voxels with its CT. OUT instead names the
finished run of which one case is copied. "address": from the start of the command until it prints the address of the
page. "first case": until the three planes of the first case are drawn. "all": until every case can be opened; nobody
waits for it. Chromium is started before. Without a graphics card it renders in software.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parent))
from review_page import finished_run, table_of

from heartmend.io.dataset import discover_cohort
from heartmend.io.file_names import volume_ending
from heartmend.repair.change_log import change_log_to_json
from heartmend.run_folder.finished import FinishedRun
from heartmend.run_folder.folder import RunFolder
from support.browser import Server, launched

WAITING = "() => fetch('api/cases').then((found) => found.json()).then((found) => found.waiting)"


def write_copies(source: Path, folder: Path, count: int) -> Path:
    """Write a run whose cases are copies of the first case of another one."""
    finished = FinishedRun.open(source)
    case = next(iter(finished))
    repaired, log = finished.repaired_path(case), finished.changes(case)
    ids = [f"{n:04}" for n in range(count)]
    for kind, path in (("labels", case.labels_path), ("images", case.image_path), ("out/labels", repaired)):
        (folder / kind).mkdir(parents=True)
        for id in ids if path is not None else ():
            shutil.copyfile(path, folder / kind / f"{id}{volume_ending(path)}")
    images = folder / "images" if case.image_path is not None else None
    cohort = discover_cohort(folder / "labels", images, anatomy=finished.anatomy)
    (folder / "out/labels").rename(folder / "repaired")
    with RunFolder.open(folder / "out", folder / "labels") as run:
        run.write_settings({"request": {"images": None if images is None else str(images)}})
        run.write_cohort(cohort)
        run.write_anatomy(finished.anatomy)
        run.write_skipped({})
        (run.output / "run/fuse").mkdir()
        for copy in cohort:
            changes = run.output / "run/fuse" / f"{copy.id}.json"
            changes.write_text(change_log_to_json(replace(log, case_id=copy.id)))
            (folder / "repaired" / copy.labels_path.name).rename(run.result_path(copy))
            run.finish("fuse", copy.id, "", [changes, run.result_path(copy)])
    return folder / "out"


def main() -> None:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--side", type=int, default=160)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    kinds = ("address", "first case", "all")
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder, launched() as browser:
        source = arguments.out or finished_run(Path(folder), arguments.side, 1)
        out = write_copies(source, Path(folder) / "copies", arguments.cases)
        for _ in range(arguments.runs):
            shutil.rmtree(out / "run" / "review", ignore_errors=True)
            started = time.monotonic()
            with Server(out, "--workers", "0") as server:
                seconds["address"].append(time.monotonic() - started)
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.goto(server.url)
                page.wait_for_selector("body[data-shown]", timeout=600_000)
                seconds["first case"].append(time.monotonic() - started)
                while page.evaluate(WAITING):
                    time.sleep(1)
                seconds["all"].append(time.monotonic() - started)
                page.close()
    console, load = Console(width=120), os.getloadavg()[0]
    console.print(f"{arguments.cases} cases, none prepared; {os.cpu_count()} cores, load {load:.1f}")
    console.print(table_of(seconds))


if __name__ == "__main__":
    main()
