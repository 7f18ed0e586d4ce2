"""Command `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heartmend.cli.options import (
    MAPS_HELP,
    OUTPUT,
    SETTINGS,
    AnatomyName,
    Ids,
    OptionalOutput,
    PresetIds,
    Reference,
    Scheduler,
    UnknownLabels,
    Workers,
    split_names,
)
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.terminal import (
    SOME_SKIPPED,
    print_json,
    print_paths,
    print_skipped,
    print_summary,
    print_table,
)
from heartmend.wording import plural

EXAMPLES = """
heartmend evaluate labels/ out/ --reference truth/
heartmend evaluate labels/ out/ -r truth/ -o tables/ --metrics dice,hd95_mm
heartmend evaluate labels/ out/ --json > evaluation.json
"""


def evaluate(
    a: Annotated[Path, typer.Argument(metavar="A", help=f"{MAPS_HELP}, such as before the repair.")],
    b: Annotated[Path, typer.Argument(metavar="B", help=f"{MAPS_HELP}, such as after it.")],
    reference: Reference = None, anatomy: AnatomyName = "heart", unknown_labels: UnknownLabels = "error",
    ids: Ids = None, preset_ids: PresetIds = "",
    tolerances: Annotated[
        str, typer.Option("--tolerances", metavar="MM", rich_help_panel=SETTINGS, help="Of the surface Dice, in mm.")
    ] = "0.5,1,2,3",
    metrics: Annotated[
        str,
        typer.Option("--metrics", metavar="NAMES", rich_help_panel=SETTINGS, help="These only, such as dice,hd95_mm."),
    ] = "",
    output: OptionalOutput = None,
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print all numbers as JSON.")
    ] = False,
    workers: Workers = 0, scheduler: Scheduler = "",
) -> None:  # fmt: skip
    """Compare two sets of label maps, with or without a reference.

    With a reference both sets are compared with it, otherwise B with A: overlap, surface distances, centrelines,
    components, holes, roughness and contacts, with mean, SD, median, 95 % intervals and a paired test; also for the
    left and right coronary tree, and for its segments where the maps have them (`--preset-ids imagecas-x`). --output
    writes all numbers per case and structure as CSV, Parquet and JSON. --ids and --preset-ids apply to all folders but
    runs, which have their own.

    Exit codes: 0 all cases compared; 3 some cases skipped; 1 none compared.
    """
    from heartmend.anatomy.load import load_anatomy
    from heartmend.compute.cluster import scheduled
    from heartmend.metrics.evaluation import EvaluationSettings, check_not_input
    from heartmend.metrics.table import summary_tables
    from heartmend.pipelines.evaluate import evaluate_folders, write_evaluation
    from heartmend.run_folder.folder import labels_folder

    tolerances_mm = _numbers(tolerances)
    structures = load_anatomy(anatomy)
    if output is not None:
        check_not_input(output, *(labels_folder(folder) for folder in (a, b, reference) if folder is not None))
    with scheduled(scheduler, workers), TerminalProgress() as progress:
        found = evaluate_folders(
            a, b, structures, reference,
            EvaluationSettings(tolerances_mm, split_names(metrics), unknown_labels, workers, ids, preset_ids),
            progress,
        )  # fmt: skip
    paths = write_evaluation(found, output) if output is not None else []
    if as_json:
        print_json(found.to_dict())
    else:
        print_table(summary_tables(found.summary, found.metrics, structures, found.parts_summary))
        print_paths(paths)
    print_skipped(found.skipped)
    if not as_json:
        cases = len({row.case for row in found.rows})
        print_summary(f"{plural(cases, 'case')} compared, {len(found.skipped)} skipped")
    if found.skipped:
        raise typer.Exit(SOME_SKIPPED)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise typer.BadParameter("give numbers in mm, such as 0.5,1,2", param_hint="--tolerances") from error
