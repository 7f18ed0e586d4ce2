"""Commands that run the stages up to one of them: `prepare`, `fit`, `refine` and `unify` have the same options."""

from __future__ import annotations

from collections.abc import Callable

from heartmend.cli.options import (
    AnatomyName,
    ConfigFile,
    ConventionFile,
    Device,
    Devices,
    Ids,
    Images,
    KeepFarComponents,
    Labels,
    Output,
    PresetIds,
    PresetName,
    Resume,
    Scheduler,
    Stage,
    Structures,
    Trusted,
    UnknownLabels,
    Workers,
    split_names,
)
from heartmend.cli.pipeline_command import run_stages


def stage_command(stage: Stage, description: str) -> Callable[..., None]:
    """Make the command of a stage.

    Args:
        stage: the last stage that the command runs, and its name.
        description: its help text; the first line is the summary.

    Returns:
        The function that typer makes a command of.
    """

    def command(
        labels: Labels, output: Output, images: Images = None, trusted: Trusted = None,
        convention: ConventionFile = None, anatomy: AnatomyName = "heart",
        structures: Structures = "", unknown_labels: UnknownLabels = "error", ids: Ids = None,
        preset_ids: PresetIds = "", preset: PresetName = "mend", config: ConfigFile = None,
        keep_far_components: KeepFarComponents = False, resume: Resume = True, device: Device = "auto",
        devices: Devices = 1, workers: Workers = 0, scheduler: Scheduler = "",
    ) -> None:  # fmt: skip
        from heartmend.pipelines.run import Request

        request = Request(
            labels, output, images, anatomy, split_names(structures), unknown_labels, device, devices, workers,
            scheduler, stage, resume, ids, preset_ids, trusted, convention,
        )  # fmt: skip
        run_stages(request, preset, config, keep_far_components=keep_far_components)

    command.__name__, command.__doc__ = stage, description
    return command
