"""Command `crop`."""

from __future__ import annotations

from typing import Annotated

import typer

from heartmend.cli.options import OUTPUT, AnatomyName, Ids, Images, Labels, Output, PresetIds, Workers
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.terminal import SOME_SKIPPED, print_skipped, print_summary
from heartmend.wording import plural

EXAMPLES = """
heartmend crop labels/ -o cropped/
heartmend crop labels/ -o cropped/ --images cts/ --resolution 128
"""


def crop(
    labels: Labels, output: Output, images: Images = None, anatomy: AnatomyName = "heart",
    ids: Ids = None, preset_ids: PresetIds = "",
    resolution: Annotated[
        int, typer.Option("--resolution", metavar="N", min=2, rich_help_panel=OUTPUT, help="Voxels along each side.")
    ] = 256,
    workers: Workers = 0,
) -> None:  # fmt: skip
    """Crop every case to its ROI and resample it to a cube.

    The cubes have N x N x N voxels. Label maps are resampled to the nearest voxel and have the ids of the anatomy; CT
    images are resampled linearly. Nothing is repaired.

    Exit codes: 0 all cases done; 3 some cases skipped; 1 nothing done.
    """
    from heartmend.anatomy.load import load_anatomy
    from heartmend.pipelines.crop import CropRequest, crop_cohort

    request = CropRequest(labels, output, load_anatomy(anatomy), resolution, images, workers, ids, preset_ids)
    with TerminalProgress() as progress:
        outcomes = dict(crop_cohort(request, progress))
    skipped = {case: str(error) for case, error in outcomes.items() if error is not None}
    print_skipped(skipped)
    print_summary(f"{plural(len(outcomes) - len(skipped), 'case')} cropped, {len(skipped)} skipped: {output}")
    if skipped:
        raise typer.Exit(SOME_SKIPPED)
