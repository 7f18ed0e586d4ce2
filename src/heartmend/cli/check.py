"""The command that looks at a data set before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from heartmend.anatomy.load import load_anatomy
from heartmend.cli.terminal import (
    FAILED,
    SOME_REFUSED,
    AnatomyName,
    Images,
    Labels,
    UnknownLabels,
    Workers,
    app,
    console,
    plain,
    progress_bar,
    told,
)
from heartmend.errors import ConfigError
from heartmend.io.atomic import write_json


@app.command()
def check(
    labels: Labels, images: Images = None, anatomy: AnatomyName = "heart", unknown_labels: UnknownLabels = "error",
    out: Annotated[Optional[Path], typer.Option("--out", "-o", help="Also whether a run could write here.")] = None,  # noqa: UP045
    to: Annotated[Optional[Path], typer.Option(help="JSON file for all that was found, case by case.")] = None,  # noqa: UP045
    every: Annotated[bool, typer.Option("--all", help="Show the sound cases too.")] = False, workers: Workers = 0,
) -> None:  # fmt: skip
    """Read every file of a data set as a run would: one table of what it would refuse, and of what is odd.

    Nothing is mended, and nothing but the file of --to is written. Exit status: 0 no case would be skipped, 3 some
    would be, 1 no run is possible.
    """
    from heartmend.quality.check import check_data_set, check_table

    if unknown_labels not in ("error", "keep"):
        raise typer.BadParameter("give error or keep", param_hint="--unknown-labels")
    with told():
        if to is not None and any(to.resolve().is_relative_to(given.resolve()) for given in (labels, images) if given):
            raise ConfigError(f"--to {to}: lies in an input folder, which is never written to; give another place")
        with progress_bar() as bar:
            task = bar.add_task("check", total=None, note="")
            report = check_data_set(
                labels, images, load_anatomy(anatomy), "keep" if unknown_labels == "keep" else "error", out, workers,
                lambda case_id, total: bar.update(task, advance=1, total=total),
            )  # fmt: skip
        console.print(check_table(report, every))
        if to is not None:
            write_json(to, report.to_dict())
            console.print(f"all of it: {plain(to)}")
    if not report.is_usable:
        raise typer.Exit(FAILED)
    if report.count("error"):
        raise typer.Exit(SOME_REFUSED)
