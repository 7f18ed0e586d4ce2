"""The command that compares label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from heartmend.anatomy import load_anatomy
from heartmend.cli.terminal import SOME_REFUSED, AnatomyName, Workers, app, console, progress_bar, told

Reference = Annotated[Optional[Path], typer.Option("--reference", "-r", help="Compare both with these label maps.")]  # noqa: UP045


@app.command()
def evaluate(
    a: Annotated[Path, typer.Argument(help="Folder of label maps, such as those before mending.")],
    b: Annotated[Path, typer.Argument(help="Folder of label maps, such as the mended ones.")],
    reference: Reference = None, anatomy: AnatomyName = "heart", workers: Workers = 0,
) -> None:  # fmt: skip
    """Compare the label maps of B with those of A, or both with a reference."""
    from heartmend.evaluate import evaluate_folders
    from heartmend.metrics import summary_tables

    with told():
        with progress_bar() as bar:
            task = bar.add_task("evaluate", total=None, note="")
            found = evaluate_folders(
                a, b, load_anatomy(anatomy), reference, workers=workers,
                progress=lambda done, total, case: bar.update(task, completed=done, total=total, note=case),
            )  # fmt: skip
        console.print(summary_tables(found.summary, found.metrics))
        for case, why in found.refused.items():
            console.print(f"[bold red]refused {case}[/]: {why}")
    if found.refused:
        raise typer.Exit(SOME_REFUSED)
