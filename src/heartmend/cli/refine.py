"""Command `refine`."""

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
heartmend refine labels/ -o out/
"""


def refine(
    labels: Labels, output: Output, images: Images = None, anatomy: AnatomyName = "heart", structures: Structures = "",
    unknown_labels: UnknownLabels = "error", ids: Ids = None, preset_ids: PresetIds = "", preset: PresetName = "mend",
    config: ConfigFile = None, resume: Resume = True, device: Device = "auto", devices: Devices = 1,
    workers: Workers = 0, scheduler: Scheduler = "",
) -> None:  # fmt: skip
    """Compute the masks of every case from the fitted shapes.

    The same as `run --stop-after refine`: the masks are on the grid of the input label map. Stages that are not done
    yet are done first.
    """
    run_stages(
        labels, output, images, anatomy, structures, unknown_labels, device, devices, workers, scheduler, preset,
        config, "refine", resume, ids=ids, preset_ids=preset_ids,
    )  # fmt: skip
