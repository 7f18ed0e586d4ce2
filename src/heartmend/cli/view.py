"""Command `view`."""

from __future__ import annotations

from typing import Annotated

import typer

from heartmend.cli.options import INPUT, CaseId, MovedImages, MovedLabels, OptionalOutput, RunFolder, split_names
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.terminal import print_paths

EXAMPLES = """
heartmend view out/ 001
heartmend view out/ 001 --structures LAA,Coronary -o pictures/
heartmend view out/ 001 --voxel 80,95,60 --at -20.5,8,31
"""


def view(
    run_folder: RunFolder, case: CaseId, images: MovedImages = None, labels: MovedLabels = None,
    voxel: Annotated[
        list[str] | None,
        typer.Option("--voxel", metavar="I,J,K", rich_help_panel=INPUT, help="Planes through a voxel; repeatable."),
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option("--at", metavar="X,Y,Z", rich_help_panel=INPUT,
                     help="Planes through a point (RAS, mm); repeatable."),
    ] = None,
    structures: Annotated[
        list[str] | None,
        typer.Option("--structures", metavar="NAMES", rich_help_panel=INPUT,
                     help="Planes through the largest change of each structure, such as LA,LV."),
    ] = None,
    output: OptionalOutput = None,
) -> None:  # fmt: skip
    """Draw one case before and after the repair.

    PNG files of three planes through the largest change, or through the given places, of the surfaces and, with a CT,
    of the straightened coronary arteries, in OUT/report unless --output is given.
    """
    from heartmend.report.pictures import write_view
    from heartmend.run_folder.finished import FinishedRun

    voxels = [[int(n) for n in _three(text, "--voxel", whole=True)] for text in voxel or ()]
    places = [_three(text, "--at", whole=False) for text in at or ()]
    names = [name for text in structures or () for name in split_names(text)]
    finished = FinishedRun.open(run_folder, labels, images)
    with TerminalProgress() as progress:
        paths = write_view(finished, case, output or run_folder / "report", voxels, places, names, progress)
    print_paths(paths)


def _three(text: str, option: str, whole: bool) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or (whole and any(n != int(n) for n in numbers)):
        kind = "integers" if whole else "numbers"
        raise typer.BadParameter(f"{text!r}: give three {kind} with commas", param_hint=option)
    return numbers
