"""Command `convention`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heartmend.cli.options import OUTPUT, AnatomyName, ConfigFile, Device, PresetName, Workers
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.terminal import print_summary, print_table

EXAMPLES = """
heartmend convention old_labels/ new_labels/ -o new.safetensors
heartmend convention network_labels/ expert_labels/ -o expert.safetensors
"""


def convention(
    labels: Annotated[Path, typer.Argument(metavar="OLD", help="Label maps in the convention to be corrected.")],
    wanted: Annotated[
        Path, typer.Argument(metavar="NEW", help="Label maps of 3 or more of the same scans, in the wanted convention.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="File for the correction.")
    ],
    anatomy: AnatomyName = "heart", preset: PresetName = "mend", config: ConfigFile = None, device: Device = "auto",
    workers: Workers = 0,
) -> None:  # fmt: skip
    """Learn the correction from one labelling convention to another.

    The two folders contain label maps of the same scans, such as an older and a newer release, or a network and an
    expert. What they differ in, in all cases alike, is written to a file; `heartmend run --convention FILE` applies it
    to another data set.
    """
    from heartmend.pipelines.config import load_config
    from heartmend.pipelines.convention import ConventionRequest, learn_convention
    from heartmend.repair.shared_errors.tables import shared_error_table

    request = ConventionRequest(labels, wanted, output, anatomy, device, workers)
    with TerminalProgress() as progress:
        shared = learn_convention(request, load_config(preset, config), progress)
    print_table(shared_error_table(shared))
    print_summary(f"convention of {shared.n_cases} cases: {output}")
