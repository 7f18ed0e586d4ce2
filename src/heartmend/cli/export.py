"""Command `export`."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import typer

from heartmend.cli.options import OUTPUT, MovedImages, MovedLabels, Output, RunFolder, Workers, choices, split_names
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.terminal import SOME_SKIPPED, print_skipped, print_summary
from heartmend.wording import plural

EXAMPLES = """
heartmend export out/ -o dataset/
heartmend export out/ -o dataset/ --formats nnunet --undecided accept
heartmend export out/ -o dataset/ --formats totalsegmentator,decathlon
heartmend export out/ -o dataset/ --formats nnunet --ignore-above 0.3
heartmend export out/ -o dicom/ --formats dicom-seg,rtstruct
"""
Format = Literal[
    "nnunet", "bids", "slicer", "itksnap", "meshes", "totalsegmentator", "decathlon", "dicom-seg", "rtstruct"
]
FORMATS: tuple[Format, ...] = get_args(Format)
Images = Literal["link", "copy", "none"]
Undecided = Literal["leave-out", "accept", "reject"]


def export(
    run_folder: RunFolder, output: Output, images: MovedImages = None, labels: MovedLabels = None,
    formats: Annotated[
        str,
        typer.Option("--formats", metavar="NAMES", rich_help_panel=OUTPUT, callback=choices(*FORMATS, "none"),
                     help=f"Besides labels/: {', '.join(FORMATS)}; or none."),
    ] = "nnunet,bids,slicer,itksnap,meshes",
    undecided: Annotated[
        Undecided,
        typer.Option("--undecided", metavar="leave-out|accept|reject", rich_help_panel=OUTPUT,
                     help="Structures without a decision: leave out the case, or accept or reject the changes."),
    ] = "leave-out",
    copy_images: Annotated[
        bool,
        typer.Option("--copy-images", rich_help_panel=OUTPUT,
                     help="Copy the CT images; by default they are hard links where the disk allows."),
    ] = False,
    no_images: Annotated[
        bool, typer.Option("--no-images", rich_help_panel=OUTPUT, help="Leave the CT images out of all layouts.")
    ] = False,
    ignore_above: Annotated[
        float | None,
        typer.Option("--ignore-above", metavar="P", min=0.0, max=1.0, rich_help_panel=OUTPUT,
                     help="nnU-Net's ignore label where a label is wrong with a higher probability, such as 0.3; "
                          "also case_weights.csv. The run needs --uncertainty."),
    ] = None,
    workers: Workers = 0,
) -> None:  # fmt: skip
    """Write the reviewed label maps as a data set.

    Label maps by the decisions, in several layouts, with a changelog and a README. The folder must be new or empty.
    Cases that are to be corrected by hand are written for 3D Slicer; `heartmend import` reads them back.

    Exit codes: 0 all cases released; 3 some cases wait or are left out (README.md has the reasons); 1 nothing done.
    """
    from heartmend.release.export import export_release
    from heartmend.release.training import TrainingOptions
    from heartmend.run_folder.finished import FinishedRun

    wanted: Images = "none" if no_images else "copy" if copy_images else "link"
    training = TrainingOptions(wanted, ignore_above)
    layouts = frozenset(f for f in FORMATS if f in split_names(formats))
    finished = FinishedRun.open(run_folder, labels, images)
    with TerminalProgress() as progress:
        plan = export_release(finished, output, layouts, undecided, training, workers, progress)
    print_skipped(plan.left_out, "left out")
    print_summary(f"{plural(len(plan.release), 'case')} released: {output}")
    if plan.to_correct:
        print_summary(f"{plural(len(plan.to_correct), 'case')} to correct by hand: {output / 'to_correct'}")
    if plan.to_correct or plan.left_out:
        raise typer.Exit(SOME_SKIPPED)
