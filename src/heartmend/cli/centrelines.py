"""Command `centrelines`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heartmend.cli.options import (
    MAPS_HELP,
    OUTPUT,
    AnatomyName,
    Ids,
    Output,
    PresetIds,
    Workers,
    choices,
    split_names,
)
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.terminal import SOME_SKIPPED, print_skipped, print_summary
from heartmend.wording import plural

EXAMPLES = """
heartmend centrelines labels/ -o lines/
heartmend centrelines out/ -o lines/ --formats vtp,swc,mrk.json --segments
heartmend centrelines imagecas_x/ -o lines/ --preset-ids imagecas-x
"""
FORMATS = ("vtp", "swc", "mrk.json")


def centrelines(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help=f"{MAPS_HELP}.")], output: Output,
    anatomy: AnatomyName = "heart", ids: Ids = None, preset_ids: PresetIds = "",
    formats: Annotated[
        str,
        typer.Option("--formats", metavar="NAMES", rich_help_panel=OUTPUT, callback=choices(*FORMATS),
                     help="vtp, swc, mrk.json (3D Slicer); with commas."),
    ] = "vtp",
    segments: Annotated[
        bool,
        typer.Option("--segments", rich_help_panel=OUTPUT,
                     help="Also write label maps of the named coronary segments, with the ids of ImageCAS-X."),
    ] = False,
    workers: Workers = 0,
) -> None:  # fmt: skip
    """Write the centrelines of thin vessels with their radius.

    One file per case, vessel and format, in mm (RAS): lines from the aorta to the tips, with the radius of the circle
    with the area of the cross-section, and the named segments of the coronary arteries. centrelines.csv has length,
    radius and confidence of each segment. Nothing is repaired.

    Exit codes: 0 all cases done; 3 some cases skipped; 1 nothing done.
    """
    from heartmend.anatomy.load import load_anatomy
    from heartmend.pipelines.centrelines import CentrelinesRequest, trace_cohort

    request = CentrelinesRequest(
        labels, output, load_anatomy(anatomy), split_names(formats), segments, workers, ids, preset_ids
    )
    with TerminalProgress() as progress:
        outcomes = dict(trace_cohort(request, progress))
    skipped = {case: str(error) for case, error in outcomes.items() if error is not None}
    print_skipped(skipped)
    print_summary(f"{plural(len(outcomes) - len(skipped), 'case')} traced, {len(skipped)} skipped: {output}")
    if skipped:
        raise typer.Exit(SOME_SKIPPED)
