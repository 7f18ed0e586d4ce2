"""Command `explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heartmend.cli.options import RunFolder
from heartmend.cli.terminal import print_table

EXAMPLES = """
heartmend explain out/
heartmend explain out/ 001
"""


def explain(
    run_folder: RunFolder,
    case: Annotated[str, typer.Argument(metavar="CASE", help="Case id; without it a summary of all cases.")] = "",
) -> None:
    """List the changes in one case, or in all cases.

    Each change has its rule, structure, place (RAS, mm), volume and severity.
    """
    print_changes(run_folder, case)


def print_changes(output: Path, case: str) -> None:
    """Print the changes in a case of a run, or a summary of all cases.

    Args:
        output: output folder of the run.
        case: case id; empty for a summary.

    Raises:
        RunError: if there is no run, or the case was not repaired.
    """
    from heartmend.repair.change_log import change_table, summary_table
    from heartmend.run_folder.folder import RunFolder

    run = RunFolder.at(output)
    if case:
        print_table(change_table(run.changes(case)))
    else:
        print_table(summary_table(run.changes(id) for id in run.fused_ids()))
