"""Command `fuse`."""

from __future__ import annotations

from typing import Annotated

import typer

from heartmend.cli.explain import print_changes
from heartmend.cli.options import (
    OUTPUT,
    AnatomyName,
    ConfigFile,
    Device,
    Devices,
    Ids,
    Images,
    Labels,
    Output,
    PresetIds,
    PresetName,
    Resume,
    Scheduler,
    Segments,
    Structures,
    Uncertainty,
    UnknownLabels,
    Workers,
    split_names,
)
from heartmend.cli.pipeline_command import run_stages

EXAMPLES = """
heartmend fuse labels/ -o out/
heartmend fuse labels/ -o out/ --explain 001
"""


def fuse(
    labels: Labels, output: Output, images: Images = None, anatomy: AnatomyName = "heart", structures: Structures = "",
    unknown_labels: UnknownLabels = "error", ids: Ids = None, preset_ids: PresetIds = "", preset: PresetName = "mend",
    config: ConfigFile = None, uncertainty: Uncertainty = False, segments: Segments = False, resume: Resume = True,
    case: Annotated[
        str, typer.Option("--explain", metavar="CASE", rich_help_panel=OUTPUT, help="Then list the changes in CASE.")
    ] = "",
    device: Device = "auto", devices: Devices = 1, workers: Workers = 0, scheduler: Scheduler = "",
) -> None:  # fmt: skip
    """Fuse the masks of every case into one repaired label map.

    The same as `run --stop-after fuse`: by priority, evidence and the rules of anatomy. Stages that are not
    done yet are done first.
    """
    from heartmend.pipelines.run import Request

    request = Request(
        labels, output, images, anatomy, split_names(structures), unknown_labels, device, devices, workers, scheduler,
        "fuse", resume, ids, preset_ids,
    )  # fmt: skip
    run_stages(
        request,
        preset,
        config,
        then=(lambda: print_changes(output, case)) if case else None,
        uncertainty=uncertainty,
        segments=segments,
    )
