"""Command `check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heartmend.cli.options import INPUT, OUTPUT, AnatomyName, Ids, Images, Labels, PresetIds, UnknownLabels, Workers
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.terminal import FAILED, SOME_SKIPPED, print_json, print_summary, print_table

EXAMPLES = """
heartmend check labels/
heartmend check labels/ --images cts/ --run-folder out/
heartmend check labels/ --json > check.json
heartmend check imagecas_labels/ --preset-ids imagecas
"""


def check(
    labels: Labels, images: Images = None, anatomy: AnatomyName = "heart", unknown_labels: UnknownLabels = "error",
    ids: Ids = None, preset_ids: PresetIds = "",
    run_folder: Annotated[
        Path | None,
        typer.Option("--run-folder", metavar="FOLDER", rich_help_panel=INPUT,
                     help="Check also that a run can write to this folder, and the space on its disk."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="JSON file for the whole result."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print the whole result as JSON.")
    ] = False,
    show_all: Annotated[
        bool, typer.Option("--all", rich_help_panel=OUTPUT, help="List the cases without findings too.")
    ] = False,
    workers: Workers = 0,
) -> None:  # fmt: skip
    """Check all files of a data set before a run.

    Every file is read as a run would read it. One table lists the cases that a run would skip (error), and unusual
    ones (warning); another one which structure each value of the label maps is, and which source states it. Nothing is
    repaired, and only the file of --output is written.

    Exit codes: 0 no case would be skipped; 3 some would be; 1 no run is possible.
    """
    from heartmend.anatomy.load import load_anatomy
    from heartmend.errors import ConfigError
    from heartmend.io.atomic import write_json
    from heartmend.io.file_names import real_path
    from heartmend.quality.check import check_data_set, check_table, values_table

    if output is not None:
        if output.is_dir() or output.suffix.lower() != ".json":
            raise ConfigError(f"--output {output}: give a .json file; the folder of a later run is --run-folder")
        if any(real_path(output).is_relative_to(real_path(given)) for given in (labels, images) if given):
            raise ConfigError(f"--output {output}: is in an input folder, which is never written to; give another file")
    with TerminalProgress() as progress:
        report = check_data_set(
            labels, images, load_anatomy(anatomy), unknown_labels, run_folder, workers, progress, ids, preset_ids
        )
    if as_json:
        print_json(report.to_dict())
    else:
        print_table(check_table(report, show_all))
        if report.values:
            print_table(values_table(report))
    if output is not None:
        write_json(output, report.to_dict())
        if not as_json:
            print_summary(f"The whole result: {output}")
    if not report.is_usable:
        raise typer.Exit(FAILED)
    if report.count("error"):
        raise typer.Exit(SOME_SKIPPED)
