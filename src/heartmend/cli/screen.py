"""Command `screen`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heartmend.cli.options import (
    INPUT,
    MAPS_HELP,
    OUTPUT,
    SETTINGS,
    AnatomyName,
    ConfigFile,
    Device,
    Ids,
    Images,
    OptionalOutput,
    PresetIds,
    PresetName,
    UnknownLabels,
    Workers,
)
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.terminal import SOME_SKIPPED, print_json, print_paths, print_skipped, print_table

EXAMPLES = """
heartmend screen labels/
heartmend screen labels/ --images cts/
heartmend screen labels/ --quick --count 50 -o screening/
heartmend screen out/ --json > ranking.json
"""


def screen(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help=f"{MAPS_HELP}.")], images: Images = None,
    trusted: Annotated[
        Path | None,
        typer.Option("--trusted", metavar="FOLDER", rich_help_panel=INPUT,
                     help="Label maps that an expert drew of 3 or more cases: errors of all others are listed."),
    ] = None,
    anatomy: AnatomyName = "heart", unknown_labels: UnknownLabels = "error", ids: Ids = None,
    preset_ids: PresetIds = "",
    quick: Annotated[
        bool, typer.Option("--quick", rich_help_panel=SETTINGS, help="Without a fit: each label map by itself.")
    ] = False,
    preset: PresetName = "fast", config: ConfigFile = None,
    count: Annotated[
        int, typer.Option("--count", metavar="N", min=1, rich_help_panel=OUTPUT,
                          help="Number of cases, and of structures, that are printed.")
    ] = 20,
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print the whole ranking as JSON.")
    ] = False,
    output: OptionalOutput = None,
    run_folder: Annotated[
        Path | None,
        typer.Option("--run-folder", metavar="FOLDER", rich_help_panel=OUTPUT,
                     help="Keep the prepared cases and the fit here; `heartmend run` continues from them."),
    ] = None,
    device: Device = "auto", workers: Workers = 0,
) -> None:  # fmt: skip
    """Rank cases and structures by their expected label error.

    One implicit shape is fitted to all cases; labels that differ from it more than usual in the data set come first,
    with the reasons. Nothing is repaired. With --output the whole ranking is written as CSV and JSON (with --run-folder
    alone to its run/quality). With --images or --trusted, the errors that all cases share are listed too.

    Exit codes: 0 all cases ranked; 3 some cases skipped; 1 nothing done.
    """
    from heartmend.pipelines.config import load_config
    from heartmend.pipelines.run import Request
    from heartmend.quality.ranking_table import ranking_tables, ranking_to_dict, write_ranking
    from heartmend.quality.screen import screen_in_temporary_folder, screen_labels, screen_run
    from heartmend.repair.shared_errors.tables import shared_error_table
    from heartmend.run_folder.folder import is_run
    from heartmend.run_folder.paths import RunPaths

    with TerminalProgress() as progress:
        if is_run(labels):
            ranking = screen_run(labels, quick, workers, progress)
        else:
            request = Request(
                labels=labels, output=run_folder or Path(), images=images, anatomy=anatomy,
                unknown_labels=unknown_labels, device=device, workers=workers, ids=ids, preset_ids=preset_ids,
                trusted=trusted,
            )  # fmt: skip
            screened = screen_labels if run_folder else screen_in_temporary_folder
            ranking = screened(request, load_config(preset, config), quick, progress)
    folder = output or (RunPaths(run_folder).quality if run_folder else None)
    paths = write_ranking(ranking, folder) if folder else []
    if as_json:
        print_json(ranking_to_dict(ranking))
    else:
        print_table(ranking_tables(ranking, count))
        if ranking.shared_errors is not None:
            print_table(shared_error_table(ranking.shared_errors))
        print_paths(paths)
    print_skipped(ranking.skipped)
    if ranking.skipped:
        raise typer.Exit(SOME_SKIPPED)
