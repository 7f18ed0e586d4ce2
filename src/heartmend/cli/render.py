"""Command `render`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heartmend.cli.options import INPUT, OUTPUT, CaseId, Model
from heartmend.cli.terminal import print_paths

EXAMPLES = """
heartmend render out/ 001 -o 001.nii.gz
heartmend render model.zip 001 -o 001.nii.gz --reference-image cts/001.nii.gz
heartmend render out/ 001 -o 001_LA.nii.gz --probability LA --resolution 256
"""


def render(
    model: Model, case: CaseId,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="NIfTI file to write.")
    ],
    reference_image: Annotated[
        Path | None,
        typer.Option("--reference-image", metavar="FILE", rich_help_panel=INPUT,
                     help="Volume whose grid the result has, such as the CT image."),
    ] = None,
    resolution: Annotated[
        int,
        typer.Option("--resolution", metavar="N", min=16, max=512, rich_help_panel=OUTPUT,
                     help="Voxels along each side of the ROI, without a reference image."),
    ] = 128,
    probability: Annotated[
        str,
        typer.Option("--probability", metavar="STRUCTURE", rich_help_panel=OUTPUT,
                     help="Write the probability of this structure, not the label map."),
    ] = "",
) -> None:  # fmt: skip
    """Write the label map of one case from a model.

    The implicit function is evaluated on any grid. Of a run without `unify`, the shapes of `fit` are used, in the ROI
    only (without --reference-image).
    """
    from heartmend.pipelines.render import RenderSettings, write_render

    write_render(model, case, output, RenderSettings(resolution, reference_image, probability))
    print_paths([output])
