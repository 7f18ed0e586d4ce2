#!/usr/bin/env python3
"""Time until the review page shows the next case, in a headless Chromium, for phantoms of SIDE³ voxels with CTs.

usage: review_page.py [--side 256] [--cases 6]

"next, preloaded": from the key for the next case until its three planes are drawn, after the page reported that the
neighbours are loaded. "with surfaces": until the 3D view, one frame later, is drawn too. "jump": the same for a case
at the other end of the list, which was not preloaded. "loaded": from one key until the neighbours are loaded, for
which a person does not wait. "blend": one move of the slider; "blend at once": while the next case is loaded. Without
a graphics card Chromium renders in software.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.io.dataset import discover_cohort
from heartmend.io.nifti import write_volume
from heartmend.phantom.cohort import PhantomSettings, make_case
from heartmend.repair.change_log import ChangeLog
from heartmend.run_folder.folder import RunFolder
from support.browser import launched, served

# `step` and `open` end when the planes are painted; to read a pixel waits for all that was arguments of the card.
TIMED = """async (action) => {
  const page = window.page, viewer = page.viewer, started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  const drawn = ({ gl }) => gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  await (action === "blend" ? page.display.blendBy(-10) : action === "next" ? page.step(1) : page.open(action));
  drawn(viewer.shown.nv);
  const planes = seconds();
  while (viewer.solidsAreDue) await new Promise((done) => setTimeout(done));
  drawn(viewer.solids.nv);
  return [planes, seconds()];
}"""
CARD = """() => { const gl = window.page.viewer.solids.nv.gl;
  return gl.getParameter(gl.getExtension("WEBGL_debug_renderer_info").UNMASKED_RENDERER_WEBGL); }"""


def finished_run(folder: Path, side: int, count: int) -> Path:
    """Write a run of phantoms whose repaired maps are the truth."""
    anatomy, out = load_anatomy("heart").without_absent(()), folder / "out"
    for index in range(count):
        settings = PhantomSettings(spacing_mm=128 / side, size=(side,) * 3, vary_grid=False, faults="harsh")
        case = make_case(index, seed=5, settings=settings)
        grid = Grid(case.truth.shape, case.affine)
        for name, values in (("labels", case.noisy), ("truth", case.truth), ("images", case.image)):
            write_volume(values, grid, folder / name / f"{case.id}.nii.gz")
    cohort = discover_cohort(folder / "labels", folder / "images", anatomy=anatomy)
    with RunFolder.open(out, folder / "labels") as run:
        run.write_settings({"request": {"images": str(folder / "images")}})
        run.write_cohort(cohort)
        run.write_anatomy(anatomy)
        run.write_skipped({})
        for case in cohort:
            truth = np.asarray(cohort.read_labels(discover_cohort(folder / "truth", anatomy=anatomy)[case.id]).labels)
            run.write_fused(cohort, case, truth, ChangeLog(case.id))
    return out


def table_of(seconds: Mapping[str, Sequence[float]]) -> Table:
    """A table of median and longest time, a row for each kind."""
    table = Table()
    for heading in ("", "median, s", "longest, s"):
        table.add_column(heading, justify="right" if heading else "left")
    for what, found in seconds.items():
        table.add_row(what, f"{statistics.median(found):.2f}", f"{max(found):.2f}")
    return table


def wait_until_loaded(page: Any) -> float:
    """Wait until the neighbours of the displayed case are loaded; returns the seconds."""
    started = time.monotonic()
    page.wait_for_selector("#stage[data-ready]", timeout=600_000)
    return time.monotonic() - started


def main() -> None:
    """Measure the page, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--cases", type=int, default=6)
    arguments = parser.parse_args()
    kinds = ("next, preloaded", "with surfaces", "jump", "blend", "blend at once", "loaded")
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        out = finished_run(Path(folder), arguments.side, arguments.cases)
        with served(out) as url, launched() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(url)
            page.wait_for_selector("body[data-shown]", timeout=600_000)
            order = page.evaluate("() => window.page.store.shown()")
            for _ in order[1:]:
                seconds["loaded"].append(wait_until_loaded(page))
                seconds["blend"].append(page.evaluate(TIMED, "blend")[0])
                planes, solids = page.evaluate(TIMED, "next")
                seconds["next, preloaded"].append(planes)
                seconds["with surfaces"].append(solids)
                seconds["blend at once"].append(page.evaluate(TIMED, "blend")[0])
            for other in (order[0], order[-1]):
                wait_until_loaded(page)
                seconds["jump"].append(page.evaluate(TIMED, other)[0])
            card = page.evaluate(CARD)
            shown = RunFolder.at(out).review_summary(order[0])["shape"]
    size, load = " x ".join(map(str, shown)), os.getloadavg()[0]
    console = Console(width=120)
    console.print(
        f"Cases of {arguments.side}^3 voxels ({size} displayed of the first), rendered by {card}; load {load:.1f}"
    )
    console.print(table_of(seconds))


if __name__ == "__main__":
    main()
