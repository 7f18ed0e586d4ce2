"""Command `report`."""

from __future__ import annotations

from typing import Annotated

import typer

from heartmend.cli.options import (
    OUTPUT,
    MovedImages,
    MovedLabels,
    OptionalOutput,
    Reference,
    RunFolder,
    Scheduler,
    Workers,
)
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.terminal import print_paths

EXAMPLES = """
heartmend report out/
heartmend report out/ --reference truth/ --case 001 --case 007
"""


def report(
    run_folder: RunFolder, images: MovedImages = None, labels: MovedLabels = None, reference: Reference = None,
    output: OptionalOutput = None,
    case: Annotated[
        list[str] | None,
        typer.Option("--case", metavar="CASE", rich_help_panel=OUTPUT, help="Show this case too; repeatable."),
    ] = None,
    worst: Annotated[
        int, typer.Option("--worst", metavar="N", min=0, rich_help_panel=OUTPUT, help="Number of worst cases shown.")
    ] = 2,
    most_changed: Annotated[
        int,
        typer.Option("--most-changed", metavar="N", min=0, rich_help_panel=OUTPUT,
                     help="Number of most changed cases shown."),
    ] = 2,
    workers: Workers = 0, scheduler: Scheduler = "",
) -> None:  # fmt: skip
    """Write an HTML report of a run.

    OUT/report/report.html is one page with tables, charts, pictures and interactive surfaces; report.md is a short
    version of it for the supplement of a paper.
    """
    from heartmend.compute.cluster import scheduled
    from heartmend.report.build import write_report
    from heartmend.report.changes import CaseSelection
    from heartmend.run_folder.finished import FinishedRun

    finished = FinishedRun.open(run_folder, labels, images)
    with scheduled(scheduler, workers), TerminalProgress() as progress:
        paths = write_report(
            finished, output or run_folder / "report", reference=reference,
            selection=CaseSelection(case or (), worst, most_changed), workers=workers, progress=progress,
        )  # fmt: skip
    print_paths(paths)
