"""Command `explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heartmend.cli.options import OUTPUT, RunFolder
from heartmend.cli.terminal import print_json, print_table

EXAMPLES = """
heartmend explain out/
heartmend explain out/ 001
heartmend explain out/ 001 --all
heartmend explain out/ 001 --json > changes.json
"""


def explain(
    run_folder: RunFolder,
    case: Annotated[str, typer.Argument(metavar="CASE", help="Case id; without it a summary of all cases.")] = "",
    show_all: Annotated[
        bool, typer.Option("--all", rich_help_panel=OUTPUT, help="List small changes one by one too.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print all changes as JSON.")
    ] = False,
) -> None:  # fmt: skip
    """List the changes in one case, or in all cases.

    Each change has its severity, structure, volume, place (RAS, mm) and rule. The most severe and the largest come
    first; small ones are summed.
    """
    if as_json:
        print_json(changes_as_table(run_folder, case))
    else:
        print_changes(run_folder, case, show_all)


def print_changes(output: Path, case: str, show_all: bool = False) -> None:
    """Print the changes in a case of a run, or a summary of all cases.

    Args:
        output: output folder of the run.
        case: case id; empty for a summary.
        show_all: whether small changes are listed one by one.

    Raises:
        RunError: if there is no run, or the case was not repaired.
    """
    from heartmend.repair.change_table import change_table, summary_table
    from heartmend.run_folder.folder import RunFolder

    run = RunFolder.at(output)
    if case:
        print_table(change_table(run.changes(case), show_all))
    else:
        print_table(summary_table(run.changes(id) for id in run.fused_ids()))


def changes_as_table(output: Path, case: str) -> object:
    """Read the changes in a case of a run, or in all cases, as a value for JSON.

    Args:
        output: output folder of the run.
        case: case id; empty for all cases.

    Returns:
        The change log of the case, the worst change first; a list of them without a case.

    Raises:
        RunError: if there is no run, or the case was not repaired.
    """
    from heartmend.repair.change_table import worst_first
    from heartmend.run_folder.folder import RunFolder

    run = RunFolder.at(output)
    logs = [run.changes(id) for id in ([case] if case else run.fused_ids())]
    tables = [{**log.to_dict(), "changes": [c.to_dict() for c in worst_first(log.changes)]} for log in logs]
    return tables[0] if case else tables
