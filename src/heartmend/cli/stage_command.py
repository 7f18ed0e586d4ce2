"""Commands that run the stages up to one of them.

`prepare`, `fit`, `refine` and `correct` have the same options; `fuse` and `unify` also those of what they write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from heartmend.cli.explain import print_changes
from heartmend.cli.options import (
    OUTPUT,
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


def stage_command(stage: Stage, description: str) -> Callable[..., None]:
    """Make the command of a stage that writes no label maps.

    Args:
        stage: the last stage that the command runs, and its name.
        description: its help text; the first line is the summary.

    Returns:
        The function that typer makes a command of.
    """

    def command(
        labels: Labels, output: RunOutput, images: Images = None, trusted: Trusted = None,
        convention: ConventionFile = None, anatomy: AnatomyName = "heart",
        structures: Structures = "", unknown_labels: UnknownLabels = "error", ids: Ids = None,
        preset_ids: PresetIds = "", preset: PresetName = "mend", config: ConfigFile = None, prior: PriorModel = "",
        keep_far_components: KeepFarComponents = False, resume: Resume = True, device: Device = "auto",
        devices: Devices = 1, workers: Workers = 0, scheduler: Scheduler = "",
    ) -> None:  # fmt: skip
        from heartmend.pipelines.run import Request

        request = Request(
            labels, output, images, anatomy, split_names(structures), unknown_labels, device, devices, workers,
            scheduler, stage, resume, ids, preset_ids, trusted, convention, prior,
        )  # fmt: skip
        run_stages(request, preset, config, keep_far_components=keep_far_components)

    command.__name__, command.__doc__ = stage, description
    return command


def writing_stage_command(stage: Stage, description: str) -> Callable[..., None]:
    """Make the command of `fuse`, or of the stage after it: with the options of what `fuse` writes.

    Args:
        stage: the last stage that the command runs, and its name.
        description: its help text; the first line is the summary.

    Returns:
        The function that typer makes a command of.
    """

    def command(
        labels: Labels, output: RunOutput, images: Images = None, trusted: Trusted = None,
        convention: ConventionFile = None, anatomy: AnatomyName = "heart",
        structures: Structures = "", unknown_labels: UnknownLabels = "error", ids: Ids = None,
        preset_ids: PresetIds = "", preset: PresetName = "mend", config: ConfigFile = None, prior: PriorModel = "",
        keep_far_components: KeepFarComponents = False, uncertainty: Uncertainty = False, segments: Segments = False,
        resume: Resume = True,
        case: Annotated[
            str,
            typer.Option("--explain", metavar="CASE", rich_help_panel=OUTPUT, help="Then list the changes in CASE."),
        ] = "",
        device: Device = "auto", devices: Devices = 1, workers: Workers = 0, scheduler: Scheduler = "",
    ) -> None:  # fmt: skip
        from heartmend.pipelines.run import Request

        request = Request(
            labels, output, images, anatomy, split_names(structures), unknown_labels, device, devices, workers,
            scheduler, stage, resume, ids, preset_ids, trusted, convention, prior,
        )  # fmt: skip
        run_stages(
            request,
            preset,
            config,
            then=(lambda: print_changes(output, case)) if case else None,
            keep_far_components=keep_far_components,
            uncertainty=uncertainty,
            segments=segments,
        )

    command.__name__, command.__doc__ = stage, description
    return command
