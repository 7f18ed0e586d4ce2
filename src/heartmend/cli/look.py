"""The commands for looking: which labels are bad, what a run did, pictures of a case."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.text import Text

from heartmend.cli.mend import Bars, request_for
from heartmend.cli.terminal import (
    SOME_REFUSED,
    AnatomyName,
    ConfigFile,
    Device,
    Images,
    RunFolder,
    Scheduler,
    UnknownLabels,
    Workers,
    app,
    console,
    counting,
    progress_bar,
    told,
)
from heartmend.pipelines.config import load_config

ToFolder = Annotated[Optional[Path], typer.Option("--to", help="Folder for the files that are written.")]  # noqa: UP045
InputLabels = Annotated[Optional[Path], typer.Option("--labels", help="Where the input lies now, if it was moved.")]  # noqa: UP045


@app.command()
def audit(
    labels: Annotated[Path, typer.Argument(help="Folder of label maps, an nnU-Net v2 data set, or the OUT of a run.")],
    out: Annotated[Optional[Path], typer.Option("--out", "-o", help="Keep what is prepared and fitted here.")] = None,  # noqa: UP045
    to: ToFolder = None,
    quick: Annotated[bool, typer.Option("--quick", help="Without a fit: what each label map shows by itself.")] = False,
    anatomy: AnatomyName = "heart", unknown_labels: UnknownLabels = "error", device: Device = "auto", workers: Workers = 0,
    preset: Annotated[str, typer.Option(help="Settings of the fit: fast, or mend.")] = "fast",
    config: ConfigFile = None,
    count: Annotated[int, typer.Option(min=1, help="How many cases and structures the screen shows.")] = 20,
) -> None:  # fmt: skip
    """Rank the cases and structures of LABELS by how likely they are wrong, with reasons; nothing is mended.

    The table on the screen, and structures.csv, cases.csv and audit.json in --to (with --out: in OUT/run/audit).
    """
    from heartmend.quality.ranking_table import ranking_tables, write_ranking
    from heartmend.quality.screen import screen_in_temporary_folder, screen_labels, screen_run

    with told():
        is_run = (labels / "run" / "run.json").is_file()
        request = request_for(labels, out or Path(), None, anatomy, "", unknown_labels, device, workers, "fit", True)
        with progress_bar() as bar:
            if is_run:
                ranking = screen_run(labels, quick, workers, Bars(bar))
            else:
                look = screen_labels if out else screen_in_temporary_folder
                ranking = look(request, load_config(preset, config), quick, Bars(bar))
        console.print(ranking_tables(ranking, count))
        folder = to or (out / "run" / "audit" if out else None)
        for path in write_ranking(ranking, folder) if folder else []:
            console.print(f"{path}")
        for case, why in ranking.skipped.items():
            console.print(Text.assemble(("skipped ", "bold red"), f"{case}: {why}"))
    if ranking.skipped:
        raise typer.Exit(SOME_REFUSED)


@app.command()
def report(
    run_folder: RunFolder, images: Images = None,
    reference: Annotated[
        Optional[Path], typer.Option("--reference", "-r", help="True label maps, if there are any.")  # noqa: UP045
    ] = None,
    to: ToFolder = None, labels: InputLabels = None,
    case: Annotated[Optional[list[str]], typer.Option("--case", help="Show this case too; may be repeated.")] = None,  # noqa: UP045
    worst: Annotated[int, typer.Option(min=0, help="How many of the worst cases are shown with pictures.")] = 2,
    most_changed: Annotated[int, typer.Option(min=0, help="How many of the most changed ones are.")] = 2,
    workers: Workers = 0, scheduler: Scheduler = "",
) -> None:  # fmt: skip
    """Write OUT/report/report.html: one page of what the run did, with tables, charts, pictures and surfaces to turn.

    report.md beside it is the same in short, for a paper's supplement.
    """
    from heartmend.compute.cluster import scheduled
    from heartmend.report.build import write_report
    from heartmend.run_folder.finished import FinishedRun

    with told():
        finished = FinishedRun.open(run_folder, labels, images)
        with scheduled(scheduler, workers), progress_bar() as bar:
            tell = {what: counting(bar, what) for what in ("changes", "numbers", "pictures")}
            paths = write_report(
                finished, to or finished.run.out / "report", reference=reference, cases=case or (), worst=worst,
                most_changed=most_changed, workers=workers,
                told=lambda what, done, total: tell[what](done, total),
            )  # fmt: skip
        for path in paths:
            console.print(f"{path}")


@app.command()
def view(
    run_folder: RunFolder, case: Annotated[str, typer.Argument(help="Id of a mended case.")], images: Images = None,
    to: ToFolder = None, labels: InputLabels = None,
    voxel: Annotated[
        Optional[list[str]], typer.Option("--voxel", help="Planes through this voxel, as 80,95,60; repeatable.")  # noqa: UP045
    ] = None,
    at: Annotated[
        Optional[list[str]], typer.Option("--at", help="Planes through this place, RAS mm, as -20.5,8,31; repeatable.")  # noqa: UP045
    ] = None,
    structure: Annotated[
        Optional[list[str]], typer.Option("--structure", help="Planes through its largest change; repeatable.")  # noqa: UP045
    ] = None,
) -> None:  # fmt: skip
    """Draw CASE before and after mending, and what changed, in three planes and as surfaces: PNG files."""
    from heartmend.report.pictures import write_view
    from heartmend.run_folder.finished import FinishedRun

    with told():
        finished = FinishedRun.open(run_folder, labels, images)
        voxels = [[int(n) for n in _three(text, "--voxel", whole=True)] for text in voxel or ()]
        places = [_three(text, "--at", whole=False) for text in at or ()]
        folder = to or finished.run.out / "report"
        with progress_bar() as bar:
            paths = write_view(finished, case, folder, voxels, places, structure or (), counting(bar, "pictures"))
        for path in paths:
            console.print(f"{path}")


def _three(text: str, option: str, whole: bool) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or (whole and any(n != int(n) for n in numbers)):
        kind = "whole numbers" if whole else "numbers"
        raise typer.BadParameter(f"{text!r} is not three {kind} with commas", param_hint=option)
    return numbers
