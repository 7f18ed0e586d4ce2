"""Command `run`."""

from __future__ import annotations

from typing import Annotated

import typer

from heartmend.cli.options import (
    SETTINGS,
    AnatomyName,
    ConfigFile,
    ConventionFile,
    Device,
    Devices,
    Ids,
    Images,
    KeepFarComponents,
    Labels,
    PresetIds,
    PresetName,
    PriorModel,
    Resume,
    RunOutput,
    Scheduler,
    Segments,
    Stage,
    Structures,
    Trusted,
    Uncertainty,
    UnknownLabels,
    Workers,
    split_names,
)
from heartmend.cli.pipeline_command import run_stages

EXAMPLES = """
heartmend run labels/ -o out/
heartmend run labels/ -o out/ --images cts/ --device cuda
heartmend run labels/ -o out/ --fast --stop-after fuse
heartmend run Dataset001_Heart/ -o out/ --structures LA,LAA
heartmend run labels/ -o out/ --trusted expert/
heartmend run labels/ -o out/ --uncertainty
heartmend run labels/ -o out/ --segments
heartmend run mmwhs_labels/ -o out/ --preset-ids mmwhs
"""


def run(
    labels: Labels, output: RunOutput, images: Images = None, trusted: Trusted = None,
    convention: ConventionFile = None, anatomy: AnatomyName = "heart", structures: Structures = "",
    unknown_labels: UnknownLabels = "error", ids: Ids = None, preset_ids: PresetIds = "", preset: PresetName = "mend",
    fast: Annotated[bool, typer.Option("--fast", rich_help_panel=SETTINGS, help="The same as --preset fast.")] = False,
    config: ConfigFile = None, prior: PriorModel = "", keep_far_components: KeepFarComponents = False,
    stop_after: Annotated[
        Stage,
        typer.Option("--stop-after", metavar="STAGE", rich_help_panel=SETTINGS,
                     help="Last stage: prepare, fit, refine, correct, fuse or unify."),
    ] = "unify",
    uncertainty: Uncertainty = False, segments: Segments = False, resume: Resume = True, device: Device = "auto",
    devices: Devices = 1, workers: Workers = 0, scheduler: Scheduler = "",
) -> None:  # fmt: skip
    """Repair all label maps of a data set.

    OUT/labels contains the repaired label maps under the names of the input, each on the grid of its input. OUT/run
    contains what is needed to continue, explain and repeat the run, and its log file. An interrupted run continues
    where it stopped. One or two cases are repaired with a heart that is part of Heartmend (--prior).

    Exit codes: 0 all cases repaired; 3 some cases skipped (OUT/run/skipped.json has the reasons); 1 nothing done.
    """
    from heartmend.pipelines.run import Request

    request = Request(
        labels, output, images, anatomy, split_names(structures), unknown_labels, device, devices, workers, scheduler,
        stop_after, resume, ids, preset_ids, trusted, convention, prior,
    )  # fmt: skip
    run_stages(
        request,
        "fast" if fast else preset,
        config,
        keep_far_components=keep_far_components,
        uncertainty=uncertainty,
        segments=segments,
    )
