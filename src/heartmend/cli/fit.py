"""Command `fit`."""

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
heartmend fit labels/ -o out/
heartmend fit labels/ -o out/ --devices 4
"""


def fit(
    labels: Labels, output: Output, images: Images = None, anatomy: AnatomyName = "heart", structures: Structures = "",
    unknown_labels: UnknownLabels = "error", ids: Ids = None, preset_ids: PresetIds = "", preset: PresetName = "mend",
    config: ConfigFile = None, resume: Resume = True, device: Device = "auto", devices: Devices = 1,
    workers: Workers = 0, scheduler: Scheduler = "",
) -> None:  # fmt: skip
    """Fit one implicit shape per structure, with one code per case.

    Stage 1; the same as `run --stop-after fit`. Cases that are not prepared yet are prepared first. An interrupted fit
    continues from its last checkpoint.
    """
    run_stages(
        labels, output, images, anatomy, structures, unknown_labels, device, devices, workers, scheduler, preset,
        config, "fit", resume, ids=ids, preset_ids=preset_ids,
    )  # fmt: skip
