"""Command `unify`."""

from __future__ import annotations

from heartmend.cli.options import (
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
    Structures,
    UnknownLabels,
    Workers,
)
from heartmend.cli.pipeline_command import run_stages

EXAMPLES = """
heartmend unify labels/ -o out/
heartmend unify labels/ -o out/ --device cuda
"""


def unify(
    labels: Labels, output: Output, images: Images = None, anatomy: AnatomyName = "heart", structures: Structures = "",
    unknown_labels: UnknownLabels = "error", ids: Ids = None, preset_ids: PresetIds = "", preset: PresetName = "mend",
    config: ConfigFile = None, resume: Resume = True, device: Device = "auto", devices: Devices = 1,
    workers: Workers = 0, scheduler: Scheduler = "",
) -> None:  # fmt: skip
    """Fit one model of all structures to the repaired label maps.

    Stage 3; the same as `run`. The model is OUT/run/unify/model.zip; `render`, `mesh`, `embed` and `population` use it.
    Stages that are not done yet are done first.
    """
    run_stages(
        labels, output, images, anatomy, structures, unknown_labels, device, devices, workers, scheduler, preset,
        config, "unify", resume, ids=ids, preset_ids=preset_ids,
    )  # fmt: skip
