"""The command that compares label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from heartmend.anatomy.load import load_anatomy
from heartmend.cli.terminal import (
    SOME_REFUSED,
    AnatomyName,
    Scheduler,
    UnknownLabels,
    Workers,
    app,
    console,
    counting,
    progress_bar,
    told,
)

Maps = "Folder of label maps, an nnU-Net v2 data set, or the OUT of a run; "
Reference = Annotated[Optional[Path], typer.Option("--reference", "-r", help=f"{Maps}such as the truth.")]  # noqa: UP045
Tables = Annotated[Optional[Path], typer.Option("--out", "-o", help="Folder for the tables: CSV, Parquet, JSON.")]  # noqa: UP045


@app.command()
def evaluate(
    a: Annotated[Path, typer.Argument(help=f"{Maps}such as those before mending.")],
    b: Annotated[Path, typer.Argument(help=f"{Maps}such as the mended ones.")],
    reference: Reference = None, out: Tables = None,
    tolerances: Annotated[str, typer.Option(help="Of the surface Dice, in mm.")] = "0.5,1,2,3",
    metrics: Annotated[str, typer.Option(help="These alone, such as dice,hd95_mm; all unless given.")] = "",
    anatomy: AnatomyName = "heart", unknown_labels: UnknownLabels = "error", workers: Workers = 0, scheduler: Scheduler = "",
) -> None:  # fmt: skip
    """Compare two sets of label maps: B with A, or both with a reference; a table here, all numbers in OUT.

    Overlap, surface distances, centrelines, pieces, holes, roughness, contacts; per case and structure, with mean, sd,
    median, 95 % intervals and a paired test. Exit status: 0 all compared, 3 some cases skipped, 1 none compared.
    """
    from heartmend.compute.cluster import scheduled
    from heartmend.metrics.evaluation import evaluate_folders, refuse_inputs, write_evaluation
    from heartmend.metrics.table import summary_tables

    tolerances_mm, keys = _numbers(tolerances), [key.strip() for key in metrics.split(",") if key.strip()]
    if unknown_labels not in ("error", "keep"):
        raise typer.BadParameter("give error or keep", param_hint="--unknown-labels")
    with told():
        structures = load_anatomy(anatomy)
        if out is not None:
            refuse_inputs(out, *(folder for folder in (a, b, reference) if folder is not None))
        with scheduled(scheduler, workers), progress_bar() as bar:
            found = evaluate_folders(
                a, b, structures, reference, tolerances_mm=tolerances_mm, keys=keys, unknown_labels=unknown_labels, workers=workers,  # type: ignore[arg-type]
                progress=counting(bar, "evaluate"),
            )  # fmt: skip
        console.print(summary_tables(found.summary, found.metrics, structures))
        for case, why in found.skipped.items():
            console.print(f"[bold red]skipped {case}[/]: {why}", highlight=False, soft_wrap=True)
        console.print(f"{len({row.case for row in found.rows})} cases compared, {len(found.skipped)} skipped")
        if out is not None:
            console.print(f"tables: {', '.join(str(path) for path in write_evaluation(found, out))}")
    if found.skipped:
        raise typer.Exit(SOME_REFUSED)


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter("give numbers in mm, such as 0.5,1,2", param_hint="--tolerances") from error
