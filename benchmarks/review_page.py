#!/usr/bin/env python3
"""How soon the review page shows the next case: a headless Chromium steps through phantoms of SIDE^3 voxels with CTs.

usage: review_page.py [--side 256] [--cases 6]

`next, preloaded`: from the key for the next case (the first line of what it calls) until the frame that shows that case
in all three planes was handed to the compositor and the graphics card has drawn it; the page had said before that the
neighbours are ready. `and its solids`: until the 3D view, which comes a frame later, is drawn too. `jump`: as `next`,
for a case at the other end of the list, which was not preloaded. `ready`: from one key until the next may be pressed,
which a person does not wait for. `blend`: one move of the slider; `at once`: while the next case is put onto the card.
Without a card Chromium draws in software, on the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.io.atomic import write_json, write_text
from heartmend.io.dataset import discover_cohort
from heartmend.io.nifti import write_volume
from heartmend.phantom.cohort import PhantomSettings, make_case
from heartmend.repair.change_log import ChangeLog, change_log_to_json
from heartmend.run_folder.folder import RunFolder
from support.browser import launched, served

# `step` and `open` end when the planes are painted; to read a pixel waits for all that was asked of the card.
TIMED = """async (act) => {
  const page = window.page, viewer = page.viewer, began = performance.now();
  const seconds = () => (performance.now() - began) / 1000;
  const drawn = ({ gl }) => gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  await (act === "blend" ? page.blendBy(-10) : act === "next" ? page.step(1) : page.open(act));
  drawn(viewer.shown.nv);
  const planes = seconds();
  while (viewer.solidsAreDue) await new Promise((done) => setTimeout(done));
  drawn(viewer.solids.nv);
  return [planes, seconds()];
}"""
CARD = """() => { const gl = window.page.viewer.solids.nv.gl;
  return gl.getParameter(gl.getExtension("WEBGL_debug_renderer_info").UNMASKED_RENDERER_WEBGL); }"""


def finished_run(folder: Path, side: int, count: int) -> Path:
    """A run of phantoms whose mended maps are their truth."""
    anatomy, out = load_anatomy("heart"), folder / "out"
    for index in range(count):
        settings = PhantomSettings(spacing_mm=128 / side, size=(side,) * 3, vary_grid=False)
        case = make_case(index, seed=5, settings=settings)
        grid = Grid(case.truth.shape, case.affine)
        for name, values in (("labels", case.noisy), ("truth", case.truth), ("images", case.image)):
            write_volume(values, grid, folder / name / f"{case.id}.nii.gz")
    cohort = discover_cohort(folder / "labels", folder / "images", anatomy=anatomy)
    with RunFolder.open(out, folder / "labels") as run:
        run.write_config({"request": {"images": str(folder / "images")}})
        run.write_cohort(cohort)
        write_json(run.root / "anatomy.json", anatomy)
        for case in cohort:
            truth = np.asarray(cohort.read_labels(discover_cohort(folder / "truth", anatomy=anatomy)[case.id]).labels)
            cohort.write_labels(case, truth, run.result_path(case.labels_path))
            write_text(run.case_path("fuse", case.id, ".json"), change_log_to_json(ChangeLog(case.id)))
    return out


def ready(page: Any) -> float:
    """Wait until the neighbours of the case that is shown are ready; seconds."""
    began = time.monotonic()
    page.wait_for_selector("#stage[data-ready]", timeout=600_000)
    return time.monotonic() - began


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--cases", type=int, default=6)
    asked = parser.parse_args()
    kinds = ("next, preloaded", "and its solids", "jump", "blend", "blend at once", "ready")
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        out = finished_run(Path(folder), asked.side, asked.cases)
        with served(out) as url, launched() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(url)
            page.wait_for_selector("body[data-shown]", timeout=600_000)
            order = page.evaluate("() => window.page.store.shown()")
            for _ in order[1:]:
                seconds["ready"].append(ready(page))
                seconds["blend"].append(page.evaluate(TIMED, "blend")[0])
                planes, solids = page.evaluate(TIMED, "next")
                seconds["next, preloaded"].append(planes)
                seconds["and its solids"].append(solids)
                seconds["blend at once"].append(page.evaluate(TIMED, "blend")[0])
            for other in (order[0], order[-1]):
                ready(page)
                seconds["jump"].append(page.evaluate(TIMED, other)[0])
            card = page.evaluate(CARD)
            shown = json.loads((out / "run" / "review" / f"{order[0]}.json").read_text())["shape"]
    size, load = " x ".join(map(str, shown)), os.getloadavg()[0]
    screen = Console(width=120)
    screen.print(f"Cases of {asked.side}^3 voxels ({size} shown of the first), drawn by {card}; load {load:.1f}")
    table = Table()
    for heading in ("", "median, s", "longest, s"):
        table.add_column(heading, justify="right" if heading else "left")
    for what, found in seconds.items():
        table.add_row(what, f"{statistics.median(found):.2f}", f"{max(found):.2f}")
    screen.print(table)


if __name__ == "__main__":
    main()
