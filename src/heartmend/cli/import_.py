"""Command `import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heartmend.cli.options import MovedImages, MovedLabels, RunFolder, Workers
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.review import Reviewer, open_for_review
from heartmend.cli.terminal import SOME_SKIPPED, print_skipped, print_summary
from heartmend.wording import plural

EXAMPLES = """
heartmend import out/ dataset/to_correct/
heartmend import out/ decisions.csv --by "A. Radiologist"
"""


def import_(
    run_folder: RunFolder,
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Folder of corrected label maps, or a decisions.csv.")
    ],
    images: MovedImages = None, labels: MovedLabels = None, by: Reviewer = "", workers: Workers = 0,
) -> None:  # fmt: skip
    """Import corrected label maps or decisions into a run.

    Label maps are read from segmentations of 3D Slicer (.seg.nrrd) or from label map files, decisions from a table
    such as `heartmend review` and `heartmend export` write.

    Exit codes: 0 all imported; 3 some cases skipped; 1 nothing done.
    """
    from heartmend.release.corrections import import_corrected
    from heartmend.run_folder.decision_records import user_name
    from heartmend.run_folder.decisions_table import import_decisions

    finished = open_for_review(run_folder, labels, images, workers)
    if source.is_file():
        counts = import_decisions(source, finished)
        print_summary(
            f"{plural(counts.written, 'decision')} imported, {counts.known} already known, "
            f"{counts.older} older than the decisions of the run"
        )
        return
    skipped, lines = {}, []
    with TerminalProgress() as progress:
        imported = import_corrected(finished, source, by or user_name(), progress)
    for result in imported:
        if result.error:
            skipped[result.case] = result.error
        else:
            lines.append(f"case {result.case}: {', '.join(result.structures)} corrected")
    for line in lines:
        print_summary(line)
    print_skipped(skipped)
    print_summary(f"{plural(len(lines), 'case')} imported, {len(skipped)} skipped")
    if skipped:
        raise typer.Exit(SOME_SKIPPED)
