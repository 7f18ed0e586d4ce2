"""Command `prepare`."""

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
heartmend prepare labels/ -o out/
heartmend prepare labels/ -o out/ --scheduler slurm --workers 40
"""


def prepare(
    labels: Labels, output: Output, images: Images = None, anatomy: AnatomyName = "heart", structures: Structures = "",
    unknown_labels: UnknownLabels = "error", ids: Ids = None, preset_ids: PresetIds = "", preset: PresetName = "mend",
    config: ConfigFile = None, resume: Resume = True, device: Device = "auto", devices: Devices = 1,
    workers: Workers = 0, scheduler: Scheduler = "",
) -> None:  # fmt: skip
    """Crop every case to its ROI, resample it and repair slice artefacts.

    The same as `run --stop-after prepare`: the result is in OUT/run/prepare, and a later stage continues from it.
    """
    run_stages(
        labels, output, images, anatomy, structures, unknown_labels, device, devices, workers, scheduler, preset,
        config, "prepare", resume, ids=ids, preset_ids=preset_ids,
    )  # fmt: skip
