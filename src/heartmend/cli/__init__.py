"""The command line: a thin shell. A command's help is its function's docstring."""

from __future__ import annotations

import logging
from typing import Annotated

import typer
from rich.logging import RichHandler

from heartmend import __version__
from heartmend.cli import check, evaluate, look, mend, tools
from heartmend.cli.terminal import app, console

__all__ = ["app", "check", "evaluate", "look", "mend", "tools"]


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False) -> None:
    """Mend the labels of a whole data set of hearts at once, with neural implicit shapes."""
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=console, show_path=False)]
    )
    if version:
        console.print(f"heartmend {__version__}")
        raise typer.Exit
