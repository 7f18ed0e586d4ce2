"""Command `merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heartmend.cli.options import AnatomyName, ConfigFile, Device, Images, Output, PresetName, Workers
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.terminal import SOME_SKIPPED, print_skipped, print_summary, print_table
from heartmend.wording import plural

EXAMPLES = """
heartmend merge network_a/ network_b/ older_release/ -o merged/
heartmend merge reader_1/ reader_2/ -o merged/ --images cts/
"""


def merge(
    label_sets: Annotated[
        list[Path], typer.Argument(metavar="LABELS...", help="Two or more folders of label maps of the same scans.")
    ],
    output: Output, images: Images = None, anatomy: AnatomyName = "heart", preset: PresetName = "fast",
    config: ConfigFile = None, device: Device = "auto", workers: Workers = 0,
) -> None:  # fmt: skip
    """Merge several label sets of the same scans into one.

    At each place of each surface the label map is taken that agrees best with the shapes of the whole data set, and
    with the edges of its CT. The folder labels in --output contains the merged label maps, with
    names, headers and values of the first folder; the folder disagreement contains, for each voxel, the share of the
    sets that have another label, in percent.

    Exit codes: 0 all cases merged; 3 some cases skipped; 1 nothing done.
    """
    from heartmend.pipelines.config import load_config
    from heartmend.pipelines.merge import MergeRequest, merge_label_sets

    request = MergeRequest(tuple(label_sets), output, images, anatomy, device, workers)
    with TerminalProgress() as progress:
        result = merge_label_sets(request, load_config(preset, config), progress)
    print_table(result.table([path.name for path in label_sets]))
    print_skipped(result.skipped)
    print_summary(f"{plural(len(result.cases), 'case')} merged, {len(result.skipped)} skipped: {output}")
    if result.skipped:
        raise typer.Exit(SOME_SKIPPED)
