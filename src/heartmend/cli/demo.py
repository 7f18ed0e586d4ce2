"""Command `demo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heartmend.cli.announce import announce
from heartmend.cli.options import OUTPUT, Device, Output
from heartmend.cli.phantom import Seed
from heartmend.cli.pipeline_command import run_with_progress
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.terminal import print_paths, print_summary, print_table
from heartmend.wording import plural

if TYPE_CHECKING:
    from heartmend.pipelines.result import Result

EXAMPLES = """
heartmend demo
heartmend demo -o demo/ --count 20 --device cuda
"""


def demo(
    output: Output = Path("demo_out"),
    count: Annotated[int, typer.Option("--count", metavar="N", min=3, rich_help_panel=OUTPUT, help="Hearts.")] = 12,
    seed: Seed = 1, device: Device = "auto",
) -> None:  # fmt: skip
    """Generate, repair and evaluate phantom hearts.

    A first test without data: a table of the label error before and after the repair, and pictures.
    """
    from heartmend.anatomy.load import load_anatomy
    from heartmend.compute.workers import available_cores
    from heartmend.figures.demo import draw_pictures
    from heartmend.metrics.table import summary_tables
    from heartmend.phantom.cohort import PhantomSettings, write_cohort
    from heartmend.pipelines.config import load_config
    from heartmend.pipelines.evaluate import evaluate_folders
    from heartmend.pipelines.run import Request, run

    start = time.monotonic()
    anatomy = load_anatomy("heart")
    cohort, repaired = output / "cohort", output / "repaired"
    print_summary(f"{plural(count, 'phantom heart')} with corrupted labels and CT images")
    with TerminalProgress() as progress:
        write_cohort(cohort, count, seed, PhantomSettings(spacing_mm=1.4, faults="harsh"), available_cores(), progress)
    request = Request(
        labels=cohort / "labels_noisy", output=repaired, images=cohort / "images", device=device, stop_after="fuse"
    )

    def pipeline(progress: TerminalProgress) -> Result:
        return run(request, load_config("fast"), progress, lambda estimate: announce(estimate, repaired))

    run_with_progress(pipeline, repaired)
    with TerminalProgress() as progress:
        found = evaluate_folders(cohort / "labels_noisy", repaired, anatomy, cohort / "labels_true", progress=progress)
    print_table(summary_tables(found.summary, found.metrics, anatomy))
    print_paths(draw_pictures(cohort, repaired / "labels", output / "pictures", anatomy))
    print_summary(f"Done in {time.monotonic() - start:.0f} s: {output}")
