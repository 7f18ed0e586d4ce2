"""Command `population`."""

from __future__ import annotations

from typing import Annotated

import typer

from heartmend.cli.options import OUTPUT, Model, Output, split_names
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.terminal import print_paths

EXAMPLES = """
heartmend population out/ -o population/
heartmend population model.zip -o population/ --between 001,007 --modes 5
"""


def population(
    model: Model, output: Output,
    between: Annotated[
        str,
        typer.Option("--between", metavar="CASE,CASE", rich_help_panel=OUTPUT,
                     help="Draw the interpolation between two cases too."),
    ] = "",
    modes: Annotated[
        int, typer.Option("--modes", metavar="N", min=0, max=10, rich_help_panel=OUTPUT, help="Principal shape modes.")
    ] = 3,
) -> None:  # fmt: skip
    """Draw the mean shape, the shape modes and the outliers of a model.

    Pictures as PNG, and one row per case with its outlier score as CSV.
    """
    from heartmend.errors import ConfigError
    from heartmend.figures.population import draw_population
    from heartmend.models.model_file import load_heart_model
    from heartmend.run_folder.folder import model_file

    pair = split_names(between)
    if len(pair) not in (0, 2):
        raise ConfigError(f"--between {between}: give two case ids with a comma between them")
    known = load_heart_model(model_file(model))
    with TerminalProgress() as progress:
        try:
            paths = draw_population(known, output, pair, modes, progress)
        except ConfigError as error:
            raise ConfigError(f"{model}: {error}") from error
    print_paths(paths)
