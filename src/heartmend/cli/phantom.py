"""Command `phantom`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from heartmend.cli.options import OUTPUT, Output, Workers, split_names
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.terminal import print_summary
from heartmend.wording import plural

EXAMPLES = """
heartmend phantom -o cohort/
heartmend phantom -o cohort/ --count 20 --seed 7 --spacing-mm 0.5
heartmend phantom -o cohort/ --count 20 --variant all
heartmend phantom -o cohort/ --faults harsh
"""

Faults = Literal["realistic", "harsh"]

Seed = Annotated[
    int, typer.Option("--seed", metavar="N", rich_help_panel=OUTPUT, help="Seed of the random numbers.")
]  # fmt: skip


def phantom(
    output: Output,
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, rich_help_panel=OUTPUT, help="Hearts.")] = 12,
    seed: Seed = 1,
    spacing_mm: Annotated[
        float,
        typer.Option("--spacing-mm", metavar="MM", min=0.4, max=3.0, rich_help_panel=OUTPUT, help="Voxel size, in mm."),
    ] = 0.9,
    venae_cavae: Annotated[
        bool, typer.Option("--venae-cavae", rich_help_panel=OUTPUT, help="Hearts with superior and inferior vena cava.")
    ] = False,
    variants: Annotated[
        str,
        typer.Option(
            "--variant", metavar="NAMES", rich_help_panel=OUTPUT,
            help="Rare anatomy of the first hearts, one each: all, or names such as extra-vein,giant-la.",
        ),
    ] = "",
    faults: Annotated[
        Faults,
        typer.Option(
            "--faults", metavar="realistic|harsh", rich_help_panel=OUTPUT,
            help="Errors of the label maps: those of a network, or all kinds at once.",
        ),
    ] = "realistic",
    workers: Workers = 0,
) -> None:  # fmt: skip
    """Generate phantom hearts with CT images and corrupted label maps.

    The output folder has labels_true, labels_noisy (the same label maps with errors), images (CT images) and cases.csv.
    """
    from heartmend.compute.workers import available_cores
    from heartmend.phantom.cohort import PhantomSettings, write_cohort
    from heartmend.phantom.variants import VARIANTS, variant_names

    names = tuple(VARIANTS) if variants == "all" else variant_names(split_names(variants), count)
    settings = PhantomSettings(spacing_mm, venae_cavae=venae_cavae, variants=names[:count], faults=faults)
    with TerminalProgress() as progress:
        ids = write_cohort(output, count, seed, settings, workers or available_cores(), progress)
    print_summary(f"{plural(len(ids), 'phantom heart')}: {output}")
