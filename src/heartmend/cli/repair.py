"""Command `repair`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heartmend.cli.options import INPUT, OUTPUT, Ids, PresetIds, Structures, UnknownLabels, split_names
from heartmend.cli.terminal import print_message, print_summary, print_table
from heartmend.wording import plural

EXAMPLES = """
heartmend repair heart.nii.gz -o repaired.nii.gz
heartmend repair heart.nii.gz -o repaired.nii.gz --image ct.nii.gz --explain
heartmend repair heart.nii.gz -o repaired.nii.gz --model out/
"""


def repair(
    labels: Annotated[Path, typer.Argument(metavar="MAP", help="Label map of one heart: file, or folder of masks.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="File for the result.")
    ],
    image: Annotated[
        Path | None, typer.Option("--image", metavar="FILE", rich_help_panel=INPUT, help="CT image of this heart.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="MODEL", rich_help_panel=INPUT,
                     help="Model file of hearts of the same kind, or OUT of a run, in place of the prior."),
    ] = None,
    structures: Structures = "", unknown_labels: UnknownLabels = "error", ids: Ids = None, preset_ids: PresetIds = "",
    explain: Annotated[
        bool, typer.Option("--explain", rich_help_panel=OUTPUT, help="Then list the changes.")
    ] = False,
) -> None:  # fmt: skip
    """Repair the label map of one heart.

    No data set is needed: a heart that is part of Heartmend is deformed to this one, and has weight where it fits. FILE
    has the form of MAP, which is not changed. A structure that MAP lacks stays absent.
    """
    from heartmend.pipelines.repair_file import RepairRequest, repair_file
    from heartmend.repair.change_table import change_table

    request = RepairRequest(labels, output, image, model, split_names(structures), unknown_labels, ids, preset_ids)
    repaired = repair_file(request)
    if explain:
        print_table(change_table(repaired.log))
    for verdict in repaired.log.verdicts:
        if not verdict.accepted:
            print_message("warning", f"{verdict.structure}: the repair was not accepted: {verdict.reason}")
    used = f" (prior: {repaired.heart})" if repaired.heart else ""
    print_summary(f"{plural(len(repaired.log.changes), 'change')}{used}: {output}")
